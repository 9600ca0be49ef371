"""Hypothesis strategies for logs: small retailers whose messages are late, repeated, out of order, or broken."""

import msgspec
from hypothesis import strategies as st

from schemas.durations import SECOND_US, rfc3339
from tests.harness import START_US

_TYPES = (
    "order.created",
    "order.approved",
    "order.allocated",
    "order.cancelled",
    "order.promise_changed",
    "shipment.delivered",
    "task.queued",
    "task.completed",
    "task.rejected",
    "inventory.level",
    "inventory.adjusted",
    "reservation.created",
    "reservation.released",
)
_TOPICS = {
    "order": "orders",
    "shipment": "fulfillment",
    "task": "fulfillment",
    "inventory": "inventory",
    "reservation": "reservations",
}


class Fact(msgspec.Struct, frozen=True):
    """What happened, and when it was recorded, in seconds after the log's start."""

    number: int
    type: str
    case: int
    occurred_s: int
    delay_s: int
    twice: bool
    value: int

    def message(self) -> dict[str, object]:
        kind = self.type.partition(".")[0]
        body: dict[str, object] = {
            "type": self.type,
            "event_id": f"e{self.number}",
            "source": "wms-1" if self.value % 2 else "erp-1",
            "system": "wms" if self.value % 2 else "erp",
            "occurred_at": rfc3339(START_US + self.occurred_s * SECOND_US),
            "recorded_at": rfc3339(START_US + (self.occurred_s + self.delay_s) * SECOND_US),
            "channel": f"c{self.case % 2}",
        }
        node = f"n{self.value % 3}"
        if kind in ("order", "shipment", "task", "reservation"):
            body["order_id"] = f"o{self.case}"
        if self.type == "order.created":
            body["lines"] = []
        if self.type in ("order.created", "order.promise_changed"):
            body["promised_at"] = rfc3339(START_US + (self.occurred_s + 60 * self.value) * SECOND_US)
        if self.type == "order.allocated":
            body["node"] = node
        if kind == "shipment":
            body["shipment_id"] = f"s{self.case}"
        if kind == "task":
            body |= {"task_id": f"t{self.case}-{self.value % 2}", "task_type": "pick", "node": node}
        if kind in ("inventory", "reservation"):
            body |= {"sku": f"k{self.case % 3}", "node": f"n{self.case % 2}"}
        if self.type == "inventory.level":
            body |= (
                {"on_hand": self.value, "unit_cost": f"{1 + self.value}.50"}
                if self.value % 3
                else {"on_hand": self.value, "reserved": 1}
            )
        if self.type == "inventory.adjusted":
            body |= {"delta": self.value - 4, "reason": "count"}
        if kind == "reservation":
            body |= {"reservation_id": f"r{self.case}", "qty": self.value}
        return body

    @property
    def topic(self) -> str:
        return _TOPICS[self.type.partition(".")[0]] + ".jsonl"

    @property
    def raw(self) -> bytes:
        return msgspec.json.encode(self.message())


@st.composite
def facts(draw: st.DrawFn, *, max_size: int = 60, max_delay_s: int = 900, span_s: int = 3_600) -> list[Fact]:
    """Facts of an hour; most arrive at once, some much later."""
    drawn = draw(
        st.lists(
            st.tuples(
                st.sampled_from(_TYPES),
                st.integers(0, 4),
                st.integers(0, span_s),
                st.one_of(st.just(0), st.integers(0, 10), st.integers(0, max_delay_s)),
                st.booleans(),
                st.integers(0, 9),
            ),
            max_size=max_size,
        )
    )
    return [Fact(number, *rest) for number, rest in enumerate(drawn)]


def log_of(facts: list[Fact], *, files: int = 1, broken: bool = False) -> dict[str, list[bytes]]:
    """Partitions as a log would hold them: sorted by recording, repeats right behind, by topic (and `files` each)."""
    out: dict[str, list[bytes]] = {}
    ordered = sorted(facts, key=lambda fact: (fact.occurred_s + fact.delay_s, fact.number))
    for fact in ordered:
        name = fact.topic if files == 1 else f"{fact.number % files}-{fact.topic}"
        messages = out.setdefault(name, [])
        messages.append(fact.raw)
        if fact.twice:
            messages.append(fact.raw)
        if broken and fact.value == 0:
            messages.append(fact.raw[:-3])
    return out
