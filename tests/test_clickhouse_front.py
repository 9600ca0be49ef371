"""The front that other tests build on: what it must not get wrong itself."""

import http.client
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from schemas.errors import StoreUnavailable
from sinks.clickhouse.store import open_store
from tests.clickhouse_front import ClickHouseFront
from tests.processes import ROOT, environment

TABLE = (
    "CREATE TABLE IF NOT EXISTS t (x UInt64) ENGINE = MergeTree ORDER BY x "
    "SETTINGS non_replicated_deduplication_window = 10000"
)


def test_killed_at_any_time_it_has_what_it_acknowledged_and_knows_the_tokens(tmp_path: Path) -> None:
    chance = random.Random(7)
    acknowledged: list[int] = []
    with ClickHouseFront(tmp_path / "db") as front:
        for attempt in range(4):
            with open_store(front.dsn_of("default")) as store:
                store.command(TABLE)
                killer = threading.Timer(chance.uniform(0.02, 0.3), os.kill, (front.pid, signal.SIGKILL))
                killer.start()
                try:
                    for number in range(attempt * 1_000, attempt * 1_000 + 1_000):
                        store.insert("t", [[number] * 10], ["x"], f"token-{number}")
                        acknowledged.append(number)
                except StoreUnavailable:
                    pass
                killer.join()
            front.kill()
            front.start()
        with open_store(front.dsn_of("default")) as store:
            found = dict(store.query("SELECT x, count() FROM t GROUP BY x").rows)
            assert set(acknowledged) <= set(found)
            assert len(found) <= len(acknowledged) + 4, "one more each time: carried out, not answered"
            for number in found:
                store.insert("t", [[number] * 10], ["x"], f"token-{number}")
            again = dict(store.query("SELECT x, count() FROM t GROUP BY x").rows)
            assert again == found
            assert set(found.values()) == {10}


def test_it_is_run_by_hand_with_faults_in_a_file(tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text('{"steps": ["503"], "everything": true}')
    command = [sys.executable, "-m", "tests.clickhouse_front", "--path", str(tmp_path / "db"), "--port", "0"]
    with subprocess.Popen(
        [*command, "--faults", str(faults)], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        with pytest.raises(StoreUnavailable, match="503"):
            open_store(f"http://127.0.0.1:{port}/andon")
        open_store(f"http://127.0.0.1:{port}/andon").close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    front = ClickHouseFront(tmp_path / "db")
    front.start()
    process = front._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(30) == 0
    front.stop()


def test_a_script_it_does_not_know_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such step: 'explode'"), ClickHouseFront(tmp_path / "db") as front:
        front.faults("explode")
    with ClickHouseFront(tmp_path / "db") as front:
        connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=30)
        connection.request("POST", "/_faults", b'{"steps": ["explode"]}')
        answer = connection.getresponse()
        assert (answer.status, b"no such step: 'explode'" in answer.read()) == (400, True)
        connection.request("GET", "/ping")
        assert connection.getresponse().read() == b"Ok.\n"
        connection.close()
