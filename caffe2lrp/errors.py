"""The errors of caffe2lrp: one base class, so that callers can catch everything with one `except`."""

from __future__ import annotations


class Caffe2LrpError(Exception):
    """Base of every error that caffe2lrp raises on purpose.

    The message is one line (or a few) for a person: it names the file, the layer and what to do.
    """


class FileFormatError(Caffe2LrpError):
    """A file is missing, truncated, not of the expected kind, or contradicts itself."""


class ModelError(Caffe2LrpError):
    """A network cannot be built or run: unknown layer type, shapes that do not fit, missing weights."""


class ImageError(Caffe2LrpError):
    """An image cannot be read or does not fit the network."""


class OptionError(Caffe2LrpError, ValueError):
    """An option or argument has a value that cannot be used."""


class DownloadError(Caffe2LrpError):
    """A model could not be fetched, or what was received is not what was published."""
