"""What was found held against what is known to have been broken. Pure; docs/detection.md says how it judges.

A breakdown is found when an incident of its kind, or one that touches its scope or its orders, was said between its
begin and `grace` after its effects ended. Of several, the one of the right kind and scope counts, then that of the
right kind, then the one with most of its orders, then the earliest.
"""

import gzip
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

import msgspec

from schemas.durations import BEGIN_OF_TIME_US, DAY_US, HOUR_US, SECOND_US, Instant
from schemas.errors import SettingsError
from schemas.problems import Problem

GRACE_US = 6 * HOUR_US
#: An incident with that share of a breakdown's orders (or of its own) touches it.
_TOUCHING = 0.2
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_NO_LINE = 'has no line: a time in which nothing was broken is one of kind "none", with begin and end'
_DECIMAL = re.compile(r"-?\d+(\.\d+)?", re.ASCII)


class TruthCause(msgspec.Struct, frozen=True):
    """What broke, and where."""

    kind: str
    scope: dict[str, str | list[str] | None] = {}


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a truth file; unknown fields are ignored, as is one that is null.

    Kind `none` is a clean period.
    """

    breakdown_id: str
    kind: str
    begin: str
    end: str
    effects_until: str = ""
    cause: TruthCause | None = None
    scope: dict[str, str | list[str] | None] = {}
    orders: list[str] = []
    cases: list[str] = []
    value_at_risk: str = "0"
    currency: str = ""

    @property
    def begin_us(self) -> int:
        """When it began."""
        return Instant.parse(self.begin)

    @property
    def over_us(self) -> int:
        """When it and what followed from it were over."""
        return max(Instant.parse(self.end), Instant.parse(self.effects_until) if self.effects_until else 0)

    def values(self) -> dict[str, set[str]]:
        """The scope, each dimension as a set."""
        given = {name: value for name, value in self.scope.items() if value is not None}
        return {name: {value} if isinstance(value, str) else set(value) for name, value in given.items()}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """An incident as far as it is judged."""

    incident_id: str
    kind: str
    scope: dict[str, str]
    opened_us: int
    found_us: int
    closed_us: int | None = None
    orders: frozenset[str] = frozenset()
    cases: frozenset[str] = frozenset()
    value: float = 0.0
    summary: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How one breakdown fared; times in seconds, shares None where there is nothing to share."""

    breakdown_id: str
    kind: str
    found: bool
    incident_id: str = ""
    said_kind: str = ""
    right_kind: bool = False
    right_scope: bool = False
    detection_s: float | None = None
    orders: int = 0
    named: int = 0
    recall: float | None = None
    precision: float | None = None
    incidents: int = 0
    value_at_risk: float = 0.0
    said_value: float = 0.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All verdicts, and the incidents that belong to no breakdown; `clean_days` is how long nothing was broken."""

    verdicts: list[Verdict]
    false: list[Found]
    false_in_clean: int
    clean_days: float

    @property
    def false_per_clean_day(self) -> float | None:
        """False incidents a day while nothing was broken."""
        return self.false_in_clean / self.clean_days if self.clean_days else None

    def as_json(self) -> str:
        """All of it for machines: the same judgement is the same text."""
        document = _Document(self.summary(), self.verdicts, self.false)
        return msgspec.json.encode(document, order="deterministic").decode()

    def summary(self) -> dict[str, float | int | None]:
        """The figures that goals are set for."""
        found = [verdict for verdict in self.verdicts if verdict.found]
        times = [verdict.detection_s for verdict in found if verdict.detection_s is not None]
        recalls = [verdict.recall for verdict in self.verdicts if verdict.recall is not None]
        precisions = [verdict.precision for verdict in self.verdicts if verdict.precision is not None]
        count = len(self.verdicts)
        return {
            "breakdowns": count,
            "found": len(found) / count if count else None,
            "right_kind": sum(verdict.right_kind for verdict in found) / count if count else None,
            "right_scope": sum(verdict.right_scope for verdict in found) / count if count else None,
            "median_detection_s": median(times) if times else None,
            "mean_recall": sum(recalls) / len(recalls) if recalls else None,
            "mean_precision": sum(precisions) / len(precisions) if precisions else None,
            "incidents_per_breakdown": sum(verdict.incidents for verdict in found) / len(found) if found else None,
            "false": len(self.false),
            "false_per_clean_day": self.false_per_clean_day,
        }


class _Document(msgspec.Struct, frozen=True):
    """A report as machines get it."""

    summary: dict[str, float | int | None]
    verdicts: list[Verdict]
    false: list[Found]


def read_truth(path: Path) -> list[Truth]:
    """A truth file, JSON lines; gzip and a byte order mark are read over.

    Raises:
        SettingsError: with every line that can't be read, or is a breakdown that was there before; or there is no line.
    """
    out: list[Truth] = []
    lines: dict[str, int] = {}
    problems: list[Problem] = []
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if raw.startswith(_GZIP) else raw
    except (EOFError, OSError, zlib.error) as error:
        words = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise SettingsError([Problem(str(path), "truth", "", words)]) from error
    for number, line in enumerate(text.removeprefix(_BYTE_ORDER_MARK).splitlines(), 1):
        if not line.strip():
            continue
        try:
            truth = msgspec.convert(_given(msgspec.json.decode(line)), Truth)
            _check(truth)
            _check_new(truth, lines, number)
            out.append(truth)
        except (msgspec.ValidationError, msgspec.DecodeError, ValueError) as error:
            problems.append(Problem(str(path), "truth", "", str(error), number))
    if not out and not problems:
        problems.append(Problem(str(path), "truth", "", _NO_LINE))
    if problems:
        raise SettingsError(problems)
    return out


def _given(line: object) -> object:
    """A line without the fields that are null, which is the same as leaving them out."""
    return {name: value for name, value in line.items() if value is not None} if isinstance(line, dict) else line


def _check(truth: Truth) -> None:
    """Raise ValueError where a line can be read and can't be meant."""
    if min(truth.over_us, Instant.parse(truth.end)) < truth.begin_us:
        raise ValueError(f"end = {truth.end}: must not be before begin, {truth.begin}")
    if not _DECIMAL.fullmatch(truth.value_at_risk):
        raise ValueError(f'value_at_risk = "{truth.value_at_risk}": must be a decimal number such as "1234.50"')


def _check_new(truth: Truth, lines: dict[str, int], number: int) -> None:
    """Raise ValueError where a breakdown is there already, and would count twice; a clean period never does."""
    first = lines.setdefault(truth.breakdown_id, number) if truth.kind != "none" else number
    if first != number:
        raise ValueError(f'breakdown_id = "{truth.breakdown_id}": is on line {first}, too; each breakdown is one line')


def judge(truths: Iterable[Truth], incidents: Sequence[Found], grace_us: int = GRACE_US) -> Report:
    """Hold incidents against the truth. Cost: breakdowns × incidents."""
    broken = [truth for truth in truths if truth.kind != "none"]
    clean = [truth for truth in truths if truth.kind == "none"]
    explained: set[str] = set()
    verdicts = []
    for truth in broken:
        hits = [found for found in incidents if _touches(truth, found, grace_us)]
        explained.update(found.incident_id for found in hits)
        verdicts.append(_verdict(truth, hits))
    false = [found for found in incidents if found.incident_id not in explained]
    in_clean = [found for found in false if any(one.begin_us <= found.found_us < one.over_us for one in clean)]
    return Report(verdicts=verdicts, false=false, false_in_clean=len(in_clean), clean_days=_covered_us(clean) / DAY_US)


def _covered_us(periods: Iterable[Truth]) -> int:
    """How long at least one of them goes on."""
    covered, reached_us = 0, BEGIN_OF_TIME_US
    for begin_us, over_us in sorted((one.begin_us, one.over_us) for one in periods):
        covered += max(0, over_us - max(begin_us, reached_us))
        reached_us = max(reached_us, over_us)
    return covered


def _touches(truth: Truth, found: Found, grace_us: int) -> bool:
    if not truth.begin_us <= found.found_us <= truth.over_us + grace_us:
        return False
    if found.kind == truth.kind or _same_scope(truth, found):
        return True
    wanted, named = _wanted(truth), _named(truth, found)
    shared = len(named & wanted)
    return shared > 0 and shared >= _TOUCHING * min(len(named), len(wanted))


def _wanted(truth: Truth) -> frozenset[str]:
    """The orders of a breakdown; of one that touches none, its other cases."""
    return frozenset(truth.orders or truth.cases)


def _named(truth: Truth, found: Found) -> frozenset[str]:
    """The orders, or cases, that an incident names."""
    return found.orders if truth.orders else found.cases


def _same_scope(truth: Truth, found: Found) -> bool:
    """Whether they agree in every dimension that both have, and have one."""
    values = truth.values()
    both = [name for name in values if name in found.scope]
    return bool(both) and all(found.scope[name] in values[name] for name in both)


def _verdict(truth: Truth, hits: list[Found]) -> Verdict:
    wanted = _wanted(truth)
    base = Verdict(
        breakdown_id=truth.breakdown_id,
        kind=truth.kind,
        found=bool(hits),
        orders=len(wanted),
        value_at_risk=float(truth.value_at_risk),
    )
    if not hits:
        return msgspec.structs.replace(base, recall=0.0 if wanted else None)
    best = max(
        hits,
        key=lambda found: (
            found.kind == truth.kind and _same_scope(truth, found),
            found.kind == truth.kind,
            len(_named(truth, found) & wanted),
            -found.found_us,
        ),
    )
    same = [found for found in hits if found.kind == truth.kind] or [best]
    named = frozenset[str]().union(*(_named(truth, found) for found in same))
    right = len(named & wanted)
    return msgspec.structs.replace(
        base,
        incident_id=best.incident_id,
        said_kind=best.kind,
        right_kind=best.kind == truth.kind,
        right_scope=_same_scope(truth, best),
        detection_s=(min(found.found_us for found in same) - truth.begin_us) / SECOND_US,
        named=len(named),
        recall=right / len(wanted) if wanted else None,
        precision=right / len(named) if wanted and named else None,
        incidents=len(hits),
        said_value=sum(found.value for found in same),
    )
