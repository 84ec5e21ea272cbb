"""What all sections of the bench share."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass, field

from caffe2lrp.ir import Network
from tests.bench import networks
from tests.bench.limits import Machine, measure_machine
from tests.bench.peers import Peer, find_peers


@dataclass
class Bench:
    """Settings of a run, and what is found out only if a section needs it.

    Attributes
    ----------
    runs
        Runs of each function.
    threads
        Threads of ours and of all peers.
    """

    runs: int
    threads: int
    _missing: set[str] = field(default_factory=set)

    @functools.cached_property
    def machine(self) -> Machine:
        """The machine's limits."""
        return measure_machine(self.threads)

    @property
    def measured(self) -> bool:
        """Whether a section needed the machine's limits."""
        return "machine" in vars(self)

    @functools.cached_property
    def peers(self) -> dict[str, Peer]:
        """The peers, installed or not."""
        return find_peers()

    def network(self, name: str) -> Network | None:
        """A network for one image; None, said once, where its weights are missing."""
        network = networks.load(name)
        if network is None and name not in self._missing:
            self._missing.add(name)
            print(f"{networks.TITLES[name]} is left out: its weights are not there", file=sys.stderr)
        return network
