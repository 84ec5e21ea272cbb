"""The program as a whole: its commands, and how it ends."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import caffe2lrp
from caffe2lrp.cli import commands, toolbox
from caffe2lrp.cli.terminal import FAILED, error
from caffe2lrp.errors import Caffe2LrpError
from caffe2lrp.models.cli import app as models

INTERRUPTED, BROKEN_PIPE = 130, 141
"""Exit codes beside `FAILED`: what a shell reports for a program that the signal ended."""


class Program(TyperGroup):
    """Turns what goes wrong in any command into one line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a closed pipe is to be noticed here and not when Python shuts down
        except Caffe2LrpError as problem:
            error(problem)
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _discard_output()
            raise typer.Exit(BROKEN_PIPE) from None
        except MemoryError:
            error("there is not enough memory for this; try one picture at a time, or a smaller --input-shape")
            raise typer.Exit(FAILED) from None
        except OSError as problem:
            error(problem)
            raise typer.Exit(FAILED) from None
        return result


def _discard_output() -> None:
    """Whoever read stdout has gone: let what is still buffered go nowhere, without complaint at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = typer.Typer(
    cls=Program,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"caffe2lrp {caffe2lrp.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Open, run and explain legacy Caffe models, without Caffe.

    Results go to stdout, messages to stderr. The exit code is 0, or 2 if anything failed.
    """


for module in commands.ALL:
    name = module.__name__.rpartition(".")[2]
    app.command(name, epilog=module.EXAMPLES)(getattr(module, name))
app.command("toolbox", epilog=toolbox.TOOLBOX_EXAMPLES)(toolbox.toolbox)
app.command("apply-heatmap", epilog=toolbox.APPLY_EXAMPLES)(toolbox.apply_heatmap)
app.add_typer(models, name="models")


def main() -> None:
    """Entry point of the console script."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        # File names need not be valid text, and class names need not fit the terminal's character set.
        reconfigure(errors="surrogateescape" if (sys.stdout.encoding or "").lower() == "utf-8" else "replace")
    app()
