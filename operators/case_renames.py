"""Resuming under a changed process map: records name handoffs, rules and carried times by their place in lists."""

from collections.abc import Mapping, Sequence

import msgspec

from operators.case_passes import parts_of
from operators.case_record import packed, unpacked
from operators.case_state import PassKey
from operators.process_map import Forbidden, Handoff


class Names(msgspec.Struct, frozen=True):
    """What the places in a record stand for."""

    handoffs: list[str]
    rules: list[str]
    times: list[str]

    @classmethod
    def of(cls, entries: Sequence[Handoff], rules: Sequence[Forbidden], times: list[str]) -> "Names":
        """Those of a process map."""
        return cls([handoff.identity for handoff in entries], [rule.name for rule in rules], times)

    def handoffs_of(self, names: Sequence[str], version: int) -> list[str]:
        """The names of handoffs in a state; those of version 4 say less, and are taken for what they are now."""
        if version > 4:
            return list(names)
        return [next((now for now in self.handoffs if now.startswith(f"{was}|")), was) for was in names]


def renamed(kept: Mapping[str, bytes], old: Names, new: Names) -> dict[str, bytes]:
    """Records of the `old` names under the `new` ones; what is no longer named is let go."""
    handoffs, rules, times = (
        {place: now.index(name) for place, name in enumerate(was) if name in now}
        for was, now in ((old.handoffs, new.handoffs), (old.rules, new.rules), (old.times, new.times))
    )
    out: dict[str, bytes] = {}
    for case_id, record in kept.items():
        case = unpacked(record)
        case.passes = {_moved(key, handoffs): one for key, one in case.passes.items() if parts_of(key)[0] in handoffs}
        case.marks = {rules[place]: mark for place, mark in (case.marks or {}).items() if place in rules}
        case.times = {_moved(key, times): said for key, said in (case.times or {}).items() if parts_of(key)[0] in times}
        out[case_id] = packed(case)
    return out


def _moved(key: PassKey, places: Mapping[int, int]) -> PassKey:
    if isinstance(key, int):
        return places[key]
    place, _, rest = key.partition("/")
    return f"{places[int(place)]}/{rest}"
