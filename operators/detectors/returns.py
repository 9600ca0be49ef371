"""Returns and refunds: a surge of one item's returns, refunds that don't come, and refunds without a receipt."""

from collections.abc import Iterable, Mapping

import msgspec

from operators.detectors.case_memory import CaseDetector
from operators.detectors.events import Collected, Handler
from operators.detectors.order_facts import amount
from operators.detectors.pending import WaitRule, Waits, impacts_of, take
from operators.detectors.policy import Policy
from operators.detectors.rates import RateRule, RateWatch, Seen
from operators.detectors.records import Impact, Scoped, ScopeFinding, ScopesOf, scoped
from operators.detectors.scopes import Cell, ScopeDetector
from operators.findings import confidence_of, next_version, signal_id
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, Duration, people_duration
from schemas.events import (
    Arrived,
    EventBase,
    OrderCreated,
    PostingRecorded,
    ReturnAuthorized,
    ReturnReceived,
    ReturnRestocked,
)
from schemas.rows import Signal

REFUNDS: Scoped = scoped(posting_type="refund")
#: How long a return can lie between its receipt and its restocking.
_UNSEEN_US = 2 * DAY_US
_EVIDENCE = 20
#: Of how many items of a return it is known how much came back of each; more count as nothing.
_MOST_ITEMS = 1_000
#: Begins the key of a timer: whether the receipt of a refund has come meanwhile.
_RECEIPT = "refund "


class ReturnsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Thresholds for returns. A refund is held to be without a receipt when none came within `receipt_grace` of it.

    `retention` is how long a return is remembered after its last event.
    """

    surge: RateRule = RateRule(
        window=Duration(6 * HOUR_US),
        least=8,
        share=0.3,
        times=4,
        score=6,
        usual=0.06,
        quiet=Duration(2 * HOUR_US),
        memory=Duration(7 * DAY_US),
    )
    refund_lag: WaitRule = WaitRule()
    without_receipt: RateRule = RateRule(
        window=Duration(3 * HOUR_US), least=3, share=0.2, times=4, score=3, usual=0.01, quiet=Duration(HOUR_US)
    )
    receipt_grace: Duration = Duration(15 * MINUTE_US)
    retention: Duration = Duration(21 * DAY_US)


class _Return(msgspec.Struct, array_like=True, gc=False):
    """A return: its order, what hangs on it, and what has happened (event times).

    `items` are units and worth as last said of each item ("": of none by name). `refunded` is what was paid back.
    `counted` says that more was heard of it than its refund.
    """

    order_id: str = ""
    refunded: float = 0.0
    units: float = 0.0
    currency: str = ""
    counted: bool = False
    received_us: int | None = None
    refund_us: int | None = None
    refund_id: str = ""
    last_us: int = 0
    items: dict[str, tuple[float, float]] = {}

    def say(self, sku: str, qty: float | None, worth: float | None) -> bool:
        """So much of an item comes back; returns whether that it does is new. What is not said stays as it was."""
        before = self.items.get(sku)
        if before is None and len(self.items) >= _MOST_ITEMS:
            return False
        units, amount_before = before or (0.0, 0.0)
        self.items[sku] = units if qty is None else qty, worth or amount_before
        named = [units for name, (units, _) in self.items.items() if name]
        self.units = sum(named) or self.items.get("", (0.0, 0.0))[0]
        return before is None

    @property
    def worth(self) -> float:
        """What was paid back; before that, what its items are worth, or it was said to be worth as a whole."""
        if self.refunded:
            return self.refunded
        named = sum([worth for name, (_, worth) in self.items.items() if name])
        return named or self.items.get("", (0.0, 0.0))[1]


class Returns(CaseDetector[_Return]):
    """Follows each return from its first event to its refund.

    Counts, beside the returns and what is sold by sku: `return_received`, of which a refund has not come yet,
    `return_restocked` (the same, of those of which the restocking is the first that was ever heard), `return_refunded`
    and `refund_unreceived`. A return of several items comes in several events under one id, and counts for each item
    once, when the item is first named.

    Memory: some 300 bytes a return and 30 an item of it, dropped `retention` after its last event.
    """

    NAME = "returns"
    VERSION = 2
    CASES = "returns"

    def __init__(self, settings: ReturnsSettings) -> None:
        super().__init__(_Return, settings.retention)
        self._settings = settings
        self._skus = ScopesOf("sku")

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {
            OrderCreated: self._ordered,
            ReturnAuthorized: self._authorized,
            ReturnReceived: self._received,
            ReturnRestocked: self._received,
            PostingRecorded: self._posted,
        }

    def _ordered(self, arrived: Arrived, out: Collected) -> None:
        """What is sold is what returns are held against."""
        event = arrived.event
        assert isinstance(event, OrderCreated)
        for line in event.lines:
            out.good("returns", self._skus[line.sku], arrived.arrival_us)

    def _authorized(self, arrived: Arrived, out: Collected) -> None:
        self._seen(arrived, out)

    def _seen(self, arrived: Arrived, out: Collected) -> _Return:
        event = arrived.event
        assert isinstance(event, ReturnAuthorized | ReturnReceived | ReturnRestocked)
        known = self._cases.heard(event.return_id, arrived.arrival_us)
        known.order_id, known.counted = event.order_id, True
        known.currency = event.currency or known.currency
        sku = event.sku or ""
        if known.say(sku, event.qty, amount(event.amount)) and sku:
            units, worth = known.items[sku]
            whole = self._impact(event.return_id, known)
            impact = msgspec.structs.replace(whole, units=units, value=worth, refund=worth)
            scope = self._skus[sku]
            out.bad("returns", scope, arrived.arrival_us, arrived.occurred_us, event.event_id, impact=impact)
        return known

    def _received(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, ReturnReceived | ReturnRestocked)
        is_first = self._cases.get(event.return_id) is None
        known = self._seen(arrived, out)
        if known.received_us is not None:
            return
        known.received_us = arrived.occurred_us
        impact = self._impact(event.return_id, known)
        if known.refund_us is None:
            metric = "return_restocked" if is_first and isinstance(event, ReturnRestocked) else "return_received"
            out.bad(metric, REFUNDS, arrived.arrival_us, arrived.occurred_us, event.event_id, impact=impact)

    def _posted(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, PostingRecorded)
        if event.posting_type != "refund":
            return
        known = self._cases.get(event.reference)
        if known is None:
            known = self._cases.heard(event.reference, arrived.arrival_us)
            known.order_id = event.order_id or ""
        if known.refund_us is not None:
            return
        known.refund_us, known.refund_id = arrived.occurred_us, event.event_id
        known.refunded = amount(event.amount) or known.refunded
        known.currency = event.currency or known.currency
        impact = self._impact(event.reference, known)
        if known.received_us is not None:
            out.bad("return_refunded", REFUNDS, arrived.arrival_us, arrived.occurred_us, event.event_id, impact=impact)
            out.good("refund_unreceived", REFUNDS, arrived.arrival_us)
        else:
            self.set_timer(arrived.arrival_us + self._settings.receipt_grace, _RECEIPT + event.reference)

    def due(self, key: str, due_us: int, out: Collected) -> None:
        """As `EventDetector`: whether a refund's receipt has come meanwhile; or a return to be forgotten."""
        if self._cases.due(key, due_us):
            return
        return_id = key.removeprefix(_RECEIPT)
        known = self._cases.get(return_id)
        if known is None:
            return
        if known.received_us is not None:
            out.good("refund_unreceived", REFUNDS, due_us)
        elif known.counted and known.refund_us is not None:  # of a return whose beginning was not seen nothing is said
            impact = self._impact(return_id, known)
            out.signal(self._unreceived(return_id, known, due_us))
            out.bad("refund_unreceived", REFUNDS, due_us, known.refund_us, known.refund_id, impact=impact)

    def _impact(self, return_id: str, known: _Return) -> Impact:
        return Impact(
            order_id=known.order_id,
            case_id=return_id,
            units=known.units,
            value=known.worth,
            refund=known.worth,
            currency=known.currency,
        )

    def _unreceived(self, return_id: str, known: _Return, due_us: int) -> Signal:
        assert known.refund_us is not None
        return Signal(
            signal_id=signal_id(self.NAME, "refund_unreceived", return_id),
            detector=self.NAME,
            kind="refund_unreceived",
            handoff="refund",
            scope=dict(REFUNDS),
            case_id=return_id,
            opened_at_us=known.refund_us,
            found_at_us=due_us,
            closed_at_us=None,
            severity="medium",
            score=0.5,
            confidence=1.0,
            expected="the goods before the money",
            observed="a refund, and no receipt",
            method="rule",
            explanation=f"Return {return_id} was refunded, and nothing has been received for it.",
            evidence=[known.refund_id],
            arrival_us=due_us,
            version=next_version(0, due_us),
        )


class _LagState(msgspec.Struct, array_like=True):
    waits: Waits = msgspec.field(default_factory=Waits)
    opened_us: int = 0
    found_us: int = 0
    calm_from: int = 0
    score: float = 0.0
    named: int = 0
    evidence: list[str] = []
    first_us: int = 0


class RefundLag(ScopeDetector):
    """Refunds that take longer than they use to: several returns came back, and their money does not go out.

    A return that is first heard of when it is restocked was received, and maybe refunded, before the log began: in a
    scope's first `_UNSEEN_US` none of these is waited for.

    Memory: one record for each return that came back and is not refunded, given up after `give_up`.
    Cost: O(those) per minute.
    """

    NAME = "refund_lag"
    METRICS = ("return_received", "return_restocked", "return_refunded")
    State = _LagState

    def __init__(self, policy: Policy[WaitRule], give_up_us: int) -> None:
        self._policy, self._give_up_us = policy, give_up_us

    def judge(self, scope: Scoped, state: _LagState, cells: Mapping[str, Cell], end_us: int) -> Iterable[ScopeFinding]:
        """As `ScopeDetector`."""
        rule = self._policy.of(scope)
        state.first_us = state.first_us or end_us
        take(state.waits, cells, "return_received", "return_refunded")
        if end_us - state.first_us >= _UNSEEN_US:
            take(state.waits, cells, "return_restocked", "")
        state.waits.forget(end_us - self._give_up_us)
        fresh = state.waits.newly_late(end_us, rule)
        late, counted, score = state.waits.surprise(end_us, rule)
        if not state.opened_us:
            if late < rule.least or late < rule.share * counted or score < rule.score:
                return
            held = [
                (key, *state.waits.pending[key][1:])
                for key in sorted(state.waits.late, key=lambda key: (state.waits.pending[key][0], key))
            ]
            state.opened_us = min(state.waits.pending[key][0] for key in state.waits.late)
            state.found_us, state.calm_from = end_us, 0
            state.evidence = [event_id for _, _, event_id in held][:_EVIDENCE]
            state.named, state.score = len(held), score
            yield self._finding(scope, state, end_us, impacts_of(held), rule)
            return
        state.score = max(state.score, score)
        if fresh:
            state.named += len(fresh)
            yield self._finding(scope, state, end_us, impacts_of(fresh), rule)
        if state.waits.late:
            state.calm_from = 0
        elif not state.calm_from:
            state.calm_from = end_us
        elif end_us - state.calm_from >= rule.quiet:
            yield self._finding(scope, state, end_us, [], rule, closed=True)
            state.opened_us = state.found_us = state.calm_from = state.named = 0
            state.score, state.evidence, state.waits.judged = 0.0, [], []

    def idle(self, state: _LagState) -> bool:
        """Nobody waits, and nothing is open."""
        return not state.waits.pending and not state.opened_us

    def _finding(
        self,
        scope: Scoped,
        state: _LagState,
        end_us: int,
        new: list[Impact],
        rule: WaitRule,
        *,
        closed: bool = False,
    ) -> ScopeFinding:
        limit = people_duration(state.waits.limit_us(rule, end_us))
        waiting = len(state.waits.late)
        if closed:
            said = f"Refunds have caught up: of {state.named} that were late none is waiting any more."
        else:
            said = f"{waiting} returns came back more than {limit} ago and are not refunded ({state.named} so far)."
        return ScopeFinding(
            Signal(
                signal_id=signal_id(self.NAME, "refund_lag", repr(scope), str(state.found_us)),
                detector=self.NAME,
                kind="refund_lag",
                handoff="refund",
                scope=dict(scope),
                case_id="",
                opened_at_us=state.opened_us,
                found_at_us=state.found_us,
                closed_at_us=end_us if closed else None,
                severity="high",
                score=round(state.score, 3),
                confidence=confidence_of(state.score),
                expected=f"a refund within {limit} of the receipt",
                observed=f"{waiting} waiting longer",
                method="rule",
                explanation=said,
                evidence=state.evidence,
                arrival_us=end_us,
                version=next_version(0, end_us),
            ),
            new,
        )


def _surge_words(seen: Seen) -> tuple[str, str, str]:
    usual = f"one return for {1 / max(seen.usual, 1e-6) - 1:.0f} sold"
    said = f"{seen.all_bad:g} returns of {seen.where}, {usual} is usual"
    observed = f"{seen.bad:g} returns for {seen.total - seen.bad:g} sold within {seen.within}"
    return usual, observed, f"{said}{'; over now' if seen.closed else f': {observed}'}."


def _unreceived_words(seen: Seen) -> tuple[str, str, str]:
    said = f"{seen.all_bad:g} refunds without goods received"
    more = "over now" if seen.closed else f"{seen.share:.0%} of the refunds within {seen.within}"
    return f"at most {seen.usual:.1%}", f"{seen.share:.0%}", f"{said}; {more}."


def return_judges(
    lag: Policy[WaitRule], surge: Policy[RateRule], unreceived: Policy[RateRule], settings: ReturnsSettings
) -> list[ScopeDetector]:
    """The second parts."""
    return [
        RefundLag(lag, settings.retention),
        RateWatch("return_surge", "return_surge", "returns", surge, _surge_words, severity="medium"),
        RateWatch(
            "refund_without_receipt",
            "refund_without_receipt",
            "refund_unreceived",
            unreceived,
            _unreceived_words,
            handoff="refund",
        ),
    ]
