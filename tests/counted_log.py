"""Two hours of two nodes and a channel: stock that two systems see apart, orders, cancellations, returns, picks."""

import random

import msgspec

from schemas.durations import MINUTE_US, rfc3339
from tests.harness import START_US

MINUTES = 120
NODES = ("n1", "n2")


def counted_log(seed: int = 11) -> dict[str, list[bytes]]:
    """Levels of six items by WMS and ERP, three orders a minute; some late enough to correct their window."""
    draw = random.Random(seed)
    said: list[tuple[float, str, str, dict[str, object]]] = []
    for minute in range(MINUTES):
        for sku in range(6):
            for system in ("wms", "erp"):
                where = {"sku": f"k{sku}", "node": NODES[sku % 2], "on_hand": 20 + draw.randrange(4) / 10}
                said.append((minute + draw.random(), "inventory", "inventory.level", {"system": system} | where))
        for number in range(3):
            case = f"o{minute}-{number}"
            line = {"line_id": "1", "sku": "k0", "qty": 1, "unit_price": "5.00"}
            at = minute + draw.random()
            order = {"order_id": case, "customer_id": "c", "currency": "EUR", "lines": [line], "channel": "shop"}
            said.append((at, "orders", "order.created", order))
            task = {"task_id": f"t{case}", "task_type": "pick", "order_id": case, "node": NODES[number % 2]}
            said.append((at + 0.1, "fulfillment", "task.queued", task))
            over = "task.rejected" if draw.random() < 0.3 else "task.completed"
            said.append((at + 0.5, "fulfillment", over, task))
            if draw.random() < 0.2:
                said.append((at + 0.7, "orders", "order.cancelled", {"order_id": case}))
            if draw.random() < 0.2:
                sent_back = {"return_id": f"r{case}", "order_id": case, "channel": "shop"}
                said.append((at + 0.8, "fulfillment", "return.authorized", sent_back))
    log: dict[str, list[bytes]] = {"inventory": [], "orders": [], "fulfillment": []}
    late = [1.5 if one[1] == "inventory" and draw.random() < 0.05 else 0.01 for one in said]
    held = [(at + delay, at, *rest) for delay, (at, *rest) in zip(late, said, strict=True)]
    for number, (arrival, at, topic, kind, fields) in enumerate(sorted(held, key=lambda one: one[:2])):
        system = str(fields.get("system", "oms"))
        body = {
            "type": kind,
            "event_id": f"e{number}",
            "source": f"{system}-1",
            "system": system,
            "occurred_at": rfc3339(START_US + round(at * MINUTE_US)),
            "recorded_at": rfc3339(START_US + round(arrival * MINUTE_US)),
        }
        log[topic].append(msgspec.json.encode(body | fields))
    return log
