"""From ClickHouse into the outbox and back, on the real engine: nothing is missed, nothing comes twice."""

import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from schemas.incident_rows import Alert
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.rows import block_of
from sinks.clickhouse.store import Store
from sinks.clickhouse.writer import BlockWriter
from sinks.webhooks.attempts import delivery_of
from sinks.webhooks.intake import ship, take_in
from sinks.webhooks.outbox import Outbox
from tests.clickhouse_stores import HTTP, KINDS, place
from tests.webhook_alerts import NOON_US, alert, resolved
from tests.webhook_process import Process
from tests.webhook_receiver import ScriptedReceiver, until

_MINUTE_MS = 60_000
_OVERLAP_US = 300_000_000
_DAY_US = 86_400_000_000


@pytest.fixture(scope="module", params=KINDS)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with place(request.param, tmp_path_factory.mktemp("intake")) as there, there.open() as store:
        migrate(store)
        yield store


@pytest.fixture
def store(opened: Store) -> Store:
    for table in ("alert_log", "alert_delivery_log"):
        opened.command(f"TRUNCATE TABLE {table}")
    return opened


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.db") as box:
        yield box


def _write(store: Store, rows: Sequence[Alert], ago_ms: int = 0) -> None:
    """Rows that say they were written so long ago."""
    block = block_of(Alert, rows, "run")
    written = [int(time.time() * 1_000) - ago_ms] * len(rows)
    store.insert(block.table, [*block.columns, written], [*block.names, "written_at"], f"{block.token}{ago_ms}")


def _take(store: Store, outbox: Outbox) -> int:
    return take_in(store, outbox, NOON_US, overlap_us=_OVERLAP_US, first_us=_DAY_US)


def _all(outbox: Outbox) -> list[Alert]:
    receivers = list(outbox.figures.counts())
    return [waiting.alert for name in receivers for waiting in outbox.aged(name, NOON_US + 1, 10_000)]


def test_alerts_come_as_they_were_written_each_once(store: Store, outbox: Outbox) -> None:
    odd = alert(3, annotations={"summary": "ß \x01 \U0001f4a5 '\"\\", "": ""}, labels={}, incident_ids=[])
    rows = [alert(1), alert(2), odd, resolved(4)]
    _write(store, rows)
    assert _take(store, outbox) == 4
    assert _all(outbox) == rows
    assert _take(store, outbox) == 0


def test_a_row_that_is_written_again_is_the_same_alert(store: Store, outbox: Outbox) -> None:
    _write(store, [alert(1)], ago_ms=2 * _MINUTE_MS)
    assert _take(store, outbox) == 1
    _write(store, [msgspec.structs.replace(alert(1), version=alert(1).version + 1)])
    assert _take(store, outbox) == 0


def test_of_several_versions_the_highest_counts(store: Store, outbox: Outbox) -> None:
    for version, reason in ((2, "newer"), (1, "older")):
        _write(store, [alert(1, version=version, reason=reason)], ago_ms=version)
    assert _take(store, outbox) == 1
    assert [one.reason for one in _all(outbox)] == ["newer"]


def test_a_row_that_becomes_visible_late_is_not_missed(store: Store, outbox: Outbox) -> None:
    _write(store, [alert(2)])
    assert _take(store, outbox) == 1
    _write(store, [alert(1)], ago_ms=4 * _MINUTE_MS)  # older than what was read, within the overlap
    assert _take(store, outbox) == 1
    assert [one.sequence for one in _all(outbox)] == [1, 2]


def test_a_row_is_not_missed_after_the_servers_clock_was_put_back(store: Store, outbox: Outbox) -> None:
    _write(store, [alert(1)], ago_ms=-60 * _MINUTE_MS)
    assert _take(store, outbox) == 1
    _write(store, [alert(2)])
    assert _take(store, outbox) == 1
    assert _take(store, outbox) == 0


def test_by_a_clock_of_ours_that_is_days_ahead_no_alert_is_old(store: Store, outbox: Outbox) -> None:
    now_us = round(time.time() * 1_000_000)
    _write(store, [alert(1, sent_at_us=now_us)])
    assert take_in(store, outbox, now_us + 3 * _DAY_US, overlap_us=_OVERLAP_US, first_us=_DAY_US) == 1
    (waiting,) = outbox.aged("ops", now_us + 4 * _DAY_US, 10)
    assert abs(waiting.put_at_us - now_us) < 600_000_000


def test_the_first_time_what_is_older_is_left(store: Store, outbox: Outbox) -> None:
    _write(store, [alert(1)], ago_ms=25 * 60 * _MINUTE_MS)
    _write(store, [alert(2)], ago_ms=23 * 60 * _MINUTE_MS)
    assert _take(store, outbox) == 1
    assert [one.sequence for one in _all(outbox)] == [2]


def test_many_at_one_moment_come_page_by_page(store: Store, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.webhooks.intake._PAGE", 7)
    monkeypatch.setattr("sinks.webhooks.intake._FETCHED", 3)
    rows = [alert(1, group=f"g{number:02}") for number in range(40)]
    _write(store, rows)
    assert _take(store, outbox) == 40
    assert {one.alert_id for one in _all(outbox)} == {one.alert_id for one in rows}


def test_attempts_go_back_once_and_leave_the_outbox(store: Store, outbox: Outbox) -> None:
    outbox.put([alert(1)], NOON_US)
    number = outbox.begin(alert(1), NOON_US)
    outbox.retry(delivery_of(alert(1), number, "retrying", "HTTP 503: <b>", NOON_US, http_status=503), NOON_US)
    number = outbox.begin(alert(1), NOON_US + 1)
    done = delivery_of(alert(1), number, "delivered", "HTTP 200", NOON_US + 1, http_status=200, latency_ms=12.5)
    outbox.delivered(alert(1), done, NOON_US + 1)
    kept = outbox.records(10)[1]
    assert ship(store, outbox) == 2
    assert ship(store, outbox) == 0
    writer = BlockWriter(store, "deliver", beside=False)
    writer.write(kept)
    writer.flush()
    columns = "attempt, outcome, http_status, detail, latency_ms"
    found = store.query(f"SELECT {columns} FROM alert_deliveries ORDER BY attempt").rows
    assert found == [(1, "retrying", 503, "HTTP 503: <b>", 0.0), (2, "delivered", 200, "HTTP 200", 12.5)]


def test_the_process_between_a_server_and_a_receiver(tmp_path: Path) -> None:
    """New alerts are delivered as they are written, across a kill, and every attempt is in the view."""
    with place(HTTP, tmp_path) as there, there.open() as store, ScriptedReceiver("503") as receiver:
        migrate(store)
        process = Process(tmp_path, dsn=str(there.target), ops=receiver.url)
        try:
            _write(store, [alert(1), alert(2)])
            process.start()
            receiver.wait(lambda came: len([one for one in came if one.taken]) == 2)
            process.end(signal.SIGKILL)
            _write(store, [alert(2), resolved(3)])
            process.start()
            receiver.wait(lambda _: receiver.keys[-1:] == [resolved(3).alert_id])
            query = "SELECT DISTINCT alert_id FROM alert_deliveries WHERE outcome = 'delivered' ORDER BY alert_id"
            until(lambda: len(store.query(query).rows) == 3)
            assert process.end(signal.SIGTERM) == 0
            until(lambda: process.outbox.records(1)[1] == [])
        finally:
            process.close()
    assert list(dict.fromkeys(receiver.keys)) == [one.alert_id for one in (alert(1), alert(2), resolved(3))]
    assert len(receiver.keys) <= 4


def test_a_database_without_our_tables_ends_the_process_with_words(tmp_path: Path) -> None:
    with place(HTTP, tmp_path) as there, there.open(), ScriptedReceiver() as receiver:
        process = Process(tmp_path, dsn=str(there.target), ops=receiver.url)
        try:
            process.start()
            assert process.wait() == 1
        finally:
            process.close()
    assert "andon migrate" in process.output
    assert "Traceback" not in process.output
