"""The truth about a run, in the public format of `andon evaluate` (docs/scenarios.md)."""

import msgspec

from schemas.durations import HOUR_US, rfc3339

_SHORTEST_CLEAN_US = HOUR_US


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """What broke, and where."""

    kind: str
    scope: dict[str, str | list[str]]


class HazardRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Something unusual that was in the run and is no breakdown."""

    kind: str
    begin: str
    end: str


class TruthRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of `truth.jsonl`: a breakdown that was in the run, or a clean period (`none`).

    `effects` counts what really happened because of it, by name; `hazards` are what fell into its span and must not
    be taken for a breakdown.
    """

    breakdown_id: str
    kind: str
    begin: str
    end: str
    cause: Cause
    scope: dict[str, str | list[str]]
    orders: list[str]
    value_at_risk: str
    currency: str
    effects_until: str | None = None
    cases: list[str] = []
    effects: dict[str, int] = {}
    hazards: list[HazardRecord] = []


def clean_periods(begin_us: int, end_us: int, broken: list[tuple[int, int]], currency: str) -> list[TruthRecord]:
    """The spans of an hour or more in which nothing was broken or still suffering."""
    out: list[TruthRecord] = []
    at = begin_us
    for begin, end in [*sorted(broken), (end_us, end_us)]:
        if begin - at >= _SHORTEST_CLEAN_US:
            out.append(
                TruthRecord(
                    breakdown_id=f"clean-{len(out) + 1}",
                    kind="none",
                    begin=rfc3339(at),
                    end=rfc3339(begin),
                    cause=Cause(kind="none", scope={}),
                    scope={},
                    orders=[],
                    value_at_risk="0.00",
                    currency=currency,
                )
            )
        at = max(at, end)
    return out
