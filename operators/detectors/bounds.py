"""What a threshold can be: which scopes can have another one, and between which numbers it makes sense.

A mistake here would show itself late or never: an override that matches no scope changes nothing, a share of 5 (meant
as 5 %) is never reached, and a memory of 0 ends the job when the first count fades.
"""

from collections.abc import Iterable
from math import isfinite

from schemas.durations import MINUTE_US, Duration, Length, people_duration

#: What an override can be for.
SCOPES = ("region", "node_group", "node", "channel", "carrier", "supplier", "interface")
_ANY = tuple((name,) for name in SCOPES)
#: By which of these the scopes are told apart that thresholds are asked for; that of the longest path counts. Several
#: tuples: by one of them at a time.
_TOLD_APART: dict[str, tuple[tuple[str, ...], ...]] = {
    "returns": (),
    "supply": (("supplier",),),
    "margin": (("channel",),),
    "margin.freight": (("carrier", "channel"),),
    "margin.freight_over": (("carrier", "channel"),),
    "capture": (("region", "channel"),),
    "capture.duplicates": (("channel",),),
    "capture.incomplete": (("channel",),),
    "integration": (),
    "integration.calls": (("interface",),),
    "integration.refused": (("channel",),),
    "routing.elsewhere": (("region",), ("node_group", "node"), ("channel",)),
    "routing.late": _ANY,  # the handoff's scope: one field, of the process map
    "warehouse": (("node_group", "node"),),
    "carriers": (("carrier",),),
    "settlement": (),
    "inventory": (("node_group", "node"),),
    "demand": (),
}
#: Shares of something: what is above 1 can't be reached.
_SHARES = frozenset(
    {
        "behind_share",
        "carried",
        "done",
        "most_usual",
        "named_usual",
        "of_failures",
        "one_channel",
        "share",
        "tolerance",
    }
)
#: Shares of what can be less than what is held against it: an order may lose more on freight than it sells for.
_OF_LESS = frozenset({"margin.freight.share"})
#: Numbers of something of which there must be one.
_SOME = frozenset({"least", "samples", "soon_unfilled", "unfilled", "young"})
#: Lengths of time that can't be nothing; a window has at least one of the minutes in which is counted.
_LEAST_US = {
    "age": 1,
    "learn_every": 1,
    "memory": 1,
    "order_retention": 1,
    "remembered": 1,
    "retention": 1,
    "slow_age": 1,
    "window": MINUTE_US,
}


def told_apart(path: str) -> tuple[tuple[str, ...], ...]:
    """By what the scopes are told apart that a threshold is asked for: by one of these at a time.

    Of a family that is not in the table nobody knows, so none is refused; a test asks for its entry.
    """
    while path not in _TOLD_APART:
        path, dot, _ = path.rpartition(".")
        if not dot:
            return _ANY
    return _TOLD_APART[path]


def by_words(path: str) -> str:
    """`carrier, channel`, `one of region, channel`: what an override of a threshold can be for; empty: nothing."""
    ways = told_apart(path)
    return "one of " * (len(ways) > 1) + ", ".join(name for way in ways for name in way)


def no_such_scope(path: str, named: Iterable[str]) -> str:
    """Why no scope that has all that is named has a threshold of its own; empty where one can."""
    wanted = set(named)
    if any(wanted.issubset(way) for way in told_apart(path)):
        return ""
    by, can_be = " and ".join(name for name in SCOPES if name in wanted), by_words(path)
    if can_be:
        return f"can't be other by {by}: only by {can_be}"
    section, _, name = f"detectors.{path}".rpartition(".")
    return f"can't be other by {by}, nor by anything else: set {name} under [{section}]"


def out_of_bounds(path: str, value: object) -> str:
    """What a threshold must be, where this value is not; empty where it is."""
    if isinstance(value, Duration):
        least_us = _least_us(path)
        if value >= least_us:
            return ""
        return f"must be at least {people_duration(least_us)}" if least_us > 1 else "must be longer than 0"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if _is_share(path):
        return "" if 0 <= value <= 1 else "must be a share, between 0 and 1"
    return "" if isfinite(value) and value >= _least(path) else f"must be a number, at least {_least(path)}"


def limits(path: str, kind: object) -> str:
    """What a threshold of type `kind` is held to beyond that, for its reference; empty where nothing."""
    if kind is Duration:
        return str(Length(_least_us(path)))
    if kind is not int and kind is not float:
        return ""
    return "between 0 and 1" if _is_share(path) else f"at least {_least(path)}"


def _least_us(path: str) -> int:
    return _LEAST_US.get(path.rpartition(".")[2], 0)


def _is_share(path: str) -> bool:
    return path.rpartition(".")[2] in _SHARES and path not in _OF_LESS


def _least(path: str) -> int:
    return 1 if path.rpartition(".")[2] in _SOME else 0
