"""``caffe2lrp rules``."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2lrp import rules
from caffe2lrp.cli.terminal import print_json, print_table
from caffe2lrp.errors import OptionError
from caffe2lrp.guide import tables


def run(names: Sequence[str], *, as_json: bool) -> None:
    """Print the tables of rules, composites and baselines, or of those that are named, one below the other."""
    known = [row[0] for table in tables() for row in table.rows]
    for name in names:
        if name not in known:
            raise OptionError(rules.unknown("rule, composite or baseline", name, known))
    chosen = [(table, [row for row in table.rows if not names or row[0] in names]) for table in tables()]
    if as_json:
        print_json({t.title.lower(): [dict(zip(t.columns, row, strict=True)) for row in rows] for t, rows in chosen})
        return
    for table, rows in chosen:
        if names:
            for row in rows:
                print(row[0])
                print_table(("", ""), list(zip(table.columns[1:], row[1:], strict=True)), indent=2)
        else:
            print(table.title)
            print_table(table.columns, rows, indent=2)
            print()
    if not names:
        print("z_j = sum_i w_ij x_i + b_j; z_j+ and z_j- are the sums of its positive and of its negative terms.")
        print("One of them in full: caffe2lrp rules NAME")
