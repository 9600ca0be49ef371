"""A bounded job over a database that takes no rows: it says why it waits, goes on, or ends when it is told to."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from dataflows.job import process_map_of, run_job
from dataflows.settings import load_settings
from schemas.errors import Stopped, StoreUnavailable
from sinks.clickhouse.dsn import Embedded
from sinks.clickhouse.store import Store

ORDER = (
    b'{"type":"order.created","event_id":"1","source":"oms","system":"oms","occurred_at":"2026-03-02T00:00:00Z",'
    b'"order_id":"o1","lines":[]}\n'
)


class FullStore:
    """Stands for a store on a full disk, which nobody can fill in a test: it refuses so many blocks."""

    def __init__(self, refusals: float) -> None:
        self.target, self.taken = Embedded(Path("full.db")), 0
        self._refusals = refusals

    def insert(self, *block: object) -> None:
        del block
        self._refusals -= 1
        if self._refusals >= 0:
            raise StoreUnavailable("No space left on device (NOT_ENOUGH_SPACE)")
        self.taken += 1


def run(store: FullStore, folder: Path, tell: Callable[[str], None]) -> None:
    (folder / "log.jsonl").write_bytes(ORDER)
    settings = load_settings(None)
    process = process_map_of(settings, None)
    run_job(settings, process, [str(folder / "log.jsonl")], cast("Store", store), on_waiting=tell)


def test_a_wait_is_said_once_and_its_end_too(tmp_path: Path) -> None:
    store, said = FullStore(2), list[str]()
    run(store, tmp_path, said.append)
    begin, end = said
    assert begin == "waiting for the database, which does not take rows: No space left on device (NOT_ENOUGH_SPACE)"
    assert end.startswith("the database takes rows again, after ")
    assert store.taken


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait(number: signal.Signals, tmp_path: Path) -> None:
    store = FullStore(float("inf"))
    with pytest.raises(Stopped, match="stopped while waiting for the database"):
        run(store, tmp_path, lambda _: signal.raise_signal(number))
    assert not store.taken
