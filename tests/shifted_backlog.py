"""A log in which one channel's orders come in one lump and their approvals stop for a while: its backlog shifts."""

import random

import msgspec

from schemas.durations import SECOND_US, rfc3339
from tests.harness import START_US

MINUTES = 375
#: So many orders of channel `c0` come in this minute, and none is approved for so many minutes from then on.
LUMP, STOP, STOPPED = 40, 310, 40
CHANNELS = ("c0", "c1")


def shifted_log(seed: int = 5) -> dict[str, list[bytes]]:
    """Some two orders a minute and channel, approved within two minutes."""
    draw = random.Random(seed)
    said: list[tuple[float, str, str, str]] = []
    for channel in CHANNELS:
        begins = [number * 30 + draw.random() * 25 for number in range(2 * MINUTES)]
        if channel == "c0":
            begins += [STOP * 60 + draw.random() * 50 for _ in range(LUMP)]
        for number, begun in enumerate(begins):
            case = f"{channel}-{number}"
            end = begun + 30 + draw.random() * 90
            if channel == "c0" and STOP * 60 <= end < (STOP + STOPPED) * 60:
                end = (STOP + STOPPED) * 60 + draw.random() * 600
            said += [(begun, "order.created", case, channel), (end, "order.approved", case, channel)]
    said.sort()
    return {"orders": [_message(number, *one) for number, one in enumerate(said)]}


def _message(number: int, at_s: float, kind: str, case: str, channel: str) -> bytes:
    at = rfc3339(START_US + round(at_s * SECOND_US))
    body: dict[str, object] = {
        "type": kind,
        "event_id": f"e{number}",
        "source": "oms-1",
        "system": "oms",
        "occurred_at": at,
        "recorded_at": at,
        "channel": channel,
        "order_id": case,
    }
    if kind == "order.created":
        line = {"line_id": "1", "sku": "s", "qty": 1, "unit_price": "5.00"}
        body |= {"customer_id": "k", "currency": "EUR", "lines": [line]}
    return msgspec.json.encode(body)
