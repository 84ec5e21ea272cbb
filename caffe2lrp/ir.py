"""The layer IR: a network as an ordered list of typed layers over named blobs.

The IR knows nothing of files or kernels. It is in static single assignment form: every blob name is
written exactly once, Caffe's in-place layers have been resolved on import, and fan-out is implied (a
blob may have any number of readers), so there are no Split layers.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from caffe2lrp.errors import ModelError, OptionError
from caffe2lrp.layers.base import LayerParams, Shape, ShapeError

if TYPE_CHECKING:
    from caffe2lrp.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a layer was defined, for messages.

    Attributes
    ----------
    file, line
        Source file and 1-based line of the layer, or None where there is none (binary files have no lines).
    type
        The layer's type as the file spells it, for example ``CONVOLUTION`` (V1) or ``conv`` (V0).
    """

    file: str | None = None
    line: int | None = None
    type: str | None = None

    def __str__(self) -> str:
        if self.file is None:
            return "(built in memory)"
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: what it is (`params`), what it reads and writes, and its weights.

    Attributes
    ----------
    name
        Caffe's layer name.
    params
        Typed parameters; their class is the layer type (`caffe2lrp.layers`).
    inputs, outputs
        Names of the blobs read and written.
    weights
        Read-only arrays by name (``weight``, ``bias``, ...), as `params.weight_shapes` lists them.
    origin
        Where the layer came from.
    """

    name: str
    params: LayerParams
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    origin: Origin = Origin()

    @property
    def type(self) -> str:
        """Caffe's name of the layer type, for example ``Convolution``."""
        return self.params.type

    @property
    def value_inputs(self) -> tuple[str, ...]:
        """The inputs that values come from, and not only their choice or number."""
        count = len(self.inputs)
        selectors = {position + count if position < 0 else position for position in self.params.selectors}
        return tuple(blob for i, blob in enumerate(self.inputs) if i not in selectors)

    def __str__(self) -> str:
        return f"layer '{self.name}' ({self.type}, {self.origin})"


class Network:
    """An ordered list of layers with all blob shapes known.

    Parameters
    ----------
    name
        Name of the network.
    inputs
        Input blobs and their shapes, (N, C, H, W) for images, in order.
    layers
        Layers in execution order.
    blob_names
        Caffe's name of each blob where it differs from the IR's (values overwritten by in-place layers).
    notes
        What the reader left out, repaired or did not understand, one line each.
    preprocessing
        How an image becomes the input blob, where that is known.
    labels
        Class names in the order of the output, where they are known.

    Raises
    ------
    ModelError
        If a blob is read before it is written or written twice, if a layer's shapes do not fit, or if
        weights are missing or have another shape than the layer needs.
    """

    def __init__(
        self,
        name: str,
        inputs: Mapping[str, Shape],
        layers: Iterable[Layer],
        *,
        blob_names: Mapping[str, str] | None = None,
        notes: Sequence[str] = (),
        preprocessing: Preprocessing | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        self.name = name
        self.inputs: dict[str, Shape] = {k: tuple(int(d) for d in v) for k, v in inputs.items()}
        self.layers: tuple[Layer, ...] = tuple(layers)
        self.notes = tuple(notes)
        self.preprocessing = preprocessing
        self.labels = None if labels is None else tuple(labels)
        self._blob_names = dict(blob_names or {})
        self.shapes: dict[str, Shape] = _infer_shapes(self.inputs, self.layers)
        self._plans: dict[Any, Any] = {}

    # -- structure ---------------------------------------------------------------------------------

    @property
    def input(self) -> str:
        """Name of the first input blob."""
        return next(iter(self.inputs))

    @property
    def input_shape(self) -> Shape:
        """Shape of the first input blob, (N, C, H, W)."""
        return self.inputs[self.input]

    @functools.cached_property
    def outputs(self) -> tuple[str, ...]:
        """Blobs that no layer reads, in the order in which they are written."""
        read = {blob for layer in self.layers for blob in layer.inputs}
        return tuple(blob for layer in self.layers for blob in layer.outputs if blob not in read)

    @property
    def consumers(self) -> dict[str, list[Layer]]:
        """Readers of each blob, in execution order."""
        readers: dict[str, list[Layer]] = {blob: [] for blob in self.shapes}
        for layer in self.layers:
            for blob in layer.inputs:
                readers[blob].append(layer)
        return readers

    @property
    def producers(self) -> dict[str, Layer]:
        """The layer that writes each blob; input blobs have none."""
        return {blob: layer for layer in self.layers for blob in layer.outputs}

    def has(self, kind: type[LayerParams]) -> bool:
        """Whether there is a layer of this type."""
        return any(isinstance(layer.params, kind) for layer in self.layers)

    def layer(self, name: str) -> Layer:
        """The layer called `name`."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ModelError(f"{self.name or 'the network'} has no layer '{name}'")

    def weighted_layers(self) -> list[Layer]:
        """The layers that have weights; files tell these apart by the layers' names.

        Raises
        ------
        ModelError
            If two of them have the same name.
        """
        layers = [layer for layer in self.layers if layer.weights]
        names: set[str] = set()
        for layer in layers:
            if layer.name in names:
                raise ModelError(f"{layer}: another layer with weights has the same name")
            names.add(layer.name)
        return layers

    def find_blob(self, name: str) -> str:
        """The blob called `name`, here or in Caffe (where the last value counts), or the first output of such a layer.

        Raises
        ------
        OptionError
            If there is neither.
        """
        if name in self.shapes:
            return name
        known = {layer.name: layer.outputs[0] for layer in reversed(self.layers) if layer.outputs}
        known |= {self.caffe_name(blob): blob for blob in self.shapes}
        if name in known:
            return known[name]
        near = difflib.get_close_matches(name, [*self.shapes, *known], 3)
        hint = f"; near: {', '.join(dict.fromkeys(near))}" if near else ""
        raise OptionError(f"{self.name or 'the network'} has no blob or layer '{name}'{hint}")

    def caffe_name(self, blob: str) -> str:
        """Caffe's name of a blob; several values share one name where layers run in place."""
        return self._blob_names.get(blob, blob)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one forward pass of the whole batch."""
        return sum(
            layer.params.multiply_adds([self.shapes[b] for b in layer.inputs], [self.shapes[b] for b in layer.outputs])
            for layer in self.layers
        )

    @property
    def parameter_count(self) -> int:
        """Number of stored weights."""
        return sum(int(w.size) for layer in self.layers for w in layer.weights.values())

    # -- new networks from this one ----------------------------------------------------------------

    def with_input_shape(self, shape: Sequence[int]) -> Network:
        """The same network for another input shape (batch size, height, width).

        Parameters
        ----------
        shape
            New shape of the first input blob, (N, C, H, W); other inputs of its old N take the new one.

        Raises
        ------
        ModelError
            If a layer does not accept the new shapes, for example a fully connected layer whose
            weights fit one image size only.
        """
        batch = self.input_shape[:1]
        others = {blob: (*shape[:1], *old[1:]) for blob, old in self.inputs.items() if old[:1] == batch}
        return self.with_input_shapes({**others, self.input: shape})

    def with_input_shapes(self, shapes: Mapping[str, Sequence[int]]) -> Network:
        """The same network for other shapes of some of its inputs.

        Parameters
        ----------
        shapes
            New shapes by input blob; inputs that are not named keep theirs.

        Raises
        ------
        ModelError
            If there is no such input, or a layer does not accept the new shapes.
        """
        for blob in shapes:
            if blob not in self.inputs:
                raise ModelError(f"{self.name} has no input '{blob}'; its inputs are {', '.join(self.inputs)}")
        new = {**self.inputs, **{blob: tuple(int(d) for d in shape) for blob, shape in shapes.items()}}
        return self if new == self.inputs else self.with_layers(self.layers, inputs=new)

    def with_batch(self, n: int) -> Network:
        """The same network for batches of `n` images."""
        return self.with_input_shape((n, *self.input_shape[1:]))

    def with_layers(self, layers: Iterable[Layer], inputs: Mapping[str, Shape] | None = None) -> Network:
        """The same network with other layers, keeping its name, notes, labels and preprocessing."""
        return Network(
            self.name,
            self.inputs if inputs is None else inputs,
            layers,
            blob_names=self._blob_names,
            notes=self.notes,
            preprocessing=self.preprocessing,
            labels=self.labels,
        )

    def until(self, name: str) -> Network:
        """The part of the network that computes one blob; the layers behind it and beside it are gone.

        Parameters
        ----------
        name
            The blob, or a layer for its first output; see `find_blob`.

        Returns
        -------
        Network
            Inputs that nothing reads any more are gone, too; labels, unless the blob was an output already.

        Raises
        ------
        OptionError
            If there is no such blob, or if it is an input.
        """
        end = self.find_blob(name)
        needed, layers = {end}, []
        for layer in reversed(self.layers):
            if needed.intersection(layer.outputs):
                layers.append(layer)
                needed.update(layer.inputs)
        if not layers:
            raise OptionError(f"'{name}' is an input of {self.name or 'the network'}: no layers would be left")
        part = self.with_layers(layers[::-1], {blob: shape for blob, shape in self.inputs.items() if blob in needed})
        if end not in self.outputs:
            part.labels = None
        return part

    def describe(self, *, preprocessing: Preprocessing | None = None, labels: Sequence[str] | None = None) -> Network:
        """Attach preprocessing or labels and return the network itself."""
        self.preprocessing = preprocessing or self.preprocessing
        self.labels = tuple(labels) if labels is not None else self.labels
        return self

    # -- running -----------------------------------------------------------------------------------

    def forward(self, x: Any, keep: str | Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Run the network; see `caffe2lrp.engine.forward`, which this calls."""
        from caffe2lrp.engine import forward  # the IR itself knows nothing of kernels

        return forward(self, x, keep=keep)

    def __repr__(self) -> str:
        return f"<Network {self.name!r}: {len(self.layers)} layers, input {self.input} {self.input_shape}>"

    def __str__(self) -> str:
        lines = [f"{self.name}: " + ", ".join(f"{blob} {shape}" for blob, shape in self.inputs.items())]
        for layer in self.layers:
            out = ", ".join(f"{blob} {self.shapes[blob]}" for blob in layer.outputs)
            lines.append(
                " ".join(filter(None, [f"  {layer.name} [{layer.params}]", ", ".join(layer.inputs), f"-> {out}"]))
            )
        return "\n".join(lines)


def with_weights(layer: Layer, weights: Mapping[str, np.ndarray]) -> Layer:
    """A copy of `layer` with other weights, made read-only."""
    frozen = {}
    for key, value in weights.items():
        view = value.view()
        view.flags.writeable = False
        frozen[key] = view
    return replace(layer, weights=frozen)


_MOST = 2**48  # values of a blob; no machine's addresses reach further


def _infer_shapes(inputs: Mapping[str, Shape], layers: Sequence[Layer]) -> dict[str, Shape]:
    shapes = dict(inputs)
    for blob, shape in inputs.items():
        if not shape or any(d <= 0 for d in shape):
            raise ModelError(f"input blob '{blob}' has the impossible shape {shape}; give its size when loading")
    for layer in layers:
        for blob in layer.inputs:
            if blob not in shapes:
                raise ModelError(f"{layer} reads blob '{blob}', which nothing above it writes")
        bottoms = [shapes[blob] for blob in layer.inputs]
        try:
            layer.params.check_inputs(bottoms)
            tops = layer.params.output_shapes(bottoms)
            _check_weights(layer, bottoms)
        except ShapeError as error:
            raise ModelError(f"{layer}: {error}") from None
        if len(tops) < len(layer.outputs):
            raise ModelError(f"{layer} writes {len(layer.outputs)} blobs where {len(tops)} are expected")
        for blob, shape in zip(layer.outputs, tops, strict=False):
            if blob in shapes:
                raise ModelError(f"{layer} writes blob '{blob}' a second time")
            if any(d <= 0 for d in shape):
                raise ModelError(
                    f"{layer}: its output '{blob}' would have the shape {shape}; the input {bottoms} is too small"
                )
            if math.prod(shape) > _MOST:
                raise ModelError(
                    f"{layer}: its output '{blob}' would have the shape {shape}, which no computer can hold"
                )
            shapes[blob] = shape
    return shapes


def _check_weights(layer: Layer, bottoms: list[Shape]) -> None:
    needed = layer.params.weight_shapes(bottoms)
    for name, shape in needed.items():
        if name not in layer.weights:
            raise ShapeError(f"has no stored {name}; it needs one of shape {shape}. Do the weights belong to this net?")
        have = layer.weights[name].shape
        if tuple(have) != tuple(shape):
            raise ShapeError(
                f"stored {name} has shape {tuple(have)} ({math.prod(have)} values), "
                f"but with input {bottoms[0] if bottoms else ()} the layer needs {tuple(shape)}"
            )
