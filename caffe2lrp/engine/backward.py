"""Relevance plans: the way back through a network, one rule per layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from caffe2lrp.engine.memory import Memory
from caffe2lrp.engine.plan import Derived, ForwardPlan
from caffe2lrp.engine.registry import GRADIENT, RELEVANCE
from caffe2lrp.errors import ModelError
from caffe2lrp.explanation import LRNRule
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import eltwise, launch
from caffe2lrp.kernels.relevance import SIGN, ratio, ratio_values
from caffe2lrp.layers.base import Shape
from caffe2lrp.rules import Rule

ReLURule = Literal["pass", "positive", "guided"]

# Sums of inputs that share out relevance without a rule of their own (eltwise sums, affine layers).
_EPSILON = 1e-12


@dataclass(frozen=True)
class Settings:
    """What a relevance pass depends on besides the network.

    Attributes
    ----------
    rules
        Pairs of layer name and rule, for all linear layers and those that pass relevance unchanged.
    start
        Blob at which relevance starts.
    lrn
        How relevance passes LRN layers.
    relu
        ``pass`` for relevance; ``positive`` keeps its positive part (deconvolution), ``guided`` keeps that
        only where the ReLU was active (guided backpropagation).
    derivative
        True derivatives of all layers instead of relevance.
    average_max
        Max pooling shares relevance out as average pooling does.
    spread_empty
        Names of the pooling layers that share out as averages and, where a window's sum is below 1e-6, add the
        activations themselves, even if they do not lead to the start (LRP Toolbox).
    inner
        Whether the relevance of inner blobs is still there after a run; else others take over its memory.
    """

    rules: tuple[tuple[str, Rule], ...]
    start: str
    lrn: LRNRule = "taylor"
    relu: ReLURule = "pass"
    derivative: bool = False
    average_max: bool = False
    spread_empty: tuple[str, ...] = ()
    inner: bool = True


class Ledger:
    """What one linear layer's rule did, for the account of relevance: arrays that the programs fill."""

    def __init__(self, layer: Layer, rule: Rule) -> None:
        self.layer, self.rule = layer, rule
        self.terms: list[Term] = []


@dataclass(frozen=True)
class Term:
    """One denominator: r and z of one shape, s = factor r / z where it is kept, and the bias in z broadcast to it."""

    r: np.ndarray
    z: np.ndarray
    s: np.ndarray | None
    bias: np.ndarray | None
    factor: float
    epsilon: float
    mode: int = SIGN

    def shares(self) -> np.ndarray:
        """s, in float64."""
        if self.s is not None:
            return self.s.astype(np.float64)
        return ratio_values(self.r.astype(np.float64), self.z.astype(np.float64), self.factor, self.epsilon, self.mode)


class RelevancePlan:
    """The relevance program that belongs to a forward plan.

    Parameters
    ----------
    forward
        A forward plan that keeps all blobs.
    settings
        Rules and start.
    bounds
        Lowest and highest possible input (C, H, W), for rules that need them.

    Attributes
    ----------
    input_relevances
        Relevance of each input blob after a run.
    """

    def __init__(
        self, forward: ForwardPlan, settings: Settings, bounds: tuple[np.ndarray, np.ndarray] | None = None
    ) -> None:
        self.forward = forward
        self.network = forward.network
        self.dtype = forward.dtype
        self.settings = settings
        self.bounds = bounds
        self.rules: Mapping[str, Rule] = dict(settings.rules)
        self.program = launch.Program(self.dtype)
        self.relevance: dict[str, np.ndarray] = {settings.start: self.new(self.network.shapes[settings.start])}
        self.ledgers: dict[str, Ledger] = {}
        self.sent: dict[str, list[tuple[str, np.ndarray]]] = {}  # blobs and buffers that each layer fills
        self.added: dict[str, list[np.ndarray]] = {}  # what a blob's other readers add to the first one's buffer
        self._late: list[tuple[np.ndarray, np.ndarray]] = []
        self._derived: list[Derived] = []
        self._memory = Memory(self.dtype)
        self.dependent = self._dependent_blobs()
        self.path = self._layers_below(settings.start)
        self._readers = dict.fromkeys(self.network.shapes, 0)
        for layer in self.path:
            for blob in layer.value_inputs:
                self._readers[blob] += 1
        for layer in reversed(self.path):
            self._append(layer)
        if not any(blob in self.relevance for blob in self.network.inputs):
            raise ModelError(f"blob '{settings.start}' does not depend on the input of {self.network.name}")
        self._derivation = launch.Program(self.dtype)
        for derived in self._derived:
            self._derivation.extend(derived.program)
        self.input_relevances = {  # where nothing arrives it is 0
            blob: self.relevance[blob] if blob in self.relevance else np.zeros(shape, self.dtype)
            for blob, shape in self.network.inputs.items()
        }
        launch.compile_kernels([forward.program, self._derivation, self.program])

    def _dependent_blobs(self) -> set[str]:
        """The inputs and all blobs whose values come from them; others are constant or only chosen by them."""
        dependent = set(self.network.inputs)
        for layer in self.network.layers:
            if any(blob in dependent for blob in layer.value_inputs):
                dependent.update(layer.outputs)
        return dependent

    def _layers_below(self, start: str) -> list[Layer]:
        """Layers between the inputs and the start that depend on an input and lead to the start, or add relevance."""
        needed = {start}
        path = []
        for layer in reversed(self.network.layers):
            leads = any(blob in needed for blob in layer.outputs) or layer.name in self.settings.spread_empty
            if leads and any(blob in self.dependent for blob in layer.value_inputs):
                needed.update(layer.value_inputs)
                path.append(layer)
        return path[::-1]

    def _append(self, layer: Layer) -> None:
        table = {**RELEVANCE, **GRADIENT} if self.settings.derivative else RELEVANCE
        if layer.type not in table:
            raise ModelError(
                f"{layer}: relevance cannot pass through {layer.type}; start below it, at layer='{layer.inputs[0]}'"
            )
        for blob in layer.outputs:  # an output that does not lead to the start has no relevance
            if blob not in self.relevance:
                self.relevance[blob] = np.zeros(self.network.shapes[blob], self.dtype)
        self.sent[layer.name] = []
        self._layer = layer.name
        rule = self.rules.get(layer.name)
        if rule is not None and rule.passes:
            self._pass_through(layer)
        else:
            table[layer.type](self, layer)
        for source, target in self._late:
            self.program.add(eltwise.add_scaled, source.reshape(-1), 1.0, target.reshape(-1), label=layer.name)
        if not self.settings.inner:
            for array in (*(source for source, _ in self._late), *(self.relevance[blob] for blob in layer.outputs)):
                self._memory.give(array)
        self._late.clear()

    def _pass_through(self, layer: Layer) -> None:
        """The rule `pass`."""
        sizes = [math.prod(self.network.shapes[blob]) for blob in (*layer.inputs, *layer.outputs)]
        if len(sizes) != 2 or sizes[0] != sizes[1]:
            raise ModelError(
                f"{layer}: relevance can pass unchanged only through a layer with one input and one output of the same "
                "size; give it another rule"
            )
        self.pass_on(layer.inputs[0], self.relevance[layer.outputs[0]])

    def new(self, shape: Shape) -> np.ndarray:
        """A new buffer."""
        return np.empty(shape, self.dtype)

    def derive(self, key: Hashable, make: Callable[[launch.Program], Any]) -> Any:
        """What `make` returns and its program computes from the forward values alone; shared by plans under the key."""
        derived = self.forward.derived.get(key)
        if derived is None:
            program = launch.Program(self.dtype)
            derived = self.forward.derived[key] = Derived(program, make(program))
        self._derived.append(derived)
        return derived.result

    def into(self, blob: str) -> np.ndarray:
        """Buffer that a layer fills with the relevance of one of its inputs; several readers add up."""
        buffer = self._memory.take(self.network.shapes[blob])
        if blob in self.relevance:
            self._late.append((buffer, self.relevance[blob]))
            self.added.setdefault(blob, []).append(buffer)
        else:
            self.relevance[blob] = buffer
        self.sent[self._layer].append((blob, buffer))
        return buffer

    def pass_on(self, blob: str, relevance: np.ndarray) -> None:
        """Give an input the relevance of the output as it is, in the same memory where nothing is added to it."""
        if blob not in self.relevance and self._readers[blob] == 1:
            self._memory.share(relevance)
            self.relevance[blob] = relevance.reshape(self.network.shapes[blob])
            self.sent[self._layer].append((blob, relevance))
        else:
            target = self.into(blob)
            self.program.add(eltwise.scaled, relevance.reshape(-1), 1.0, target.reshape(-1), label=f"pass to {blob}")

    def shares(self, layer: Layer) -> np.ndarray:
        """Relevance / value of a layer's output, stabilised: what the epsilon rule multiplies each term of it by."""
        out = layer.outputs[0]
        z, r = self.forward.values[out], self.relevance[out]
        s = self.new(z.shape)
        self.program.add(
            ratio, r.reshape(1, -1), z.reshape(1, 1, -1), 0, 1.0, _EPSILON, SIGN, s.reshape(1, 1, -1), label=layer.name
        )
        return s

    def share_out(
        self,
        layer: Layer,
        terms: list[tuple[str | None, np.ndarray]],
        into: Mapping[int, np.ndarray] | None = None,
    ) -> None:
        """Epsilon rule for an output that is a sum: each term gets relevance in proportion to its value.

        `terms` are pairs of blob and value; `into` gives buffers for terms that are no blobs.
        """
        s = self.shares(layer)
        for i, (blob, value) in enumerate(terms):
            target = self.into(blob) if blob is not None else (into or {})[i]
            self.program.add(eltwise.times, value.reshape(-1), s.reshape(-1), target.reshape(-1), label=layer.name)

    def run(self, start: np.ndarray) -> None:
        """Send relevance back from the start blob; the forward values must be there."""
        self._derive()
        np.copyto(self.relevance[self.settings.start], start)
        self.program.run()

    def _derive(self) -> None:
        """Compute what no plan has computed from the latest forward run yet."""
        run = self.forward.runs
        stale = [derived for derived in self._derived if derived.run != run]
        if len(stale) == len(self._derived):
            self._derivation.run()  # one launch for all
        else:
            for derived in stale:
                derived.program.run()
        for derived in stale:
            derived.run = run


def constant(value: Any, shape: Shape, dtype: Any) -> np.ndarray:
    """A contiguous array filled with a broadcast constant."""
    return np.ascontiguousarray(np.broadcast_to(np.asarray(value, dtype), shape))
