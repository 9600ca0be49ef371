"""Settlement: an interface to the ERP that is down, and postings that are missing without a word. Second parts."""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from operators.detectors.age_watch import AgeRule, AgeState, AgeWatch
from operators.detectors.events import EventDetector
from operators.detectors.order_book import OrderBook
from operators.detectors.policy import Policy
from operators.detectors.postings import (
    AWAITED,
    FAILED,
    ISSUES_SEEN,
    LATE,
    POSTING_AGES,
    Awaited,
    Postings,
    PostingWait,
    failure_parts,
)
from operators.detectors.rates import RateRule, RateState, RateWatch, Seen
from operators.detectors.records import Impact, Scoped, ScopeFinding
from operators.detectors.scopes import Cell, ScopeDetector
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, Duration, people_duration

_HANDOFFS = {"goods_issue": "goods_issue_posting", "invoice": "invoice_posting", "payment": "settlement"}
_HANDOFFS |= {"goods_receipt": "receipt_posting", "refund": "refund"}
#: Which share of the failures an interface or a code must have to be what is named.
_MOSTLY = 0.6


class SettlementSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Thresholds for postings.

    A goods issue is late `late_after` after its dispatch; an order that is, while postings of the type fail, is touched
    by that. Amounts may differ by `tolerance` (a share). An order's documents are remembered for `retention` after the
    last of them, and which orders have a posting for `remembered`.
    """

    failures: RateRule = RateRule(
        least=6, share=0.2, times=5, score=6, usual=0.01, quiet=Duration(20 * MINUTE_US), memory=Duration(3 * DAY_US)
    )
    missing: AgeRule = AgeRule(
        window=Duration(2 * HOUR_US),
        least=8,
        share=0.15,
        times=4,
        score=6,
        quiet=Duration(HOUR_US),
        most_usual=0.02,
        named_usual=0.02,
        early=20.0,  # postings are made in batches: what is late together may have missed one
    )
    late_after: Duration = Duration(10 * MINUTE_US)
    tolerance: float = 0.01
    retention: Duration = Duration(2 * DAY_US)
    remembered: Duration = Duration(12 * HOUR_US)


class FailureState(RateState, array_like=True):
    """And what fails (interface, code), and how usual late goods issues are."""

    interface: str = ""
    error_code: str = ""
    usual_late: float = 0.0
    usual_posted: float = 0.0


class FailureWatch(RateWatch):
    """Too many postings of a type fail; names the interface and the error code that most of them have.

    Touched are the orders whose postings failed that way, and while it lasts those that come late where that is not
    usual. Each failed attempt counts.
    """

    State = FailureState

    def __init__(self, policy: Policy[RateRule]) -> None:
        super().__init__("posting_failures", "posting_interface_down", FAILED, policy, _failure_words)
        self.METRICS = (FAILED, LATE)

    def judge(  # type: ignore[override] # of its own state
        self,
        scope: Scoped,
        state: FailureState,
        cells: Mapping[str, Cell],
        end_us: int,
        *,
        barred: bool = False,
    ) -> Iterable[ScopeFinding]:
        """As `ScopeDetector`."""
        failed, late = cells.get(FAILED), cells.get(LATE)
        if late is not None and not state.opened_us:
            state.usual_late += late.bad
            state.usual_posted += late.total
        given: dict[str, Cell] = {}
        if failed is not None or (late is not None and state.opened_us):
            failed = failed or Cell(members=[])
            more = late.members if late is not None and self._tells(state) else []
            given[FAILED] = msgspec.structs.replace(failed, members=[*failed.members, *more])
        self._handoff = _HANDOFFS.get(dict(scope).get("posting_type", ""), "")
        for finding in super().judge(scope, state, given, end_us, barred=barred):
            if not state.interface:
                self._blame(state)
            yield self._said(finding, state)
        if not state.opened_us:
            state.interface = state.error_code = ""

    @staticmethod
    def _tells(state: FailureState) -> bool:
        """Whether a late goods issue is unusual enough to be laid at the failures' door."""
        return bool(state.opened_us) and (state.usual_late + 0.5) / (state.usual_posted + 25.0) <= 0.05

    def _blame(self, state: FailureState) -> None:
        """What most failures have in common."""
        parts = [failure_parts(impact.tag) for *_, impact in state.recent if impact is not None and impact.tag]
        for index, name in enumerate(("interface", "error_code")):
            counted = Counter(part[index] for part in parts)
            value, count = max(counted.items(), key=lambda one: (one[1], one[0]), default=("", 0))
            setattr(state, name, value if count >= _MOSTLY * len(parts) else "")

    def _new(self, state: RateState, members: Iterable[tuple[int, int, str, Impact | None]]) -> list[Impact]:
        """As `RateWatch`: those that failed for the reason that most fail for."""
        assert isinstance(state, FailureState)
        if not state.interface and not state.error_code:
            self._blame(state)
        new = super()._new(state, [one for one in members if self._is_meant(state, one[3])])
        return [msgspec.structs.replace(impact, tag="") if impact.tag else impact for impact in new]

    @staticmethod
    def _is_meant(state: FailureState, impact: Impact | None) -> bool:
        if impact is None or not impact.tag:
            return True
        interface, error_code = failure_parts(impact.tag)
        return state.interface in ("", interface) and state.error_code in ("", error_code)

    @staticmethod
    def _said(finding: ScopeFinding, state: FailureState) -> ScopeFinding:
        """With the interface and the code in its scope."""
        signal = finding.signal
        more = {name: value for name in ("interface", "error_code") if (value := getattr(state, name))}
        by = " ".join(
            [f"on {state.interface}"] * bool(state.interface) + [f"({state.error_code})"] * bool(state.error_code)
        )
        words = signal.explanation.replace("@", by or "on several interfaces")
        said = msgspec.structs.replace(signal, scope=signal.scope | more, explanation=words)
        return msgspec.structs.replace(finding, signal=said)


def _failure_words(seen: Seen) -> tuple[str, str, str]:
    kind = dict(seen.scope)["posting_type"].replace("_", " ")
    expected, observed = f"{seen.usual:.1%} of postings fail", f"{seen.bad:.0f} of {seen.total:.0f} failed"
    if seen.closed:
        return expected, observed, f"Postings of {kind} @ go through again; {seen.cases} cases waited."
    return expected, observed, f"Postings of {kind} @ fail: {observed} in {seen.within}, {seen.usual:.1%} is usual."


class MissingState(AgeState, array_like=True):
    """And how many goods issues were seen."""

    issues: float = 0.0


class MissingWatch(AgeWatch):
    """Postings of a type don't come, and nobody tried."""

    State = MissingState

    def __init__(self, awaited: Awaited, policy: Policy[AgeRule]) -> None:
        name = awaited.metric.replace("posting_wait_", "missing_")
        handoff = _HANDOFFS[awaited.posting_type]
        super().__init__(name, "posting_missing", awaited.metric, POSTING_AGES, policy, _missing_words, handoff=handoff)
        self._of_dispatch = awaited.posting_type == "invoice" and not awaited.after
        if self._of_dispatch:
            self.METRICS = (*self.METRICS, ISSUES_SEEN)

    def barred(self, scope: Scoped, state: AgeState, cells: Mapping[str, Cell], number: int, rule: AgeRule) -> bool:
        """As `AgeWatch`: where goods issues are posted, invoices are awaited after those."""
        del scope, number, rule
        assert isinstance(state, MissingState)
        seen = cells.get(ISSUES_SEEN)
        state.issues += seen.total if seen is not None else 0.0
        return self._of_dispatch and state.issues > 0


def _missing_words(seen: Seen) -> tuple[str, str, str]:
    kind, age = dict(seen.scope)["posting_type"].replace("_", " "), people_duration(seen.window_us)
    expected = f"{seen.usual:.1%} of orders without {kind} after {age}"
    if seen.closed:
        return expected, "as usual", f"Postings of {kind} come again; {seen.cases} orders went without for long."
    observed = f"{seen.bad:.0f} of {seen.total:.0f}"
    sentence = f"Postings of {kind} are missing without an error: {observed} orders have none after {age}."
    return expected, observed, sentence


def settlement_parts(settings: SettlementSettings, book: OrderBook) -> list[EventDetector]:
    """The first parts."""
    waits = [PostingWait(awaited, book, settings.remembered) for awaited in AWAITED]
    return [Postings(book, settings.late_after, settings.tolerance, settings.retention), *waits]


def settlement_judges(failures: Policy[RateRule], missing: Policy[AgeRule]) -> list[ScopeDetector]:
    """The second parts."""
    return [FailureWatch(failures), *(MissingWatch(awaited, missing) for awaited in AWAITED)]
