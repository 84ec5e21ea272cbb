"""What options say, grouped by what they are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from caffe2lrp.errors import OptionError

if TYPE_CHECKING:
    from caffe2lrp.pictures import Style

DEFAULT_MODEL = "digits"
"""The model that comes with caffe2lrp."""


class Channels(StrEnum):
    """Order of the planes of the input blob."""

    BGR = "BGR"
    RGB = "RGB"
    GRAY = "GRAY"


class LRNRule(StrEnum):
    """How relevance passes LRN layers."""

    TAYLOR = "taylor"
    IDENTITY = "identity"
    TOOLBOX = "toolbox"


class Start(StrEnum):
    """What relevance starts with."""

    SCORE = "score"
    ONE = "one"


class Mode(StrEnum):
    """Whose numbers the figures show."""

    CLEAN = "clean"
    TOOLBOX = "toolbox"


class SheetName(StrEnum):
    """What a figure compares."""

    PARAMETERS = "parameters"
    LRN = "lrn"
    METHODS = "methods"


class Operator(StrEnum):
    """What regions are replaced by."""

    UNIFORM = "uniform"
    DIRICHLET = "dirichlet"
    CONSTANT = "constant"
    BLUR = "blur"
    FLIP = "flip"


class Precision(StrEnum):
    """Precision of all arithmetic."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"


@dataclass(frozen=True)
class ModelOptions:
    """Which network, and how pictures are prepared for it; None is what was not given."""

    model: str | None = None
    prototxt: Path | None = None
    weights: Path | None = None
    labels: Path | None = None
    input_shape: str | None = None
    mean: str | None = None
    channels: Channels | None = None
    scale: str | None = None
    resize: str | None = None
    plugins: Sequence[Path] = ()


@dataclass(frozen=True)
class RuleOptions:
    """How relevance is propagated, and where it starts."""

    rules: Sequence[str] = ()
    composites: Sequence[str] = ()
    parameters: Mapping[str, float] = field(default_factory=dict)
    lrn: LRNRule = LRNRule.TAYLOR
    layer: str | None = None
    start: Start | None = None
    through: str | None = None
    channels: Sequence[int] = ()


@dataclass(frozen=True)
class ExplainOptions:
    """What is explained, and what is written and printed."""

    targets: Sequence[str]
    against: Sequence[str]
    out: Path
    style: Style
    account: bool | None = None  # None is the short form
    layers: bool = False
    keep: Sequence[str] = ()
    json: bool = False


@dataclass(frozen=True)
class ConvertOptions:
    """What is written, and how it is proved."""

    out: Path
    opset: int | None = None  # None is the default
    batch: int | None = None
    with_preprocessing: bool = False
    simplify: bool = False
    fp16: bool = False
    verify: bool = True
    images: Sequence[str] = ()


@dataclass(frozen=True)
class ComparisonOptions:
    """How blobs are compared, and what is told of it."""

    tolerance: float | None = None  # None is the default
    seed: int = 0
    report: Path | None = None
    json: bool = False


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """A shape such as ``1,3,227,227``.

    Raises
    ------
    OptionError
        If it is not made of positive whole numbers.
    """
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise OptionError(f"--input-shape must be positive whole numbers such as 1,3,227,227, not '{text}'")
    return tuple(int(part) for part in parts)


def parse_numbers(text: str) -> tuple[float, ...] | None:
    """Numbers such as ``104,117,123``; None if it is something else (a file name)."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        return None


def parse_scale(text: str) -> float:
    """A number such as ``0.00390625``, or a fraction such as ``1/256``.

    Raises
    ------
    OptionError
        If it is neither.
    """
    upper, _, lower = text.partition("/")
    try:
        return float(upper) / float(lower or 1)
    except (ValueError, ZeroDivisionError):
        raise OptionError(f"--scale must be a number or a fraction such as 1/256, not '{text}'") from None
