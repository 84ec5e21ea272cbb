"""RNN and LSTM: sequences of T steps in N independent streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, count, register


@dataclass(frozen=True)
class Recurrent(LayerParams):
    """What RNN and LSTM share (recurrent_layer.cpp).

    Inputs are a sequence x (T, N, ...), indicators cont (T, N) that multiply what is left of the step before (0 where
    a new sequence begins, 1 where one goes on), and optionally a static input (N, ...) that all steps see. With
    `expose_hidden` the states before the first step (1, N, num_output) are further inputs, and those behind the last
    one further outputs; without it the first step begins with zeros. (Caffe goes on with the states of the run
    before, as far as `cont` lets it; the first run of a net is the one computed here.)

    Attributes
    ----------
    num_output
        Number of hidden units, D.
    expose_hidden
        Whether states are inputs and outputs.
    """

    input_count = (2, None)
    states: ClassVar[int]
    """Number of state blobs."""
    gates: ClassVar[int]
    """Number of weighted sums for each hidden unit."""

    num_output: int
    expose_hidden: bool = False

    def check_inputs(self, inputs: list[Shape]) -> None:
        least = 2 + self._exposed
        if len(inputs) not in (least, least + 1):
            states = f" and {self._exposed} state(s)" if self._exposed else ""
            raise ShapeError(
                f"reads a sequence, its continuation indicators, perhaps a static input{states}: "
                f"{least} or {least + 1} blobs, but it has {len(inputs)}"
            )

    def has_static(self, inputs: int) -> bool:
        """Whether a static input is among so many inputs."""
        return inputs > 2 + self._exposed

    @property
    def _exposed(self) -> int:
        return self.states if self.expose_hidden else 0

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        x, cont = inputs[:2]
        if len(x) < 3:
            raise ShapeError(f"reads sequences (T, N, ...), but its input has the shape {x}")
        if cont != x[:2]:
            raise ShapeError(f"needs one continuation indicator for each step and stream, {x[:2]}, but has {cont}")
        if self.has_static(len(inputs)) and (len(inputs[2]) < 2 or inputs[2][0] != x[1]):
            raise ShapeError(f"its static input must have the shape ({x[1]}, ...), but it has {inputs[2]}")
        state = (1, x[1], self.num_output)
        for shape in inputs[len(inputs) - self._exposed :]:
            if shape != state:
                raise ShapeError(f"its states must have the shape {state}, but one has {shape}")
        return [(*x[:2], self.num_output), *[state] * self._exposed]

    def weight_shapes(self, inputs: list[Shape]) -> dict[str, Shape]:
        rows = self.gates * self.num_output
        shapes: dict[str, Shape] = {"weight": (rows, count(inputs[0], 2)), "bias": (rows,)}
        if self.has_static(len(inputs)):
            shapes["static_weight"] = (rows, count(inputs[2], 1))
        return {**shapes, "hidden_weight": (rows, self.num_output)}

    def multiply_adds(self, inputs: list[Shape], outputs: list[Shape]) -> int:
        rows = self.gates * self.num_output
        total = count(inputs[0]) * rows + count(outputs[0]) * rows
        return total + (count(inputs[2]) * rows if self.has_static(len(inputs)) else 0)


@register
@dataclass(frozen=True)
class RNN(Recurrent):
    """h_t = tanh(W x_t + b + W_static s + W_hidden (cont_t h_{t-1})), output o_t = tanh(W_output h_t + b_output)."""

    type = "RNN"
    states = 1
    gates = 1

    def weight_shapes(self, inputs: list[Shape]) -> dict[str, Shape]:
        output = {"output_weight": (self.num_output, self.num_output), "output_bias": (self.num_output,)}
        return {**super().weight_shapes(inputs), **output}

    def multiply_adds(self, inputs: list[Shape], outputs: list[Shape]) -> int:
        return super().multiply_adds(inputs, outputs) + count(outputs[0]) * self.num_output


@register
@dataclass(frozen=True)
class LSTM(Recurrent):
    """Long short-term memory without peepholes (lstm_layer.cpp, lstm_unit_layer.cpp).

    z_t = W x_t + b + W_static s + W_hidden (cont_t h_{t-1}), D values for each of the gates i, f, o and the input g;
    c_t = cont_t sigmoid(f) c_{t-1} + sigmoid(i) tanh(g), output h_t = sigmoid(o) tanh(c_t).
    """

    type = "LSTM"
    states = 2
    gates = 4
