"""The commands as a user types them: arguments, options and help, a module each.

These modules import nothing heavy, so that ``--help`` answers at once. The work is done in the modules of the same
names in `caffe2lrp.cli`, which are imported when their command runs. In the examples, paragraphs are separated by empty
lines; typer sets each of them as one.
"""

from caffe2lrp.cli.commands import (
    convert,
    diff,
    evaluate,
    explain,
    figures,
    inspect,
    predict,
    report,
    rules,
    serve,
    upgrade,
    weights,
)

ALL = (explain, evaluate, report, figures, serve, rules, predict, inspect, upgrade, weights, convert, diff)
"""In the order of the help."""
