"""Logs of orders whose systems' clocks are wrong for a while, or always, and what truly happened in what order."""

import random
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from schemas.durations import SECOND_US, rfc3339
from schemas.rows import HandoffPass, Row, Signal
from tests.harness import START_US

#: An order every so often; captured, approved and allocated by systems of its own, so long one after the other.
EVERY_S, APPROVED_S, ALLOCATED_S = 10, 2, 5
SHOP, OMS, WMS = "shop-1", "oms-1", "wms-1"
_STEPS = (("order.created", SHOP, "ecom"), ("order.approved", OMS, "oms"), ("order.allocated", WMS, "wms"))

_HANDOFFS = ("approval", "allocation")


class WrongClock(msgspec.Struct, frozen=True):
    """Whose clock, by how much it is ahead (behind: less than 0), and from when to when, in minutes of the log."""

    source: str
    ahead_s: float
    begin: float = 0
    end: float = 1_000


#: An order's pass through a handoff.
Step: TypeAlias = tuple[str, str]


class OrderLog(msgspec.Struct, frozen=True):
    """The partitions, and the passes whose end was dated, and truly came, before their start."""

    partitions: dict[str, Sequence[bytes]]
    dated: set[Step]
    truly: set[Step]


def orders(
    minutes: int,
    clocks: Sequence[WrongClock] = (),
    early_s: Mapping[int, float] = {},
    queued_s: Mapping[int, float] = {},
    seed: int = 0,
) -> OrderLog:
    """Orders through a day's first `minutes`.

    `early_s`: of these orders (by number) the approval truly came so long before the order itself. `queued_s`: what
    the OMS says in these minutes comes so much later.
    """
    delay = random.Random(seed)
    written: list[tuple[int, int, str, bytes]] = []
    dated, truly = set[Step](), set[Step]()
    for number in range(minutes * 60 // EVERY_S):
        begun_s = number * EVERY_S
        true_s = [begun_s, begun_s + APPROVED_S, begun_s + ALLOCATED_S]
        if number in early_s:
            true_s[1] = begun_s - early_s[number]
        said_s = []
        for (type_, source, system), at_s in zip(_STEPS, true_s, strict=True):
            off_s = sum(one.ahead_s for one in clocks if one.source == source and one.begin <= at_s / 60 < one.end)
            under_way_s = delay.uniform(0.02, 0.3) + (queued_s.get(int(at_s // 60), 0.0) if source == OMS else 0.0)
            said_s.append(at_s + off_s)
            recorded_us = START_US + round((at_s + under_way_s) * SECOND_US)
            body = {
                "type": type_,
                "event_id": f"{type_}:{number}",
                "source": source,
                "system": system,
                "occurred_at": rfc3339(START_US + round((at_s + off_s) * SECOND_US)),
                "recorded_at": rfc3339(recorded_us),
                "order_id": f"o{number}",
                "channel": "web",
                "lines": [],
                "node": "n1",
            }
            written.append((recorded_us, len(written), source, msgspec.json.encode(body)))
        for place, handoff in enumerate(_HANDOFFS):
            step = f"o{number}", handoff
            if true_s[place + 1] < true_s[place]:
                truly.add(step)
            if said_s[place + 1] < said_s[place]:
                dated.add(step)
    partitions: dict[str, list[bytes]] = {}
    for _, _, source, raw in sorted(written):
        partitions.setdefault(f"{source}.jsonl", []).append(raw)
    return OrderLog(dict(partitions), dated, truly)


def out_of_sequence(rows: Sequence[Row]) -> set[Step]:
    """The passes that findings of a wrong order name."""
    return {(row.case_id, row.handoff) for row in rows if isinstance(row, Signal) and row.kind == "out_of_sequence"}


def passes_out_of_sequence(rows: Sequence[Row]) -> set[Step]:
    """The passes that say so themselves."""
    return {
        (row.case_id, row.handoff) for row in rows if isinstance(row, HandoffPass) and row.status == "out_of_sequence"
    }


def minute_of(step: Step) -> int:
    """The minute of the log in which the order was captured."""
    return int(step[0][1:]) * EVERY_S // 60
