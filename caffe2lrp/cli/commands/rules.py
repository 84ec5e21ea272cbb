"""``caffe2lrp rules`` as a user types it."""

from __future__ import annotations

from typing import Annotated

import typer

from caffe2lrp.cli.arguments import Json

EXAMPLES = """Examples:

caffe2lrp rules

caffe2lrp rules gamma epsilon_gamma_box
"""


def rules(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Only these, in full.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell which rules, composites and baselines there are, their formulas, and which to choose.

    'caffe2lrp explain rules' does the same.
    """
    from caffe2lrp.cli.rules import run

    run(names or (), as_json=as_json)
