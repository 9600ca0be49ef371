"""The outbox as a file: what it has taken survives, other processes may use it, what it can't read it refuses."""

import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.errors import StateError
from sinks.webhooks.attempts import delivery_of
from sinks.webhooks.outbox import Outbox, Standing
from tests.processes import ROOT, environment
from tests.webhook_alerts import NOON_US, alert, resolved
from tests.webhook_receiver import until

_PUTTING = """
import sys
from sinks.webhooks.outbox import Outbox
from tests.webhook_alerts import alert
box = Outbox(sys.argv[1])
for number in range(1_000_000):
    box.put([alert(1, group=str(number))], number)
    print(number, flush=True)
"""


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.db") as box:
        yield box


def _deliver(outbox: Outbox, count: int = 1) -> list[str]:
    """Deliver the first ones; their ids."""
    told = []
    for _ in range(count):
        waiting = outbox.first("ops")
        assert waiting is not None
        number = outbox.begin(waiting.alert, NOON_US)
        outbox.delivered(waiting.alert, delivery_of(waiting.alert, number, "delivered", "", NOON_US), NOON_US)
        told.append(waiting.alert.alert_id)
    return told


def test_what_put_has_taken_survives_sigkill(tmp_path: Path) -> None:
    path, drawn = tmp_path / "outbox.db", random.Random(5)
    for _ in range(3):
        running = subprocess.Popen(
            [sys.executable, "-c", _PUTTING, str(path)], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
        )
        assert running.stdout is not None
        told = [int(running.stdout.readline()) for _ in range(drawn.randint(5, 60))]
        running.send_signal(signal.SIGKILL)
        told += [int(line) for line in running.stdout.read().split("\n")[:-1]]
        running.wait()
        running.stdout.close()
        with Outbox(path) as outbox:
            assert outbox.unknown([alert(1, group=str(number)).alert_id for number in told]) == []


def test_several_put_and_one_delivers_at_once(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with Outbox(path) as outbox:

        def put(begin: int) -> None:
            with Outbox(path) as own:
                for number in range(begin, begin + 25):
                    own.put([alert(1, group=str(number)), resolved(2, group=str(number))], NOON_US)

        threads = [threading.Thread(target=put, args=(begin,)) for begin in (0, 10, 20)]
        for thread in threads:
            thread.start()
        told: list[str] = []

        def all_told() -> bool:
            told.extend(_deliver(outbox) if outbox.first("ops") is not None else [])
            return len(told) == 90

        until(all_told)
        for thread in threads:
            thread.join()
        assert outbox.first("ops") is None
    assert len(set(told)) == 90
    for number in range(45):
        first, last = (one.alert_id for one in (alert(1, str(number)), resolved(2, str(number))))
        assert told.index(first) < told.index(last)


def test_another_version_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    Outbox(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(StateError, match="is of version 9; this Andon reads 1"):
        Outbox(path)


def test_a_file_that_is_no_outbox_is_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "andon.toml"
    text.write_text("x" * 5_000)
    with pytest.raises(StateError, match="can't be used: file is not a database"):
        Outbox(text)
    assert text.read_text() == "x" * 5_000
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE mine (x)")
    database.close()
    with pytest.raises(StateError, match="is of version 0"):
        Outbox(other)
    with pytest.raises(StateError, match="can't be opened"):
        Outbox(tmp_path)


def test_a_full_disk_is_told_as_what_it_is(outbox: Outbox) -> None:
    with outbox._file.changing() as run:
        run("PRAGMA max_page_count = 30")
    with pytest.raises(StateError, match="can't be written: database or disk is full"):
        outbox.put([alert(1, group=str(number)) for number in range(1_000)], NOON_US)
    assert outbox.figures.counts() == {}
    assert outbox.put([alert(1)], NOON_US) == 1


def test_only_its_owner_can_read_it(outbox: Outbox, tmp_path: Path) -> None:
    outbox.put([alert(1)], NOON_US)
    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


def test_a_cursor_never_goes_back(outbox: Outbox) -> None:
    assert outbox.cursor("alert_log") is None
    for at in (5, 9, 7):
        outbox.move_cursor("alert_log", at)
    assert outbox.cursor("alert_log") == 9


def test_what_is_settled_is_forgotten_and_what_waits_is_not(outbox: Outbox) -> None:
    outbox.put([alert(1), alert(1, group="other")], NOON_US)
    _deliver(outbox)
    assert outbox.forget(NOON_US) == 0
    assert outbox.forget(NOON_US + 1) == 1
    assert outbox.figures.counts() == {"ops": {"waiting": 1}}
    assert outbox.unknown([alert(1).alert_id, alert(1, group="other").alert_id]) == [alert(1).alert_id]


def test_records_that_nobody_takes_are_bounded(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.webhooks.outbox.MOST_RECORDS", 3)
    outbox.put([alert(1)], NOON_US)
    for number in range(1, 6):
        outbox.retry(delivery_of(alert(1), number, "retrying", "", NOON_US), NOON_US)
    outbox.forget(0)
    last, kept = outbox.records(10)
    assert [one.attempt for one in kept] == [3, 4, 5]
    outbox.shipped(last)
    outbox.forget(0)
    assert outbox.records(10) == (0, [])


def test_what_stands_is_forgotten_with_its_receiver(outbox: Outbox) -> None:
    """A receiver that is in the settings no more leaves nothing behind; one that is touches what it says again."""
    outbox.put([alert(1)], NOON_US)
    outbox.delivered(alert(1), delivery_of(alert(1), 1, "delivered", "", NOON_US), NOON_US, NOON_US + 5)
    assert outbox.next_standing("ops") == Standing(alert(1), NOON_US + 5, 0)
    outbox.resent(alert(1), NOON_US + 10, NOON_US + 15, 0)
    outbox.forget(NOON_US + 10)
    assert outbox.next_standing("ops") == Standing(alert(1), NOON_US + 15, 0)
    outbox.forget(NOON_US + 11)
    assert outbox.next_standing("ops") is None


def test_an_alert_that_comes_earlier_than_the_one_that_waits_goes_first(outbox: Outbox) -> None:
    outbox.put([alert(3)], NOON_US)
    outbox.postpone(alert(3), NOON_US + 1_000)
    outbox.put([alert(2)], NOON_US)
    outbox.put([alert(1)], NOON_US)
    assert _deliver(outbox, 3) == [alert(number).alert_id for number in (1, 2, 3)]
    assert outbox.first("ops") is None
