"""Plans: what is computed once per network, and the buffers that its programs work on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from caffe2lrp.engine.buffers import Buffers
from caffe2lrp.engine.outputs import spaced, together, written
from caffe2lrp.engine.registry import FORWARD
from caffe2lrp.engine.signs import nonnegative_blobs
from caffe2lrp.errors import ModelError
from caffe2lrp.ir import Layer, Network
from caffe2lrp.kernels import launch, team
from caffe2lrp.layers.base import Shape


class ForwardPlan:
    """The forward program of a network for given input shapes and one precision.

    Parameters
    ----------
    network
        Already fitted to the input shapes.
    dtype
        Precision.
    keep
        Blobs whose values must be there after the run; others may never be formed. None keeps all.
    by_sign
        Linear layers whose outputs are formed as z = z+ + z-, and whose z+ and z- are kept: the denominators of the
        alpha-beta rule, which then cost no more products than the output itself.
    times
        How many times as many images there are in all; the network's are a part of a batch.
    """

    def __init__(
        self,
        network: Network,
        dtype: np.dtype[Any],
        keep: frozenset[str] | None,
        by_sign: frozenset[str] = frozenset(),
        times: float = 1,
    ) -> None:
        self.network = network
        self.dtype = dtype
        self.program = launch.Program(dtype)
        self._written = written(network, keep)
        # Relevance finds every blob in one piece, and each layer's output by itself.
        apart = keep is None
        self._buffers = Buffers(network, dtype, keep, frozenset() if apart else spaced(network, self._written))
        self._together = {} if apart else together(network, self._written)
        self._done: set[str] = set()  # first outputs of layers that were done with another
        self.values: dict[str, np.ndarray] = {blob: self.new(shape) for blob, shape in network.inputs.items()}
        self.internals: dict[str, Any] = {}  # what layers keep besides their blobs, for the way back
        self.lock = threading.Lock()
        self.holder: object = None  # whose inputs the values belong to
        self._watched: list[tuple[np.ndarray, Callable[[int], str]]] = []
        self.runs = 0
        self.derived: WeakValueDictionary[Any, Derived] = WeakValueDictionary()  # shared by relevance plans
        self.by_sign = by_sign
        self.nonnegative = nonnegative_blobs(network)
        self._found: list[Derived] = []  # what the forward program itself derives
        # Rounding decides near-ties of max pooling, and with them where relevance goes: plans for relevance take the
        # plain sums, as all other implementations do. Others choose filters for all images of a batch.
        self.minimal = 0 if keep is None else times
        import caffe2lrp.engine.layers  # noqa: F401  (fills the table of functions)

        for place, layer in enumerate(network.layers):
            if layer.outputs[0] not in self._done and layer.outputs[0] not in self.values:
                FORWARD[layer.type](self, layer)
            self._buffers.done(place)

    def new(self, shape: Shape) -> np.ndarray:
        """A new buffer."""
        return np.empty(shape, self.dtype)

    def weight(self, layer: Layer, name: str) -> np.ndarray:
        """A weight in the precision of the plan; the stored array itself where that is possible."""
        return np.ascontiguousarray(layer.weights[name], self.dtype)

    def inputs(self, layer: Layer) -> list[np.ndarray]:
        """Values of the layer's inputs."""
        return [self.values[blob] for blob in layer.inputs]

    def output(self, layer: Layer, index: int = 0) -> np.ndarray:
        """Buffer for an output of the layer."""
        blob = layer.outputs[index]
        self.values[blob] = self._buffers.new(blob)
        return self.values[blob]

    def constant(self, layer: Layer, value: Any) -> None:
        """Give a layer an output that no run changes; its memory is its own."""
        blob = layer.outputs[0]
        self.values[blob] = np.ascontiguousarray(np.broadcast_to(value, self.network.shapes[blob]), self.dtype)

    def together(self, layer: Layer) -> list[Layer]:
        """The layers that a convolution is to be done with, itself among them; the others need not be done any more."""
        layers = self._together.get(layer.outputs[0], [layer])
        self._done.update(other.outputs[0] for other in layers)
        return layers

    def linear_outputs(self, layer: Layer) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Buffers for the output of a linear layer and for what the ReLU behind it makes of it.

        Each is None if it is not to be formed; a ReLU that has its buffer here is done by the linear layer.
        """
        blobs = self._written[layer.outputs[0]]
        for blob in filter(None, (blobs.plain, blobs.rectified)):
            self.values[blob] = self._buffers.new(blob)
        return self.values.get(blobs.plain or ""), self.values.get(blobs.rectified or "")

    def found(self, key: Hashable, result: Any) -> None:
        """Enter what the forward program derives for rules; it is always up to date."""
        derived = self.derived[key] = Derived(launch.Program(self.dtype), result)
        self._found.append(derived)

    def alias(self, blob: str, value: np.ndarray) -> None:
        """Let a blob be the same memory as another value."""
        self.values[blob] = value.reshape(self.network.shapes[blob])
        self._buffers.enter(blob, value)

    def watch(self, problem: Callable[[int], str]) -> np.ndarray:
        """A flag for a kernel: if it becomes 1 + a place, a run ends in the error that `problem` says of the place."""
        flag = np.zeros(1, np.int64)
        self._watched.append((flag, problem))
        return flag

    def watch_indices(self, layer: Layer) -> np.ndarray:
        """A flag for the input of a layer that holds indices."""
        inputs = self.inputs(layer)
        ((position, count),) = layer.params.indices([x.shape for x in inputs]).items()
        values, blob = inputs[position].reshape(-1), layer.inputs[position]
        self._buffers.enter(f"indices of {layer.name}", values)  # the message needs them at the end
        return self.watch(
            lambda n: f"{layer}: value {n} of '{blob}' is {values[n]:g} and no whole number from 0 to {count - 1}"
        )

    def run(self, inputs: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
        """Run on arrays by input blob and return copies of blobs."""
        with self.lock:
            self.holder = None
            self.compute(inputs)
            return {name: self.values[name].copy() for name in names}

    def compute(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Run on arrays by input blob; the caller holds the lock as long as it uses the values.

        Raises
        ------
        ModelError
            If the network cannot run on these values, for example on an index that lies outside.
        """
        for blob, array in inputs.items():
            np.copyto(self.values[blob], array)
        for flag, _ in self._watched:
            flag[0] = 0
        self.program.run()
        self.runs += 1
        for derived in self._found:
            derived.run = self.runs
        for flag, problem in self._watched:
            if flag[0]:
                raise ModelError(problem(int(flag[0]) - 1))


class Derived:
    """What rules compute from the values of a forward plan before any relevance arrives, such as denominators.

    It is the same for all targets, and for all rules that differ in no more than how they weigh their terms.
    """

    def __init__(self, program: launch.Program, result: Any) -> None:
        self.program, self.result = program, result
        self.run = 0  # number of the forward run that it was computed from


def forward_plan(
    network: Network,
    shapes: Mapping[str, Shape],
    dtype: np.dtype[Any],
    by_sign: frozenset[str],
    known: ForwardPlan | None = None,
) -> ForwardPlan:
    """The forward plan that relevance starts from: it keeps all blobs. Plans are kept with the network.

    One that is `known` is taken where none is kept any more.
    """

    def make() -> ForwardPlan:
        return known or ForwardPlan(network.with_input_shapes(shapes), dtype, None, by_sign)

    key = tuple(shapes[blob] for blob in network.inputs)
    plan: ForwardPlan = cached(network, ("forward", key, dtype.name, by_sign), make)
    return plan


_making = threading.RLock()
_KEPT = 16  # plans hold buffers and packed weights: only the latest are worth keeping


def cached(network: Network, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    """What `make` returns, kept with the network until others are used more; plans depend on the threads, too."""
    whole = (*key, team.threads())
    with _making:
        plans = network._plans
        value = plans.pop(whole) if whole in plans else make()
        plans[whole] = value  # a dict keeps its order: the latest is the last
        while len(plans) > _KEPT:
            del plans[next(iter(plans))]
        return value
