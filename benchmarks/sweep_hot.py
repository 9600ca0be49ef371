"""`sweep.hot`: one key that very much is said of, within an hour.

`python sweep_hot.py KIND EVENTS` prints a line of JSON: the whole replay, everything on, rows counted. What an event
costs must not grow with what was said of the key before. Kinds: `late_adjustments` (of one item, up to 50 min late, of
a system that never says a level), `late_since_level` (of one that said a level before all of them: the sum since then
is carried on), `falling_stock` (two systems tell of an item that only sells), `late_reservations` (of one item),
`one_case` (every pick of a warehouse under one order id, steps missing and said again), `promotions` (so many begin,
each of an item of its own), `promoted_item` (so many begin of one item).
"""

import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec
from inputs import START_US, Work
from whole import measure

from dataflows.process_maps import load_process_map
from dataflows.settings import Settings
from schemas.durations import HOUR_US, MINUTE_US, rfc3339

_Body: TypeAlias = dict[str, object]
_LATE_US = 50 * MINUTE_US
_ITEM: Mapping[str, object] = {"sku": "sku-1", "node": "dc-1"}


def _adjusted(system: str) -> _Body:
    said = {"delta": -1, "reason": "sale"}
    return {"type": "inventory.adjusted", "source": f"{system}-1", "system": system, **_ITEM, **said}


def _level(system: str) -> _Body:
    return {"type": "inventory.level", "source": f"{system}-1", "system": system, **_ITEM, "on_hand": 1_000_000}


def _late_adjustments(_number: int) -> _Body:
    return _adjusted("oms") | {"late": _LATE_US}


def _late_since_level(number: int) -> _Body:
    return _adjusted("oms") | {"late": _LATE_US} if number else _level("oms") | {"late": 2 * _LATE_US}


def _falling_stock(number: int) -> _Body:
    system = ("wms", "erp")[number % 2]
    return _adjusted(system) if number >= 2 else _level(system)


def _late_reservations(number: int) -> _Body:
    ids = {"reservation_id": f"r-{number}", "order_id": f"o-{number}", "qty": 1}
    return {"type": "reservation.created", "source": "oms-1", "system": "oms", **_ITEM, **ids, "late": _LATE_US}


def _one_case(number: int) -> _Body:
    kind = random.Random(number).choice(("task.queued", "task.started", "task.completed"))
    ids = {"task_id": f"t-{number // 3}", "task_type": "pick", "order_id": "unknown", "qty": 1}
    return {"type": kind, "source": "wms-1", "system": "wms", **_ITEM, **ids}


def _promotions(number: int) -> _Body:
    promotion = {"promotion_id": f"p-{number}", "skus": [f"sku-{number}"]}
    return {"type": "promotion.started", "source": "shop-1", "system": "ecom", **promotion}


def _promoted_item(number: int) -> _Body:
    return _promotions(number) | {"skus": ["sku-1"]}


KINDS: Mapping[str, Callable[[int], _Body]] = {
    "late_adjustments": _late_adjustments,
    "late_since_level": _late_since_level,
    "falling_stock": _falling_stock,
    "late_reservations": _late_reservations,
    "one_case": _one_case,
    "promotions": _promotions,
    "promoted_item": _promoted_item,
}


def lines(kind: str, events: int, seed: int = 11) -> Iterator[bytes]:
    """The log: an hour, evenly."""
    rng, make = random.Random(seed), KINDS[kind]
    for number in range(events):
        body = make(number)
        at_us = START_US + number * HOUR_US // events
        late_us = body.pop("late", 0)
        assert isinstance(late_us, int)
        occurred_us = at_us - (late_us if late_us > _LATE_US else rng.randrange(late_us + 1))
        times = {"occurred_at": rfc3339(occurred_us), "recorded_at": rfc3339(at_us)}
        yield msgspec.json.encode({"event_id": f"e-{number}", "version": 1, **body, **times})


def hot(folder: Path, kind: str, events: int) -> Work:
    """The log in a file, with the default map and settings."""
    file = folder / f"{kind}.jsonl"
    file.write_bytes(b"\n".join(lines(kind, events)) + b"\n")
    return Work((str(file),), events, load_process_map("default"), Settings())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="andon-hot-") as made:
        print(msgspec.json.encode(measure(hot(Path(made), sys.argv[1], int(sys.argv[2])), "counting")).decode())
