import hashlib
import itertools
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.decode import EventDecoder, Fault
from schemas.events import TOPIC_OF, type_name

OTHER = Path(__file__).parents[1] / "benchmarks" / "detection" / "other"
sys.path.insert(0, str(OTHER))  # scripts, not a package

from generate import HAZARDS, KINDS, generate  # noqa: E402 - found on the path set above

SCOPES = {
    "node", "sku", "region", "channel", "interface", "queue", "source", "supplier", "carrier", "promotion",
    "posting_type", "error_code",
}  # fmt: skip
#: The fewest that it knows.
NODES = 4
#: Runs, by kind and hazard, that two tests look at: made once.
LOOKED_AT_TWICE = {("queue_saturation", ""), ("posting_missing", ""), ("none", "consumer_outage")}
SEED = 7
NO_ORDERS = {"adjustments_lost", "supplier_delay", "supply_mismatch", "stockout_risk", "clock_skew"}
WITH_CASES = {"refund_lag", "refund_without_receipt", "return_surge", "supplier_delay", "supply_mismatch"}


class Read:
    """What a run wrote, decoded."""

    def __init__(self, folder: Path) -> None:
        (line,) = (folder / "truth.jsonl").read_bytes().splitlines()
        self.truth: dict[str, Any] = orjson.loads(line)
        self.events: dict[str, list[Any]] = {}
        self.faults: list[Fault] = []
        for file in folder.glob("*.jsonl"):
            if file.name == "truth.jsonl":
                continue
            decoded = EventDecoder().decode(file.read_bytes().splitlines())
            self.faults += [one for one in decoded if isinstance(one, Fault)]
            self.events[file.stem] = [one for one in decoded if not isinstance(one, Fault)]

    def of(self, kind: str) -> list[Any]:
        return [one for one in self.events[TOPIC_OF[kind]] if type_name(one) == kind]

    def count(self) -> int:
        return sum(map(len, self.events.values())) + len(self.faults)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Read]:
    """A run by its kind and hazard, to be looked at only."""
    kept: dict[tuple[str, str], Read] = {}

    def made(kind: str, hazard: str = "") -> Read:
        if (kind, hazard) in kept:
            return kept[kind, hazard]
        folder = tmp_path_factory.mktemp("run")
        generate(folder, SEED, kind, hazard=hazard, nodes=NODES)
        read = Read(folder)
        if (kind, hazard) in LOOKED_AT_TWICE:
            kept[kind, hazard] = read
        return read

    return made


@pytest.fixture(scope="module")
def clean(run: Callable[..., Read]) -> Read:
    return run("none")


def test_kinds_are_those_of_the_truth_format() -> None:
    assert len(KINDS) == 26
    listed = subprocess.run(
        [sys.executable, str(OTHER / "generate.py"), "--list"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert listed == [*KINDS, "none", *(f"none --hazard {name}" for name in HAZARDS)]


def test_clean_run_has_the_noise_it_says_and_no_more(clean: Read) -> None:
    assert clean.truth["kind"] == "none"
    assert 0 < len(clean.faults) < 0.0005 * clean.count()
    ids = Counter((one.source, one.event_id) for events in clean.events.values() for one in events)
    repeats = sum(ids.values()) - len(ids)
    assert 0.001 < repeats / len(ids) < 0.003
    assert len(clean.of("task.rejected")) < 0.03 * len(clean.of("task.completed"))
    orders = len({one.order_id for one in clean.of("order.created")})
    assert 3000 * NODES / 40 * 0.8 < orders < 6000 * NODES / 40 * 1.2


def test_files_are_in_order_of_arrival(clean: Read) -> None:
    for topic, events in clean.events.items():
        arrivals = [one.recorded_at for one in events]
        assert arrivals == sorted(arrivals), topic
        assert all(TOPIC_OF[type_name(one)] == topic for one in events)


def test_clean_orders_keep_their_dispatch_times(clean: Read) -> None:
    due = {one.order_id: one.dispatch_by for one in clean.of("order.created")}
    shipped = [one for one in clean.of("shipment.dispatched") if one.order_id in due]
    late = [one for one in shipped if one.occurred_at > due[one.order_id]]
    assert len(shipped) > 100
    assert len(late) < 0.01 * len(shipped)


@pytest.mark.parametrize("kind", KINDS)
def test_breakdown_is_generated_decodes_and_has_its_truth(kind: str, run: Callable[..., Read]) -> None:
    read = run(kind)
    truth = read.truth
    natural = 0.0005 * read.count()
    assert (len(read.faults) > natural) == (kind == "schema_change")
    assert truth["kind"] == truth["cause"]["kind"] == kind
    assert truth["scope"] == truth["cause"]["scope"]
    assert truth["scope"]
    assert truth["scope"].keys() <= SCOPES
    begin, end = _moment(truth["begin"]), _moment(truth["end"])
    assert 3600 <= (end - begin).total_seconds() <= 6 * 3600
    assert 5 <= begin.hour < 15  # 07:00 to 17:00 in Warsaw's summer
    assert "effects_until" not in truth or _moment(truth["effects_until"]) > end
    assert bool(truth["orders"]) or kind in NO_ORDERS
    assert bool(truth["cases"]) or kind not in WITH_CASES
    assert len(set(truth["orders"])) == len(truth["orders"])
    assert (Decimal(truth["value_at_risk"]) > 0) == (kind != "clock_skew")
    assert truth["currency"] == "PLN"


@pytest.mark.parametrize("hazard", HAZARDS)
def test_hazard_is_clean_and_differs_from_an_ordinary_day(hazard: str, run: Callable[..., Read], clean: Read) -> None:
    read = run("none", hazard)
    assert read.truth["kind"] == "none"
    assert read.truth["hazard"] == hazard
    assert len(read.faults) < 0.0005 * read.count()
    assert read.events != clean.events
    length = (_moment(read.truth["end"]) - _moment(read.truth["begin"])).total_seconds()
    assert length == (25 if hazard == "dst_switch" else 24) * 3600


def test_consumer_outage_is_ten_minutes_of_silence(run: Callable[..., Read]) -> None:
    arrivals = sorted(one.recorded_at for events in run("none", "consumer_outage").events.values() for one in events)
    gaps = [(later - at).total_seconds() for at, later in itertools.pairwise(arrivals)]
    assert 600 <= max(gaps) < 660


def test_saturated_queue_delays_its_messages_and_what_follows(run: Callable[..., Read]) -> None:
    read = run("queue_saturation")
    touched = set(read.truth["orders"])
    delays = {
        one.order_id: (one.recorded_at - one.occurred_at).total_seconds()
        for one in read.of("reservation.created")
        if not one.node.startswith("MAG")
    }
    assert all(order in delays for order in touched)
    assert sum(delays[order] > 100 for order in touched) > 0.9 * len(touched)
    depths = [one.depth for one in read.of("queue.depth") if one.queue == "q.rez.sklepy"]
    assert max(depths) > 3
    assert depths[-1] <= 1
    queued = {one.order_id: one.occurred_at for one in read.of("task.queued") if one.task_type == "pick"}
    reserved = {one.order_id: one.occurred_at for one in read.of("reservation.created")}
    followed = touched & queued.keys()
    assert sum((queued[order] - reserved[order]).total_seconds() > 100 for order in followed) > 0.7 * len(followed)


def test_missing_postings_stay_missing(run: Callable[..., Read]) -> None:
    read = run("posting_missing")
    wanted = read.truth["scope"]["posting_type"]
    posted = Counter(one.reference for one in read.of("posting.recorded") if one.posting_type == wanted)
    shipments = Counter({one.shipment_id: one.order_id for one in read.of("shipment.dispatched")}.values())
    assert read.truth["orders"]
    assert all(posted[order] < max(1, shipments[order]) for order in read.truth["orders"])


def test_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    digests = []
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        generate(tmp_path / name, seed, "misrouting", nodes=NODES)
        whole = b"".join(file.read_bytes() for file in sorted((tmp_path / name).iterdir()))
        digests.append(hashlib.sha256(whole).hexdigest())
    assert digests[0] == digests[1] != digests[2]


def test_days_before_the_breakdown_are_clean(tmp_path: Path) -> None:
    generate(tmp_path, SEED, "incomplete_orders", hours=48, nodes=NODES)
    read = Read(tmp_path)
    begin = _moment(read.truth["begin"])
    assert max(one.occurred_at for one in read.of("order.created")) > begin
    first = min(one.occurred_at for one in read.of("order.created"))
    assert 24 * 3600 < (begin - first).total_seconds() < 48 * 3600
