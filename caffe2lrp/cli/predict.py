"""``caffe2lrp predict``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffe2lrp.cli.images import Picture
from caffe2lrp.cli.options import ModelOptions, Precision
from caffe2lrp.cli.prediction import prediction, prediction_rows
from caffe2lrp.cli.running import run_pictures, values_of
from caffe2lrp.cli.terminal import print_json, print_table
from caffe2lrp.engine.session import Session
from caffe2lrp.ir import Network
from caffe2lrp.preprocessing import Prepared


def run(images: Sequence[str], options: ModelOptions, top: int, precision: Precision, *, as_json: bool) -> None:
    """Run the network on pictures and print what it says."""

    def begin(network: Network) -> Any:
        def work(picture: Picture, prepared: Prepared, session: Session) -> dict[str, Any]:
            return prediction(network, values_of(session, network.outputs), top)

        def show(result: dict[str, Any]) -> None:
            if not as_json:
                print(result["image"])
                print_table(*prediction_rows(network, result), indent=2)

        return work, show

    def finish(network: Network, results: list[dict[str, Any]], errors: list[dict[str, str]]) -> None:
        if as_json:
            print_json({"network": network.name, "images": results, "errors": errors})

    run_pictures(images, options, precision, begin, finish)
