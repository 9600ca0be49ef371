"""The open finding about a scope of detectors whose rule is no rate, and the signal made of it."""

from collections.abc import Mapping

import msgspec

from operators.detectors.records import Impact, ScopeFinding
from operators.findings import confidence_of, next_version, signal_id
from operators.process_map import Severity
from schemas.rows import Signal


class Standing(msgspec.Struct, array_like=True):
    """What is kept of a finding while it stands; `found_us` is 0 where there is none.

    `since_us` is when what was found began, `score` how surprising it is at its worst (-log10 of a probability).
    """

    found_us: int = 0
    since_us: int = 0
    score: float = 0.0
    version: int = 0
    evidence: list[str] = []
    named: dict[str, None] = {}

    def begin(self, found_us: int, since_us: int, score: float, evidence: list[str]) -> None:
        """It stands from now on."""
        self.found_us, self.since_us, self.score = found_us, min(since_us, found_us), score
        self.evidence, self.named = evidence[:20], {}

    def end(self) -> None:
        """It is over."""
        self.found_us = self.since_us = 0
        self.score, self.evidence, self.named = 0.0, [], {}

    def new(self, impacts: list[Impact]) -> list[Impact]:
        """Those of the touched cases that were not named yet."""
        found = []
        for impact in impacts:
            if impact.key and impact.key not in self.named:
                self.named[impact.key] = None
                found.append(impact)
        return found


class Said(msgspec.Struct, frozen=True):
    """Expected, observed, and the sentence."""

    expected: str
    observed: str
    sentence: str


def standing_finding(
    detector: str,
    kind: str,
    scope: Mapping[str, str],
    standing: Standing,
    said: Said,
    end_us: int,
    *,
    impacts: list[Impact] | None = None,
    severity: Severity = "high",
    closed: bool = False,
) -> ScopeFinding:
    """The finding in its present version, with the cases that this version adds."""
    standing.version = next_version(standing.version, end_us)
    signal = Signal(
        signal_id=signal_id(detector, kind, repr(sorted(scope.items())), str(standing.found_us)),
        detector=detector,
        kind=kind,
        handoff="",
        scope=dict(scope),
        case_id="",
        opened_at_us=standing.since_us,
        found_at_us=standing.found_us,
        closed_at_us=end_us if closed else None,
        severity=severity,
        score=round(standing.score, 3),
        confidence=confidence_of(standing.score),
        expected=said.expected,
        observed=said.observed,
        method="rule",
        explanation=said.sentence,
        evidence=list(standing.evidence),
        arrival_us=end_us,
        version=standing.version,
    )
    return ScopeFinding(signal, impacts or [])
