"""What the site needs besides MkDocs' plugins: see ``mkdocs.yml``.

- The folders at the top level are one package where they are installed: a folder of links shows them so to griffe,
  which reads the sources without importing them.
- The page of the command line is made from the program itself; a command or option without help is an error.
- Formulas become MathML, which browsers draw by themselves.
"""

from __future__ import annotations

import html
import inspect
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from typer.models import ArgumentInfo, OptionInfo

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / ".docs"
PACKAGE = "caffe2lrp"


def on_startup(**_: Any) -> None:
    """Lay out the package as it is installed, before griffe looks for it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    folders = {name: ROOT / path for name, path in settings["tool"]["setuptools"]["package-dir"].items()}
    shutil.rmtree(SOURCES, ignore_errors=True)
    package = SOURCES / PACKAGE
    package.mkdir(parents=True)
    for entry in folders.pop(PACKAGE).iterdir():
        (package / entry.name).symlink_to(entry)
    for name, folder in folders.items():
        (package / name.removeprefix(f"{PACKAGE}.")).symlink_to(folder)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page of the command line."""
    from caffe2lrp.cli import app

    assert app.registered_callback is not None
    program = app.registered_callback.callback
    assert program is not None
    top = ["# Command line", _help(program.__doc__, PACKAGE), _table(list(_parameters(program, PACKAGE)))]
    files.append(File.generated(config, "cli.md", content="\n\n".join([*top, *_commands(app, PACKAGE)])))
    return files


def on_page_content(html: str, **_: Any) -> str:
    """Draw formulas, which ``arithmatex`` has marked."""
    return re.sub(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', _formula, html, flags=re.DOTALL)


def _formula(found: re.Match[str]) -> str:
    tag, kind, latex = found.groups()
    try:
        formula = convert(html.unescape(latex).strip(), display="block" if kind == "[" else "inline")
    except Exception as error:
        raise PluginError(f"cannot draw the formula {latex!r}: {error!r}") from error
    return f'<{tag} class="formula">{formula}</{tag}>'


# -- the command line ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Parameter:
    """An argument or option as its function declares it."""

    name: str
    type: Any
    info: ArgumentInfo | OptionInfo
    default: Any

    @property
    def is_argument(self) -> bool:
        return isinstance(self.info, ArgumentInfo)

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty

    @property
    def names(self) -> list[str]:
        """What is typed: all names of an option, the value of an argument."""
        if self.is_argument:
            return [self.value]
        # In annotations, what is written first arrives as the default.
        given = [name for name in (self.info.default, *(self.info.param_decls or ())) if isinstance(name, str)]
        dashed = self.name.replace("_", "-")
        given = given or [f"--{dashed}/--no-{dashed}" if self.kind is bool else f"--{dashed}"]
        return [name for names in given for name in names.split("/")]

    @property
    def kind(self) -> Any:
        """The type of one value, without None and lists."""
        kind = self.type
        while get_args(kind):
            kind = next(t for t in get_args(kind) if t is not type(None))
        return kind

    @property
    def value(self) -> str:
        """What stands for the value: the metavar, the choices or the type; nothing for a switch."""
        if self.info.metavar:
            return self.info.metavar
        if issubclass(self.kind, Enum):
            return "|".join(str(choice.value) for choice in self.kind)
        if self.is_argument:
            return self.name.upper()
        return "" if self.kind is bool else self.kind.__name__.upper()

    @property
    def row(self) -> str:
        """A row of the table: names with the value, help."""
        names = " ".join(map(_code, self.names))
        value = f" <span>{_code(self.value)}</span>" if self.value and not self.is_argument else ""
        text = html.escape(self.info.help or "", quote=False)
        default = self.default.value if isinstance(self.default, Enum) else self.default
        if self.required and not self.is_argument:
            text += " Required."
        elif self.info.show_default and isinstance(default, (str, int, float, Path)) and not isinstance(default, bool):
            text += f" Default: {_code(str(default))}."
        return f"<tr><td>{names}{value}</td><td>{text}</td></tr>"


def _code(text: str) -> str:
    """Long values may be broken where choices end."""
    return f"<code>{html.escape(text, quote=False).replace('|', '&#124;<wbr>')}</code>"


def _commands(group: typer.Typer, path: str) -> Iterator[str]:
    """A section for each command, in the order of the help."""
    for command in group.registered_commands:
        assert command.callback is not None
        name = f"{path} {command.name or command.callback.__name__}"
        yield f"## {name}"
        yield _help(command.help or command.callback.__doc__, name)
        parameters = list(_parameters(command.callback, name))
        arguments = [p for p in parameters if p.is_argument]
        words = [] if parameters == arguments else ["[OPTIONS]"]
        words += [p.value if p.required or p.value.startswith("[") else f"[{p.value}]" for p in arguments]
        yield f"```text\n{' '.join([name, *words])}\n```"
        yield _table(parameters)
        yield from _examples(command.epilog, name)
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        name = f"{path} {inner.name}"
        yield f"## {name}"
        yield _help(inner.typer_instance.info.help, name)
        yield from _commands(inner.typer_instance, name)


def _help(text: Any, path: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise PluginError(f"the command '{path}' has no help")
    return html.escape(inspect.cleandoc(text), quote=False)


def _parameters(function: Callable[..., Any], path: str) -> Iterator[_Parameter]:
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, *rest = get_args(hints[name])
        info = next((x for x in rest if isinstance(x, (ArgumentInfo, OptionInfo))), None)
        if info is None or not info.help:
            raise PluginError(f"'{path}': {name} has no help")
        if not info.hidden:
            yield _Parameter(name, kind, info, parameter.default)


def _table(parameters: Sequence[_Parameter]) -> str:
    """Arguments first, then the panels of the help as they appear."""
    panels: dict[str, list[str]] = {}
    for p in sorted(parameters, key=lambda p: not p.is_argument):
        panels.setdefault("Arguments" if p.is_argument else p.info.rich_help_panel or "Options", []).append(p.row)
    rows = [row for title in panels for row in (f'<tr><th colspan="2">{title}</th></tr>', *panels[title])]
    return f'<div class="options"><table>{"".join(rows)}</table></div>'


def _examples(epilog: Any, path: str) -> Iterator[str]:
    if isinstance(epilog, str):
        title, *examples = inspect.cleandoc(epilog).split("\n\n")
        if title != "Examples:":
            raise PluginError(f"'{path}': its epilog does not begin with 'Examples:'")
        yield "```sh\n" + "\n".join(" ".join(example.split()) for example in examples) + "\n```"
