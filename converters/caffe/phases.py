"""Which layers belong to a phase: Caffe's include and exclude rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from caffe2lrp.converters.caffe.message import Message
from caffe2lrp.errors import ModelError


@dataclass(frozen=True)
class State:
    """The state of a net that rules are held against."""

    phase: str = "TEST"
    level: int = 0
    stages: frozenset[str] = frozenset()


def state_of(net: Message, phase: str, level: int, stages: Sequence[str]) -> State:
    """The state that a caller asks for, added to the level and the stages that the file itself sets."""
    own = net.get("state")
    return State(phase, level or own.get("level"), frozenset([*stages, *own.all("stage")]))


def is_included(layer: Message, state: State, place: str) -> bool:
    """Whether a layer is part of the net in this state.

    Parameters
    ----------
    layer
        The layer's message.
    state
        State of the net.
    place
        File and line of the layer, for messages.
    """
    include, exclude = layer.all("include"), layer.all("exclude")
    if include and exclude:
        raise ModelError(
            f"{place}: layer '{layer.get('name')}' has both include and exclude rules; Caffe allows one kind only"
        )
    if include:
        return any(_meets(rule, state) for rule in include)
    return not any(_meets(rule, state) for rule in exclude)


def _meets(rule: Message, state: State) -> bool:
    return (
        (not rule.has("phase") or rule.get("phase") == state.phase)
        and (not rule.has("min_level") or state.level >= rule.get("min_level"))
        and (not rule.has("max_level") or state.level <= rule.get("max_level"))
        and all(stage in state.stages for stage in rule.all("stage"))
        and not any(stage in state.stages for stage in rule.all("not_stage"))
    )
