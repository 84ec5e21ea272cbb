"""The LRP Toolbox for those who compare with it: its numbers, its demonstrators and their files, its pictures.

The Toolbox (caffe-master-lrp 1.3.1) is the implementation by the authors of LRP. `explain` computes what it
computes; `caffe2lrp.explain` is the mathematics. docs/toolbox.md lists where the two differ.
"""

from caffe2lrp.toolbox.formulas import FORMULAS, METHODS, Options, Step, explain, parse_options, run, steps

__all__ = ["FORMULAS", "METHODS", "Options", "Step", "explain", "parse_options", "run", "steps"]
