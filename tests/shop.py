"""A small shop that uses all that a process map and a stock event can say, and hypothesis logs of it.

What `tests/logs.py` leaves out: lines and their cancellation, ids with slashes in them, shipments with own times,
optional starts, requirements, tasks that are given up, reservations that expire, clocks that are ahead.
"""

import random
from collections.abc import Sequence
from functools import cache

import msgspec
from hypothesis import strategies as st

from operators.anomaly.settings import ModelSettings
from operators.pipeline import PipelineSettings
from operators.process_lint import read_process_map
from operators.process_map import ProcessMap
from operators.windows import WindowSettings
from schemas.durations import MINUTE_US, SECOND_US, rfc3339
from tests.harness import START_US
from tests.harness import settings as small_settings

MAP = """
name = "shop"
[case.order_id]
begins_with = [{type = "order.created"}]
cancelled_by = [{type = "order.cancelled"}]
retention = "7d"
[[handoff]]
name = "approval"
case = "order_id"
start = {type = "order.created"}
end = {type = "order.approved"}
deadline = "3m"
target = "1m"
scope = "channel"
sequence_grace = "1m"
repeat = "flag"
[[handoff]]
name = "allocation"
case = "order_id"
per = ["line_id"]
start = {type = "order.approved"}
end = {type = "order.allocated"}
deadline = "5m"
scope = "node"
repeat = "flag_start"
[[handoff]]
name = "line_promise"
case = "order_id"
per = ["line_id"]
start = {type = "order.approved"}
end = {type = "order.allocated"}
deadline_at = {field = "promised_at"}
[[handoff]]
name = "reserved_line"
case = "order_id"
per = ["node", "line_id"]
start = {type = "reservation.created"}
end = {type = "order.allocated"}
scope = "node"
target = "2m"
[[handoff]]
name = "promise"
case = "order_id"
start = {type = "order.created"}
end = {type = "shipment.delivered"}
deadline_at = {field = "promised_at", plus = "30s"}
[[handoff]]
name = "pick"
case = "order_id"
per = ["task_id"]
start = {type = "task.queued", where = {task_type = "pick"}}
end = {type = "task.completed", where = {task_type = ["pick", "wave"]}}
abandoned_by = [{type = "task.rejected"}]
deadline = "4m"
scope = "node"
[[handoff]]
name = "carrier"
case = "order_id"
per = ["shipment_id"]
start = {type = "shipment.dispatched"}
end = {type = "shipment.delivered"}
deadline_at = {field = "expected_at", plus = "1m"}
scope = "carrier"
repeat = "flag_end"
[[handoff]]
name = "second_attempt"
case = "order_id"
start = {type = "shipment.exception"}
end = {type = "shipment.delivered"}
start_optional = true
deadline_at = {field = "expected_at"}
requires = ["approval"]
[[handoff]]
name = "invoice"
case = "order_id"
start = {type = "shipment.dispatched"}
end = {type = "posting.recorded", where = {posting_type = "invoice"}}
end_case = "reference"
deadline = "10m"
requires = ["approval", "pick"]
sequence_grace = "2m"
[[handoff]]
name = "consumption"
case = "reservation_id"
start = {type = "reservation.created"}
end = {type = "reservation.consumed"}
abandoned_by = [{type = "reservation.released"}, {type = "reservation.rejected"}]
deadline_at = {field = "expires_at"}
scope = "node"
[[forbidden]]
name = "allocated_after_cancel"
case = "order_id"
event = {type = "order.allocated"}
after = {type = "order.cancelled"}
scope = "node"
[[exception]]
name = "pick_rejected"
event = {type = "task.rejected"}
case = "order_id"
scope = "node"
"""

CASE_TYPES = (
    "order.created",
    "order.approved",
    "order.allocated",
    "order.cancelled",
    "order.promise_changed",
    "task.queued",
    "task.completed",
    "task.rejected",
    "shipment.dispatched",
    "shipment.delivered",
    "shipment.exception",
    "posting.recorded",
    "reservation.created",
    "reservation.consumed",
    "reservation.released",
)
STOCK_TYPES = (
    "inventory.level",
    "inventory.level",
    "inventory.adjusted",
    "inventory.adjusted",
    "reservation.created",
    "reservation.consumed",
    "reservation.released",
    "reservation.rejected",
)
SYSTEMS = ("erp", "ecom", "wms")


@cache  # reading it takes longer than most logs of a property do
def shop_map() -> ProcessMap:
    declared = read_process_map(MAP, "shop.toml")
    assert declared.value is not None, declared.problems
    return declared.value


def shop_settings(
    *,
    slide_s: int = 60,
    size_s: int = 60,
    retention_us: int,
    close_at_us: int,
    groups: int = 1,
    scored: bool = True,
) -> PipelineSettings:
    """Without `scored` there are no models: they take as long as all the rest of a small log."""
    windows = WindowSettings(size_s * SECOND_US, slide_s * SECOND_US, 5 * SECOND_US, retention_us)
    base = small_settings(groups=groups, close_at_us=close_at_us)
    return msgspec.structs.replace(
        base, process=shop_map(), handoff_windows=windows, stock_windows=windows, models=ModelSettings(enabled=scored)
    )


class Said(msgspec.Struct, frozen=True):
    """One event: what was drawn for it, and when it happened and was recorded, in seconds after the start."""

    number: int
    type: str
    case: int
    occurred_s: int
    delay_s: int
    value: int
    other: int

    @property
    def occurred_us(self) -> int:
        return START_US + self.occurred_s * SECOND_US

    @property
    def arrival_us(self) -> int:
        return START_US + (self.occurred_s + self.delay_s) * SECOND_US

    def body(self) -> dict[str, object]:
        kind = self.type.partition(".")[0]
        system = SYSTEMS[self.other % 3]
        node = f"n/{self.other % 2}"
        line = {"line_id": f"l{self.value % 2}"} if self.value % 3 else {}
        body: dict[str, object] = {
            "type": self.type,
            "event_id": f"e{self.number}",
            "source": f"{system}-1",
            "system": system,
            "occurred_at": rfc3339(self.occurred_us),
            "recorded_at": rfc3339(self.arrival_us),
        }
        if self.other % 4:
            body["channel"] = f"c{self.other % 2}"
        if kind in ("order", "shipment", "task", "reservation"):
            body["order_id"] = f"o{self.case}"
        later = rfc3339(self.occurred_us + (self.value - 2) * MINUTE_US)
        if self.type == "order.created":
            body["lines"] = []
        if self.type == "order.promise_changed" or (self.type == "order.created" and self.value % 2):
            body["promised_at"] = later
        if self.type in ("order.approved", "order.cancelled"):
            body |= line
        if self.type == "order.allocated":
            body |= {"node": node} | line
        if kind == "shipment":
            body |= {"shipment_id": f"s{self.case}-{self.other % 2}"}
            body |= {"carrier": f"dhl{self.value % 2}"} if self.other % 3 else {}
            body |= {"expected_at": later} if self.value % 2 else {}
        if kind == "task":
            body |= {"task_id": f"t/{self.case}/{self.value % 2}", "node": node}
            body["task_type"] = ("pick", "pick", "wave", "pack")[self.other % 4]
        if kind == "posting":
            body |= {"posting_id": f"p{self.number}", "reference": f"o{self.case}"}
            body["posting_type"] = "invoice" if self.value % 4 else "payment"
        if kind in ("inventory", "reservation"):
            body |= {"sku": f"k{self.case % 2}", "node": node if kind == "inventory" else f"n/{self.case % 2}"}
        if self.type == "inventory.level":
            body["on_hand"] = self.value + 0.25 * self.other
            body |= {"unit_cost": f"{self.value}.5"} if self.value % 3 == 0 else {}
            body |= {"reserved": self.other} if self.value % 2 else {}
        if self.type == "inventory.adjusted":
            body |= {"delta": self.value - 4.5, "reason": "count"}
        if kind == "reservation":
            body |= {"reservation_id": f"r{self.case}-{self.value % 2}", "qty": self.value + 0.5}
        if self.type == "reservation.created":
            body |= line | ({"expires_at": later} if self.value % 2 else {})
        return body


def said(*types: str, max_size: int = 60, span_s: int = 1_500) -> st.SearchStrategy[list[Said]]:
    """Events of some minutes: most arrive at once, some much later, some from clocks that are ahead.

    Short logs are drawn event by event, so that a failure shrinks; long ones by seed, so that they are dense.
    """
    delays = st.one_of(st.just(0), st.integers(0, 10), st.integers(0, 1_500), st.integers(-250, 0))
    one = st.tuples(
        st.sampled_from(types),
        st.integers(0, 2),
        st.integers(0, span_s // 10) | st.integers(0, span_s),
        delays,
        st.integers(0, 9),
        st.integers(0, 11),
    )
    drawn = st.lists(one, max_size=12).map(lambda rows: [Said(n, *rest) for n, rest in enumerate(rows)])
    sizes, seeds, spans = (
        st.integers(0, max_size),
        st.integers(0, 1 << 32),
        st.sampled_from([span_s // 10, span_s // 3, span_s]),
    )
    return drawn | st.builds(seeded, st.just(types), seeds, sizes, spans)


def seeded(types: Sequence[str], seed: int, size: int, span_s: int) -> list[Said]:
    """`size` events drawn from one seed."""
    draw = random.Random(seed)
    out = []
    for number in range(size):
        late = draw.choice((0, 0, draw.randrange(10), draw.randrange(1_500), -draw.randrange(250)))
        moment = draw.randrange(0, span_s, draw.choice((1, 30)))
        out.append(
            Said(number, draw.choice(types), draw.randrange(3), moment, late, draw.randrange(10), draw.randrange(12))
        )
    return out


def log_of(events: list[Said], partitions: int = 1) -> dict[str, list[bytes]]:
    """The log as the broker got it: by arrival, every third message twice."""
    out: dict[str, list[bytes]] = {}
    for event in sorted(events, key=lambda one: (one.arrival_us, one.number)):
        raw = msgspec.json.encode(event.body())
        messages = out.setdefault(f"log-{event.number % partitions}", [])
        messages.extend([raw, raw] if event.number % 3 == 0 else [raw])
    return out
