"""The demonstrators ``lrp_demo``, ``lrp_parallel_demo`` and their variants with minimal output."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from caffe2lrp.converters import caffe
from caffe2lrp.engine.session import Session
from caffe2lrp.errors import Caffe2LrpError, OptionError
from caffe2lrp.pictures import save_png
from caffe2lrp.preprocessing import read_label_file
from caffe2lrp.toolbox.config import BEST_FIVE, Config, Entry
from caffe2lrp.toolbox.files import Pair, write_rawhm, write_scores
from caffe2lrp.toolbox.formulas import BOXED, check, run
from caffe2lrp.toolbox.pictures import aggregate, demonstrator_heatmap, paint
from caffe2lrp.toolbox.preparation import Prepared, check_sizes, prepare, read_mean_file

LISTED = 10
"""So many scores are written for an image."""

Read = Prepared | str
"""An image that is prepared, or why it could not be."""


@dataclass(frozen=True, eq=False)
class Result:
    """What a demonstrator finds out about an image.

    Attributes
    ----------
    classes
        The classes that were explained together.
    score
        Where relevance started: the sum of their values in the start layer.
    scores
        Index and value of the ten highest outputs, highest first; of equal ones the first.
    relevance
        (3, H, W), channels red, green, blue.
    """

    classes: list[int]
    score: float
    scores: list[Pair]
    relevance: np.ndarray


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of an entry of the file list: a result and its files by kind, or an error."""

    entry: Entry
    result: Result | None = None
    files: dict[str, str] | None = None
    error: str | None = None


@dataclass(frozen=True)
class Output:
    """What is written for an image.

    Attributes
    ----------
    pictures
        Write ``_as_inputted_into_the_dnn.png`` and ``_heatmap.png``; the variants with minimal output do not.
    cmaps
        Also write the relevance in these colours, as ``apply_heatmap.py`` does.
    """

    pictures: bool = True
    cmaps: Sequence[str] = ()


class Demonstrator:
    """A net that was opened as a configuration says.

    Parameters
    ----------
    config
        The configuration.
    transposed_mean
        Reproduce a defect of the Toolbox, see `read_mean_file`.
    dtype
        Precision of all arithmetic; the demonstrators have single precision.

    Raises
    ------
    FileFormatError, ModelError, OptionError
        If a file cannot be used, the options do not fit the net, or the Toolbox would stop at one of its layers.
    """

    def __init__(self, config: Config, *, transposed_mean: bool = False, dtype: Any = np.float32) -> None:
        self.config = config
        self.dtype = np.dtype(dtype)
        self.network = caffe.load(config.param_file, config.model_file)
        if len(self.network.inputs) > 1:
            raise OptionError(f"{config.param_file}: the net has the inputs {', '.join(self.network.inputs)}, not one")
        self.mean = read_mean_file(config.mean_file, config.use_mean_file_asbinaryprotoblob, transposed=transposed_mean)
        self.labels = read_label_file(config.synsetfile)
        self.side = check_sizes(self.network.input_shape, self.mean, config.baseimgsize)
        # Caffe's first output is the first in the order of the alphabet.
        self.output = min(self.network.outputs, key=self.network.caffe_name)
        count = int(np.prod(self.network.shapes[self.output][1:]))
        if config.numclasses > count:
            raise OptionError(
                f"{config.path}: numclasses is {config.numclasses}, but the net's output "
                f"{self.network.caffe_name(self.output)} has {count} values"
            )
        options, visited, _ = check(self.network, **config.options)
        self._boxed = options.relpropformulatype in BOXED
        self._count = int(np.prod(self.network.shapes[visited[-1].blob][1:]))

    def prepare(self, entry: Entry) -> Prepared:
        """Prepare the image of an entry.

        Raises
        ------
        OptionError
            If the entry's class does not exist.
        ImageError
            If the image cannot be read.
        """
        if entry.code >= self._count:
            raise OptionError(f"'{entry.image}': class {entry.code} does not exist among {self._count} (from 0 on)")
        return prepare(entry.image, self.mean, self.side, self.config.baseimgsize)

    def explain(self, images: Sequence[Prepared], codes: Sequence[int]) -> list[Result]:
        """Explain images by their class codes, all in one pass."""
        if self._boxed and len(images) > 1:  # the bounds of z^B are those of one image
            return [r for image, code in zip(images, codes, strict=True) for r in self.explain([image], [code])]
        x = np.stack([image.blob for image in images]).astype(self.dtype, copy=False)
        session = Session(self.network, x, fold=False)
        with session.values() as values:
            outputs = values[self.output].reshape(len(x), -1)[:, : self.config.numclasses].copy()
        ranking = np.argsort(-outputs, axis=1, kind="stable")
        classes = [_classes(code, ranked) for code, ranked in zip(codes, ranking, strict=True)]
        mean = images[0].mean if self._boxed else None
        e = run(session, classes, imagemean=mean, **self.config.options)
        return [
            Result(
                classes[n],
                float(e.score[n]),
                [(int(i), float(outputs[n, i])) for i in ranking[n, :LISTED]],
                e.relevance[n, ::-1],
            )
            for n in range(len(x))
        ]

    def run(self, entries: Sequence[Entry], output: Output, batch: int = 1) -> Iterator[Outcome]:
        """Go through a file list: while images are explained, the next are read and the last are written.

        An image that fails does not lose the others.

        Parameters
        ----------
        entries
            Images and class codes.
        output
            What is written.
        batch
            At most so many images are explained at once; they are dealt out evenly.

        Yields
        ------
        Outcome
            One for each entry; one that cannot be read may come before those that are still written.
        """
        if self._boxed:
            batch = 1
        rounds = -(-len(entries) // batch)
        batch = -(-len(entries) // max(1, rounds))
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            writing: deque[Future[Outcome]] = deque()
            ready: list[tuple[Entry, Prepared]] = []
            for entry, prepared in _ahead(reader, self._read, entries, 2 * batch):
                if isinstance(prepared, str):
                    yield Outcome(entry, error=prepared)
                    continue
                ready.append((entry, prepared))
                if len(ready) == batch:
                    self._explain_and_write(ready, batch, output, writer, writing)
                    ready = []
                    while len(writing) > batch:
                        yield writing.popleft().result()
            if ready:
                self._explain_and_write(ready, batch, output, writer, writing)
            while writing:
                yield writing.popleft().result()

    def _read(self, entry: Entry) -> Read:
        try:
            self.config.output_name(entry.image)
            return self.prepare(entry)
        except Caffe2LrpError as error:
            return str(error)

    def _explain_and_write(
        self,
        ready: Sequence[tuple[Entry, Prepared]],
        batch: int,
        output: Output,
        writer: ThreadPoolExecutor,
        writing: deque[Future[Outcome]],
    ) -> None:
        # A batch that is not full is filled up, as in the parallel demonstrator: another size would be another plan.
        full = [*ready, *[ready[-1]] * (batch - len(ready))]
        results = self.explain([prepared for _, prepared in full], [entry.code for entry, _ in full])
        for (entry, prepared), result in zip(ready, results, strict=False):
            writing.append(writer.submit(self._write, entry, prepared, result, output))

    def _write(self, entry: Entry, prepared: Prepared, result: Result, output: Output) -> Outcome:
        try:
            files = write(self.config.output_name(entry.image), prepared.view, result, output)
        except (Caffe2LrpError, OSError) as error:
            return Outcome(entry, error=str(error))
        return Outcome(entry, result, files)


def write(name: str, view: np.ndarray, result: Result, output: Output) -> dict[str, str]:
    """Write the files of an image.

    Parameters
    ----------
    name
        Beginning of their names; folders are made.
    view
        What the net saw, uint8, (H, W, 3).
    result, output
        What was found out, and what is to be written of it.

    Returns
    -------
    dict
        Names of the files by kind.

    Raises
    ------
    OptionError
        If a file cannot be written.
    """
    kinds = {"rawhm": "_rawhm.txt", "scores": "_top10scores.txt"}
    try:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make the folder '{Path(name).parent}': {error.strerror or error}") from None
    files = {kind: name + suffix for kind, suffix in kinds.items()}
    write_rawhm(files["rawhm"], result.relevance)
    write_scores(files["scores"], result.scores)
    if output.pictures:
        files["input"] = str(save_png(Image.fromarray(view), f"{name}_as_inputted_into_the_dnn.png"))
        files["heatmap"] = str(save_png(demonstrator_heatmap(result.relevance), f"{name}_heatmap.png"))
    for cmap in output.cmaps:
        painted = paint(aggregate(result.relevance), cmap)
        files[cmap] = str(save_png(painted, painted_name(files["rawhm"], cmap)))
    return files


def painted_name(rawhm: str, cmap: str) -> str:
    """What ``apply_heatmap.py`` calls the picture of a file of relevance."""
    return f"{rawhm}_{cmap}_heatmap.png"


def _classes(code: int, ranked: np.ndarray) -> list[int]:
    if code >= 0:
        return [code]
    return [int(i) for i in ranked[: 5 if code == BEST_FIVE else 1]]


def _ahead(
    pool: ThreadPoolExecutor, read: Callable[[Entry], Read], entries: Iterable[Entry], most: int
) -> Iterator[tuple[Entry, Read]]:
    """Entries and what `read` makes of them, in order; at most `most` are read before they are asked for."""
    rest = iter(entries)
    reading = deque((entry, pool.submit(read, entry)) for entry in islice(rest, most))
    while reading:
        entry, future = reading.popleft()
        result = future.result()
        reading.extend((following, pool.submit(read, following)) for following in islice(rest, 1))
        yield entry, result
