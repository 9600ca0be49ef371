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
#: Within this time come the parts of what is paid, or invoiced, at once.
_TOGETHER_US = 15 * MINUTE_US
#: Begins the key of a timer: whether invoices and payments still disagree.
_AGREE = "agree "
#: So many parcels of an order are told apart by their ids; of more, each that is told of counts.
_MOST_SHIPMENTS = 64
_NONE = (0, 0.0, "")
_REPEATED = "duplicate_posting"


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
        if self._book.ends(event):
            self.drop(event.order_id)


class Apart(msgspec.Struct, array_like=True, gc=False):
    """An order's invoices and payments come to different sums: since when (arrival, event time), by which posting.

    `said` is what was told of that at `found_us`, empty while nothing was.
    """

    since_us: int
    at_us: int
    posting_type: str
    node: str
    said: str = ""
    found_us: int = 0
    evidence: list[str] = []


class Documents(msgspec.Struct, array_like=True, gc=False):
    """What an order's postings said, by type: (parcels or postings, sum of the amounts, id of the last event).

    `currencies` are those of its invoices and payments. `shipments` are the parcels that are told apart, by id; `apart`
    is set while as many payments as invoices come to something else.
    """

    parcels: int = 0
    dispatched_us: int = 0
    posted: dict[str, tuple[int, float, str]] = {}
    told: list[str] = []
    last_us: int = 0
    currencies: list[str] = []
    shipments: dict[str, None] = {}
    apart: Apart | None = None


class Postings(CaseDetector[Documents]):
    """Counts failed postings among all of their type, and holds an order's documents against each other.

    Metrics in (posting_type): `failed_postings` among recorded ones, tagged with interface and code (`failure_parts`);
    `late_goods_issues`, those that came `late_us` after the dispatch, among all of them.

    Invoices and payments of an order may come in parts, one right after the other: whether they agree is asked
    `_TOGETHER_US` after they ceased to, and a finding is over when they do. A reversal does not say which posting it
    takes back, so what was posted before it is held against nothing any more.

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
        if event.shipment_id not in documents.shipments:
            documents.parcels += 1
            if len(documents.shipments) < _MOST_SHIPMENTS:
                documents.shipments[event.shipment_id] = None
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
        if kind == "reversal":
            documents.posted = dict.fromkeys(documents.posted, _NONE)
            self._agree(event.reference, documents, arrived.arrival_us, out)
            return
        count, sums, before = documents.posted.get(kind, _NONE)
        value = float(event.amount) if event.amount is not None else 0.0
        documents.posted[kind] = count + 1, sums + value, event.event_id
        if count >= max(1, documents.parcels) and value and abs(sums / count - value) < 0.005 and documents.parcels:
            self._tell_repeated(event, count + 1, before, documents, arrived, out)
        if kind not in _PAID_FOR:
            return
        if event.currency is not None and event.currency not in documents.currencies:
            documents.currencies = [*documents.currencies, event.currency]
        differ = self._differ(documents)
        if differ and documents.apart is None:
            documents.apart = Apart(arrived.arrival_us, arrived.occurred_us, kind, event.node or "")
            self.set_timer(arrived.arrival_us + _TOGETHER_US, _AGREE + event.reference)
        elif differ is False:
            self._agree(event.reference, documents, arrived.arrival_us, out)

    @staticmethod
    def _tell_repeated(
        event: PostingRecorded, count: int, before: str, documents: Documents, arrived: Arrived, out: Collected
    ) -> None:
        """Say it once of an order."""
        if _REPEATED in documents.told:
            return
        documents.told = [*documents.told, _REPEATED]
        said = f"{event.posting_type} posted {count} times for {documents.parcels} parcels"
        place = (event.posting_type, event.node or "", arrived.occurred_us, arrived.arrival_us)
        evidence = [one for one in (before, event.event_id) if one]
        out.signal(_signal(_REPEATED, event.reference, place, ("one for each parcel", said), evidence))

    def _differ(self, documents: Documents) -> bool | None:
        """Whether as many payments as invoices come to another sum; None where that can't be said.

        Sums that agree do so in however many parts.
        """
        invoices, invoiced, _ = documents.posted.get("invoice", _NONE)
        payments, paid, _ = documents.posted.get("payment", _NONE)
        if not invoiced or not paid or len(documents.currencies) > 1:
            return None
        if abs(invoiced - paid) <= self._tolerance * max(abs(invoiced), abs(paid)):
            return False
        return True if invoices == payments else None

    def due(self, key: str, due_us: int, out: Collected) -> None:
        """As `EventDetector`: whether what an order's documents say has come to agree; or it can be forgotten."""
        if not key.startswith(_AGREE):
            super().due(key, due_us, out)
            return
        case_id = key.removeprefix(_AGREE)
        documents = self._cases.get(case_id)
        apart = documents.apart if documents is not None else None
        if documents is None or apart is None or apart.said or due_us < apart.since_us + _TOGETHER_US:
            return
        if not self._differ(documents):
            documents.apart = None
            return
        (_, invoiced, invoice_id), (_, paid, payment_id) = documents.posted["invoice"], documents.posted["payment"]
        apart.said, apart.found_us = f"{invoiced:.2f} invoiced, {paid:.2f} paid", due_us
        apart.evidence = [invoice_id, payment_id]
        out.signal(_mismatch(case_id, apart, due_us))

    @staticmethod
    def _agree(case_id: str, documents: Documents, now_us: int, out: Collected) -> None:
        """Invoices and payments come to the same, or nobody can tell any more: what was said of them is over."""
        if documents.apart is not None and documents.apart.said:
            out.signal(_mismatch(case_id, documents.apart, now_us, closed=True))
        documents.apart = None


def _mismatch(case_id: str, apart: Apart, now_us: int, *, closed: bool = False) -> Signal:
    place = (apart.posting_type, apart.node, apart.at_us, apart.found_us)
    signal = _signal("amount_mismatch", case_id, place, ("as much is paid as invoiced", apart.said), apart.evidence)
    if not closed:
        return signal
    return msgspec.structs.replace(
        signal,
        closed_at_us=now_us,
        explanation=f"Order {case_id}: {apart.said}; settled by now.",
        arrival_us=now_us,
        version=next_version(signal.version, now_us),
    )


def _signal(
    kind: str, case_id: str, place: tuple[str, str, int, int], words: tuple[str, str], evidence: list[str]
) -> Signal:
    """A finding about an order; `place` is the type of posting, the node, since when and when it was found."""
    posting_type, node, opened_us, found_us = place
    expected, said = words
    return Signal(
        signal_id=signal_id(Postings.NAME, kind, case_id),
        detector=Postings.NAME,
        kind=kind,
        handoff="settlement" if kind == "amount_mismatch" else "",
        scope={"posting_type": posting_type} | ({"node": node} if node else {}),
        case_id=case_id,
        opened_at_us=opened_us,
        found_at_us=found_us,
        closed_at_us=None,
        severity="medium",
        score=0.5,
        confidence=0.9,
        expected=expected,
        observed=said,
        method="rule",
        explanation=f"Order {case_id}: {said}.",
        evidence=evidence,
        arrival_us=found_us,
        version=next_version(0, found_us),
    )


def failure_tag(interface: str, error_code: str) -> str:
    """What failed, as the tag of an impact; names may have any character in them."""
    return _JSON.encode((interface, error_code)).decode()


def failure_parts(tag: str) -> tuple[str, str]:
    """Interface and error code of a `failure_tag`."""
    return msgspec.json.decode(tag, type=tuple[str, str])
