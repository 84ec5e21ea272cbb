"""The base class of layer types of your own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from caffe2lrp.layers.base import LayerParams, Shape
from caffe2lrp.plugin import fields

if TYPE_CHECKING:
    from typing import Self

    from caffe2lrp.converters.caffe.message import Message
    from caffe2lrp.engine.backward import RelevancePlan
    from caffe2lrp.engine.plan import ForwardPlan
    from caffe2lrp.ir import Layer

Arrays = list[np.ndarray]
Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class OwnLayer(LayerParams):
    """Base class of layer types of your own; `caffe2lrp.register_layer` registers them.

    The attributes of the class are its parameters. It needs `forward` (or `add_forward`); the rest is there to be
    overridden where the default does not fit.

    All arrays that the methods get are read-only, C-contiguous and of the precision that the network runs in.
    """

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        """Shapes of the outputs for shapes of the inputs; the default is that of the first input.

        `ShapeError` says what does not fit.
        """
        return [inputs[0]]

    def forward(self, inputs: Arrays, weights: Weights) -> np.ndarray | Sequence[np.ndarray]:
        """What the layer computes: one array, or one for each output.

        Parameters
        ----------
        inputs
            One array for each input, of the shapes that `output_shapes` got.
        weights
            Arrays by name, of the shapes that `weight_shapes` gives.
        """
        raise NotImplementedError

    def relevance(
        self, inputs: Arrays, weights: Weights, outputs: Arrays, arriving: Arrays
    ) -> np.ndarray | Sequence[np.ndarray]:
        """Relevance of each input. Without this method relevance cannot pass.

        Parameters
        ----------
        inputs, weights
            As for `forward`.
        outputs
            What `forward` gave.
        arriving
            Relevance of each output, of its shape.
        """
        raise NotImplementedError

    def gradient(
        self, inputs: Arrays, weights: Weights, outputs: Arrays, arriving: Arrays
    ) -> np.ndarray | Sequence[np.ndarray]:
        """Derivative of sum(arriving * outputs) by each input, for the gradient baselines; arguments as `relevance`."""
        raise NotImplementedError

    # -- in place of these: kernels ------------------------------------------------------------------

    def add_forward(self, plan: ForwardPlan, layer: Layer) -> None:
        """In place of `forward`: append kernel calls to `plan.program`, as `caffe2lrp.engine.layers` does."""
        raise NotImplementedError

    def add_relevance(self, plan: RelevancePlan, layer: Layer) -> None:
        """In place of `relevance`: append kernel calls to `plan.program`."""
        raise NotImplementedError

    def add_gradient(self, plan: RelevancePlan, layer: Layer) -> None:
        """In place of `gradient`: append kernel calls to `plan.program`."""
        raise NotImplementedError

    # -- files ---------------------------------------------------------------------------------------

    def to_onnx(self, graph: Any, layer: Layer) -> None:
        """Append the nodes of the layer to an ONNX graph, as `caffe2lrp.converters.onnx.layers` does."""
        raise NotImplementedError

    @classmethod
    def read(cls, layer: Message) -> Self:
        """The parameters out of a layer's message; the default takes each attribute from the field of its name.

        ``cls.values(layer)`` is what the default passes to the class.
        """
        return cls(**cls.values(layer))

    @classmethod
    def values(cls, layer: Message) -> dict[str, Any]:
        """What the file says about each attribute; what it does not mention has its default."""
        return fields.values_of(cls, layer)

    def write(self) -> dict[str, Any]:
        """Values of the fields of the layer's message; the default gives each attribute the field of its name."""
        return fields.values_for_file(self)
