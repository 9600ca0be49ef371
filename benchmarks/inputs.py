"""Seeded inputs, made outside of every timer, and the settings they are run with.

`W1` is the work that Andon and its peers are measured on: inventory levels of three systems, reservations, and the
picks that follow them, over an hour of event time, out of order by up to 5 s, with exact duplicates, Zipf over items.
`day` is a simulated retailer's day through the default process map.
"""

import bisect
import itertools
import random
from array import array
from collections.abc import Callable
from pathlib import Path

import msgspec

from dataflows.process_maps import load_process_map
from dataflows.settings import Settings
from operators.anomaly.settings import ModelSettings
from operators.detectors.settings import DetectorSettings
from operators.process_lint import read_process_map
from operators.process_map import ProcessMap
from scenarios.simulate import SimulationSettings, simulate
from schemas.durations import HOUR_US, MINUTE_US, SECOND_US, Duration, Instant, rfc3339

SEED = 20_260_302
START_US = int(Instant.parse("2026-03-02T06:00:00Z"))
DISORDER_US = 5 * SECOND_US
SYSTEMS = (("wms", "wms-eu1"), ("erp", "erp-main"), ("ecom", "shop-de"))
TOPICS = ("inventory", "reservations", "fulfillment")
#: All messages of a W1 in one file, in order of arrival.
ARRIVAL = "arrival.jsonl"
NODES = 200
DUPLICATES = 0.01
SKEW = 1.05

W1_MAP = """
name = "w1"
window = "1m"
[case.order_id]
retention = "20m"
[[handoff]]
name = "reservation_to_pick"
case = "order_id"
start = {type = "reservation.created"}
end = {type = "task.completed", where = {task_type = "pick"}}
scope = "node"
deadline = "15m"
"""


class Work(msgspec.Struct, frozen=True):
    """Files to replay, how many messages are in them, and what they are replayed with."""

    files: tuple[str, ...]
    messages: int
    process: ProcessMap
    settings: Settings


def w1(folder: Path, events: int, *, items: int = 50_000, seed: int = SEED) -> Work:
    """W1 with about `events` messages: a file for each topic and `ARRIVAL` for all, each in order of arrival.

    When a message arrived is in a file beside its topic's: `TOPIC.at`, microseconds since 1970 as machine integers.
    """
    name = w1_folder(folder, events, items=items, seed=seed)
    if not ((name / "done").exists() and (name / ARRIVAL).exists()):
        name.mkdir(parents=True, exist_ok=True)
        (name / "done").unlink(missing_ok=True)  # a cache from before there was an `ARRIVAL`
        messages = _w1_messages(events, items, random.Random(seed))
        _write_lines(name / ARRIVAL, [line for _, _, line in messages])
        for topic in TOPICS:
            _write_lines(name / f"{topic}.jsonl", [line for _, mine, line in messages if mine == topic])
            arrivals = array("q", [START_US + at for at, mine, _ in messages if mine == topic])
            (name / f"{topic}.at").write_bytes(arrivals.tobytes())
        (name / "done").write_text(str(len(messages)), encoding="utf-8")
    return w1_work(name)


def w1_work(name: Path) -> Work:
    """The W1 that was made in a folder; detectors and models are off, since no peer has any."""
    declared = read_process_map(W1_MAP, "w1.toml")
    if declared.value is None:
        raise ValueError(declared.problems)
    minute = Duration(MINUTE_US)
    settings = Settings(
        stock=msgspec.structs.replace(Settings().stock, window=minute),
        detectors=DetectorSettings(enabled=False),
        models=ModelSettings(enabled=False),
    )
    files = tuple(str(name / f"{topic}.jsonl") for topic in TOPICS)
    return Work(files, int((name / "done").read_text(encoding="utf-8")), declared.value, settings)


def w1_folder(folder: Path, events: int, *, items: int = 50_000, seed: int = SEED) -> Path:
    """Where `w1` keeps what it makes."""
    return folder / f"w1-{events}-{items}-{seed}"


def day(folder: Path, events: int, *, seed: int = 7) -> Work:
    """A simulated retailer's day sized to about `events` messages, through the default process map."""
    orders = max(40, events // 48)
    name = folder / f"day-{orders}-{seed}"
    if not (name / "done").exists():
        settings = SimulationSettings(
            seed=seed, orders_per_day=orders, counter_sales_per_day=orders, skus=max(20, min(2_000, orders // 8))
        )
        made = simulate(settings, name)
        (name / "done").write_text(str(sum(made.events.values())), encoding="utf-8")
    files = tuple(sorted(str(path) for path in name.glob("*.jsonl") if path.name != "truth.jsonl"))
    process = load_process_map("default")
    return Work(files, int((name / "done").read_text(encoding="utf-8")), process, Settings())


def raw_messages(work: Work) -> list[bytes]:
    """Every message of a work, file by file."""
    return [line for file in work.files for line in Path(file).read_bytes().splitlines()]


def _write_lines(path: Path, lines: list[bytes]) -> None:
    path.write_bytes(b"\n".join(lines) + b"\n")


def _w1_messages(events: int, items: int, rng: random.Random) -> list[tuple[int, str, bytes]]:
    """(arrival, topic, line) in order of arrival: what happened, delayed by up to `DISORDER_US`, some of it twice."""
    weights = list(itertools.accumulate(1 / rank**SKEW for rank in range(1, items + 1)))
    made: list[tuple[int, str, dict[str, object]]] = []

    def item() -> tuple[str, str]:
        index = bisect.bisect_left(weights, rng.random() * weights[-1])
        return f"sku-{index // NODES:06d}", f"node-{index * 7 % NODES:04d}"

    for number in range(events * 3 // 5):
        sku, node = item()
        system, source = SYSTEMS[number % len(SYSTEMS)]
        own = {"sku": sku, "node": node, "on_hand": rng.randrange(0, 500)}
        made.append(_fact(rng.randrange(HOUR_US), "inventory.level", f"l{number}", source, system, own))
    for number in range(events // 5):
        sku, node = item()
        at = rng.randrange(HOUR_US)
        order = {"order_id": f"o{number}", "sku": sku, "node": node, "qty": rng.randrange(1, 5)}
        own = {"reservation_id": f"r{number}", **order}
        made.append(_fact(at, "reservation.created", f"r{number}", "oms-1", "oms", own))
        own = {"task_id": f"t{number}", "task_type": "pick", **order}
        at += rng.randrange(SECOND_US, 600 * SECOND_US)
        made.append(_fact(at, "task.completed", f"t{number}", "wms-eu1", "wms", own))
    arrivals = [(at + rng.randrange(DISORDER_US), topic, fact) for at, topic, fact in made]
    for at, topic, fact in rng.sample(arrivals, round(len(arrivals) * DUPLICATES)):
        arrivals.append((at + rng.randrange(DISORDER_US), topic, fact))
    arrivals.sort(key=_at)
    encode = msgspec.json.Encoder().encode
    return [(at, topic, encode(fact)) for at, topic, fact in arrivals]


def _fact(
    at: int, kind: str, event_id: str, source: str, system: str, own: dict[str, object]
) -> tuple[int, str, dict[str, object]]:
    topic = {"inventory.level": "inventory", "reservation.created": "reservations"}.get(kind, "fulfillment")
    head = {"type": kind, "version": 1, "event_id": event_id, "source": source, "system": system}
    return at, topic, {**head, "occurred_at": rfc3339(START_US + at), **own}


def _at(arrival: tuple[int, str, dict[str, object]]) -> int:
    return arrival[0]


#: By name: made in a folder (once), with about so many messages.
WORKS: dict[str, Callable[[Path, int], Work]] = {"w1": w1, "day": day}
