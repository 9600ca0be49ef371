"""Reading what is to be put into a run: kinds by name, each with its span and its own parameters."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol, TypeVar

import msgspec

from scenarios.settings import BreakdownSpec, SimulationSettings
from schemas.durations import HOUR_US, Duration
from schemas.problems import Problem, declare_document

#: What problems are said to be in.
FILE = "simulation settings"


class Injectable(Protocol):
    """A kind of thing that can be put into a run."""

    begins: ClassVar[Duration]
    ends: ClassVar[Duration]
    Parameters: ClassVar[type[msgspec.Struct]]


K = TypeVar("K", bound=Injectable)


class Injection(msgspec.Struct, frozen=True):
    """One of them as asked for: its place in the settings, its kind, span and parameters."""

    index: int
    kind: Any
    begin_us: int
    end_us: int
    parameters: msgspec.Struct


def read_injections(
    settings: SimulationSettings, specs: Iterable[BreakdownSpec], key: str, kinds: Mapping[str, type[K]]
) -> tuple[list[Injection], list[Problem]]:
    """What `specs` (the settings' `key`) ask for, and everything that is wrong with them."""
    made: list[Injection] = []
    problems: list[Problem] = []
    for index, spec in enumerate(specs):
        where = f"{key}[{index}]"
        kind = kinds.get(spec.kind)
        if kind is None:
            accepted = f"there is no such {key.removesuffix('s')}; accepted here: {', '.join(sorted(kinds))}"
            problems.append(Problem(FILE, f"{where}.kind", f'"{spec.kind}"', accepted))
            continue
        begin = kind.begins if spec.begin is None else spec.begin
        end = kind.ends if spec.end is None else spec.end
        if not 0 <= begin < end <= settings.duration:
            span = f"{begin / HOUR_US:g}h to {end / HOUR_US:g}h"
            hours = settings.duration / HOUR_US
            words = f"must begin before it ends, both inside the {hours:g} hours that are simulated"
            problems.append(Problem(FILE, f"{where}.begin, end ({spec.kind})", span, words))
        declared = declare_document(dict(spec.parameters), kind.Parameters, FILE)
        problems.extend(
            Problem(FILE, f"{where}.parameters.{found.key}", found.value, found.expected) for found in declared.problems
        )
        if declared.value is not None:
            begin_us, end_us = settings.start + begin, settings.start + end
            made.append(Injection(index, kind, begin_us, end_us, declared.value))
    return made, problems
