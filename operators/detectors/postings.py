"""Postings to the ERP: what fails, what is late, what never comes, and documents of an order that don't agree.

First parts, in case groups. What is awaited: the goods issue after the first dispatch, the invoice after the goods
issue (after the dispatch where nobody posts goods issues), the payment after the invoice. A posting that failed is not
missing: somebody tried.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from operators.detectors.ageing import Ageing, Waiting
from operators.detectors.case_memory import CaseDetector
from operators.detectors.events import Collected, Handler
from operators.detectors.order_book import OrderBook
from operators.detectors.records import Impact, ScopesOf, scoped
from operators.findings import next_version, signal_id
from schemas.durations import MINUTE_US
from schemas.events import Arrived, EventBase, OrderCancelled, PostingFailed, PostingRecorded, ShipmentDispatched
from schemas.rows import Signal

#: Ages (min) at which a missing posting is looked at. Later than that, the time of the day is what decides.
POSTING_AGES = tuple(minutes * MINUTE_US for minutes in (5, 10, 15, 20, 30, 45, 60, 90, 120, 180))
FAILED, LATE, ISSUES_SEEN = "failed_postings", "late_goods_issues", "goods_issues_seen"
_JSON = msgspec.json.Encoder()
#: What is invoiced is to be paid.
_PAID_FOR = ("invoice", "payment")


class Awaited(NamedTuple):
    """A posting that is awaited after another one, or after the dispatch where `after` is empty."""

    metric: str
    posting_type: str
    after: str


AWAITED = (
    Awaited("posting_wait_goods_issue", "goods_issue", ""),
    Awaited("posting_wait_invoice", "invoice", "goods_issue"),
    Awaited("posting_wait_invoice_of_dispatch", "invoice", ""),
    Awaited("posting_wait_payment", "payment", "invoice"),
)


class PostingWait(Ageing):
    """How long orders wait for one posting. Remembers for `remembered_us` which have it."""

    def __init__(self, awaited: Awaited, book: OrderBook, remembered_us: int) -> None:
        super().__init__(awaited.metric, POSTING_AGES, remembered_us)
        self._wanted, self._after, self._book = awaited.posting_type, awaited.after, book
        self._scope = scoped(posting_type=awaited.posting_type)

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        handlers: dict[type[EventBase], Handler] = {
            PostingRecorded: self._recorded,
            PostingFailed: self._failed,
            OrderCancelled: self._cancelled,
        }
        return handlers if self._after else handlers | {ShipmentDispatched: self._dispatched}

    def impact(self, key: str, work: Waiting) -> Impact:
        """The order."""
        del work
        return self._book.whole(key)

    def _dispatched(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, ShipmentDispatched)
        self.begin(event.order_id, arrived, self._scope, event.order_id, out)

    def _recorded(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, PostingRecorded)
        kind = event.posting_type
        if kind == self._wanted:
            self.end(event.reference, arrived, out)
        elif kind == self._after:
            self.begin(event.reference, arrived, self._scope, event.reference, out)
        elif kind == "goods_issue" and self._wanted == "invoice":
            out.good(ISSUES_SEEN, self._scope, arrived.arrival_us)

    def _failed(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, PostingFailed)
        if event.posting_type == self._wanted:
            self.end(event.reference, arrived, out)

    def _cancelled(self, arrived: Arrived, out: Collected) -> None:
        del out
        event = arrived.event
        assert isinstance(event, OrderCancelled)
        if event.line_id is None:
            self.drop(event.order_id)


class Documents(msgspec.Struct, array_like=True, gc=False):
    """What an order's postings said, by type: (parcels or postings, sum of the amounts, id of the last event).

    `currencies` are those of its invoices and payments.
    """

    parcels: int = 0
    dispatched_us: int = 0
    posted: dict[str, tuple[int, float, str]] = {}
    told: list[str] = []
    last_us: int = 0
    currencies: list[str] = []


class Postings(CaseDetector[Documents]):
    """Counts failed postings among all of their type, and holds an order's documents against each other.

    Metrics in (posting_type): `failed_postings` among recorded ones, tagged with interface and code (`failure_parts`);
    `late_goods_issues`, those that came `late_us` after the dispatch, among all of them.

    Memory: some 300 bytes for an order, dropped `retention_us` after its last dispatch or posting.
    """

    NAME = "postings"
    VERSION = 2

    def __init__(self, book: OrderBook, late_us: int, tolerance: float, retention_us: int) -> None:
        super().__init__(Documents, retention_us)
        self._book, self._late_us, self._tolerance = book, late_us, tolerance
        self._types = ScopesOf("posting_type")

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {
            ShipmentDispatched: self._dispatched,
            PostingRecorded: self._recorded,
            PostingFailed: self._failed,
        }

    def _dispatched(self, arrived: Arrived, out: Collected) -> None:
        del out
        event = arrived.event
        assert isinstance(event, ShipmentDispatched)
        documents = self._cases.heard(event.order_id, arrived.arrival_us)
        documents.parcels += 1
        documents.dispatched_us = documents.dispatched_us or arrived.occurred_us

    def _impact(self, event: PostingRecorded | PostingFailed, tag: str = "") -> Impact:
        order_id = event.order_id if isinstance(event, PostingRecorded) else None
        if self._book.get(event.reference) is not None or order_id == event.reference:
            return self._book.impact(event.reference, tag=tag)
        return Impact(order_id="", case_id=event.reference, tag=tag)

    def _failed(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, PostingFailed)
        scope = self._types[event.posting_type]
        impact = self._impact(event, failure_tag(event.interface, event.error_code))
        out.bad(FAILED, scope, arrived.arrival_us, arrived.occurred_us, event.event_id, impact=impact)

    def _recorded(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, PostingRecorded)
        kind, reference = event.posting_type, event.reference
        scope = self._types[kind]
        out.good(FAILED, scope, arrived.arrival_us)
        documents = self._cases.heard_again(reference, arrived.arrival_us)
        if documents is None:
            if self._book.get(reference) is None:
                return
            documents = self._cases.heard(reference, arrived.arrival_us)
        if kind == "goods_issue" and documents.dispatched_us and kind not in documents.posted:
            if arrived.occurred_us - documents.dispatched_us > self._late_us:
                impact, at_us = self._impact(event), documents.dispatched_us
                out.bad(LATE, scope, arrived.arrival_us, at_us, event.event_id, impact=impact)
            else:
                out.good(LATE, scope, arrived.arrival_us)
        self._compare(event, documents, arrived, out)

    def _compare(self, event: PostingRecorded, documents: Documents, arrived: Arrived, out: Collected) -> None:
        """Hold a posting against the order's earlier ones."""
        kind = event.posting_type
        count, sums, before = documents.posted.get(kind, (0, 0.0, ""))
        value = float(event.amount) if event.amount is not None else 0.0
        documents.posted[kind] = count + 1, sums + value, event.event_id
        if count >= max(1, documents.parcels) and value and abs(sums / count - value) < 0.005 and documents.parcels:
            said = f"{kind} posted {count + 1} times for {documents.parcels} parcels"
            self._tell("duplicate_posting", "one for each parcel", said, event, before, documents, arrived, out)
        if kind not in _PAID_FOR:
            return
        if event.currency is not None and event.currency not in documents.currencies:
            documents.currencies = [*documents.currencies, event.currency]
        invoices, invoiced, invoice_id = documents.posted.get("invoice", (0, 0.0, ""))
        payments, paid, payment_id = documents.posted.get("payment", (0, 0.0, ""))
        if invoices == payments and invoiced and paid and len(documents.currencies) < 2:
            other = invoice_id if kind == "payment" else payment_id
            if abs(invoiced - paid) > self._tolerance * max(abs(invoiced), abs(paid)):
                said = f"{invoiced:.2f} invoiced, {paid:.2f} paid"
                self._tell(
                    "amount_mismatch", "as much is paid as invoiced", said, event, other, documents, arrived, out
                )

    def _tell(
        self,
        kind: str,
        expected: str,
        said: str,
        event: PostingRecorded,
        other: str,
        documents: Documents,
        arrived: Arrived,
        out: Collected,
    ) -> None:
        """Say it once of an order."""
        if kind in documents.told:
            return
        documents.told = [*documents.told, kind]
        scope = {"posting_type": event.posting_type} | ({"node": event.node} if event.node else {})
        signal = Signal(
            signal_id=signal_id(self.NAME, kind, event.reference),
            detector=self.NAME,
            kind=kind,
            handoff="settlement" if kind == "amount_mismatch" else "",
            scope=scope,
            case_id=event.reference,
            opened_at_us=arrived.occurred_us,
            found_at_us=arrived.arrival_us,
            closed_at_us=None,
            severity="medium",
            score=0.5,
            confidence=0.9,
            expected=expected,
            observed=said,
            method="rule",
            explanation=f"Order {event.reference}: {said}.",
            evidence=[one for one in (other, event.event_id) if one],
            arrival_us=arrived.arrival_us,
            version=next_version(0, arrived.arrival_us),
        )
        out.signal(signal)


def failure_tag(interface: str, error_code: str) -> str:
    """What failed, as the tag of an impact; names may have any character in them."""
    return _JSON.encode((interface, error_code)).decode()


def failure_parts(tag: str) -> tuple[str, str]:
    """Interface and error code of a `failure_tag`."""
    return msgspec.json.decode(tag, type=tuple[str, str])
