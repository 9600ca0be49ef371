"""An incident's life at every moment of it, by the cookbook's query over ClickHouse, equals what the operator said."""

from collections.abc import Iterator

import pytest

from operators.detectors.records import ScopeFinding
from schemas.incident_rows import Incident
from schemas.rows import Row
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import Store
from sinks.clickhouse.writer import BlockWriter
from tests.clickhouse_stores import HTTP, place
from tests.cookbook_samples import COOKBOOK, RECIPE
from tests.incident_streams import alive, at, finding, orders, run

(LIFE,) = (
    one["sql"] for one in RECIPE.finditer(COOKBOOK.read_text()) if one["title"].endswith("life from its findings")
)
TABLES = ("signal_log", "incident_log", "incident_signal_log", "incident_order_log")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with place(HTTP, tmp_path_factory.mktemp("recomputed")) as there, there.open() as opened:
        migrate(opened)
        yield opened


def _findings() -> list[ScopeFinding]:
    """A queue with two consequences that outlast it, and that comes back with one; a backlog that nobody hears of."""
    late = orders("o", range(40))
    return [
        finding(10, "queue_saturation", {"source": "wms"}, late[:20], since=2),
        finding(12, "queue_saturation", {"source": "wms"}, late, since=2, found=10),
        finding(20, "oversell", {"channel": "web", "sku": "1"}, late[:10], since=14),
        finding(26, "picking_backlog", {"node": "far"}, orders("p", range(5)), since=22),
        finding(31, "oversell", {"channel": "web", "sku": "2"}, late[10:30], since=21),
        finding(40, "queue_saturation", {"source": "wms"}, since=2, found=10, closed=39),
        finding(55, "oversell", {"channel": "web", "sku": "1"}, since=14, found=20, closed=54),
        finding(80, "oversell", {"channel": "web", "sku": "2"}, since=21, found=31, closed=80),
        finding(110, "queue_saturation", {"source": "wms"}, late[:30], since=105, name="again"),
        finding(120, "oversell", {"channel": "web", "sku": "3"}, late[:20], since=112),
        finding(126, "oversell", {"channel": "web", "sku": "3"}, since=112, found=120, closed=126),
        finding(130, "queue_saturation", {"source": "wms"}, since=105, found=110, closed=130, name="again"),
    ]


@pytest.mark.parametrize(
    "minute", [10, 11, 12, 20, 27, 31, 40, 55, 57, 70, 80, 94, 95, 110, 119, 120, 127, 130, 145, 150]
)
def test_it_is_what_was_said_at_that_moment(store: Store, minute: int) -> None:
    known = [one for one in _findings() if one.signal.arrival_us <= at(minute)]
    rows = run(known, until=minute)
    for table in TABLES:
        store.command(f"TRUNCATE TABLE {table}")
    writer = BlockWriter(store, f"cut-{minute}")
    signals = [one.signal for one in known]
    clock = finding(minute, "price_error", {"sku": "clock"}).signal  # in no incident: time has come so far
    by_kind: dict[type[Row], list[Row]] = {}
    for row in (*signals, clock, *rows):
        by_kind.setdefault(type(row), []).append(row)
    for same in by_kind.values():
        writer.write(same)
    writer.flush()
    answer = store.query(LIFE)
    found = {row[0]: dict(zip(answer.names, row, strict=True)) for row in answer.rows}
    expected = alive(rows)
    assert set(found) == {one.incident_id for one in expected}
    for one in expected:
        assert isinstance(one, Incident)
        life = found[one.incident_id]
        assert life["opened_recomputed"] == life["opened_at"]
        assert life["closed_recomputed"] == life["closed_at"]
        assert life["status"] == one.status
        assert life["status_recomputed"] == one.status


def test_the_stream_goes_through_every_state() -> None:
    rows = run(_findings(), until=150)
    states = {row.status for row in rows if isinstance(row, Incident)}
    assert states == {"open", "growing", "recovering", "resolved", "reopened"}
