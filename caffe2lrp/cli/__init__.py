"""The command line: ``caffe2lrp explain``, ``predict``, ``inspect``, ``convert``, ``diff`` and ``models``.

`commands` says what a user can type, and imports nothing heavy, so that ``--help`` answers at once. The work is done in
the modules of these names, which are imported when their command runs.
"""

from caffe2lrp.cli.app import app, main

__all__ = ["app", "main"]
