"""Parameter and DummyData: blobs that are filled when the plan is made. What relevance they get stays with them."""

from __future__ import annotations

from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward
from caffe2lrp.ir import Layer
from caffe2lrp.layers.source import DummyData, Parameter


@forward(Parameter)
def _parameter(plan: ForwardPlan, layer: Layer) -> None:
    plan.constant(layer, layer.weights["value"])


@forward(DummyData)
def _dummy_data(plan: ForwardPlan, layer: Layer) -> None:
    assert isinstance(layer.params, DummyData)
    plan.constant(layer, layer.params.value)
