"""The HTTP path with what goes wrong on it, by script, in a front over the real engine (tests/clickhouse_front.py)."""

import gc
import itertools
import logging
import os
import random
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import BlockRejected, StoreRefused, StoreUnavailable
from schemas.rows import DeadLetter, Health
from sinks.clickhouse.failures import understood
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import Store, open_store, open_store_waiting
from sinks.clickhouse.waiting import Waiting
from sinks.clickhouse.writer import BlockWriter
from tests.clickhouse_front import ClickHouseFront
from tests.clickhouse_rows import health
from tests.clickhouse_stores import FakeTime, Recorder, counts

TABLE = Health.TABLE
#: Steps after which the block is not in, or the writer can't know; a lost connection is retried once by the driver.
PASSING = ["503", "502", "429", "readonly", "too_many_parts", "memory", "code:202", "code:319", "late:241", "text:241"]
BROKEN = ["reset", "lose", "cut"]
_runs = itertools.count()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseFront]:
    with ClickHouseFront(tmp_path_factory.mktemp("http") / "db") as started:
        with open_store(started.dsn) as store:
            migrate(store)
            store.command(f"SYSTEM STOP MERGES {TABLE}")
        yield started


@pytest.fixture
def store(front: ClickHouseFront) -> Iterator[Store]:
    if not front.running:
        front.start()
    front.faults()
    with open_store(front.dsn) as opened:
        opened.command(f"SYSTEM STOP MERGES {TABLE}")
        opened.command(f"TRUNCATE TABLE {TABLE}")
        opened.command("TRUNCATE TABLE dead_letter_log")
        yield opened


def _rows(numbers: Sequence[int], messages: int = 1) -> list[Health]:
    return [health(number, messages) for number in numbers]


def _writer(store: Store, time: FakeTime, watch: Recorder | None = None, **options: int) -> BlockWriter:
    return BlockWriter(
        store,
        f"run-{next(_runs)}",
        patience_s=None,
        watch=watch,
        sleep=time.sleep,
        clock=time.clock,
        jitter=random.Random(1),
        **options,
    )


def _told(front: ClickHouseFront) -> dict[str, list[str]]:
    """What was done to each block, by its token."""
    found: dict[str, list[str]] = {}
    for seen in front.seen():
        found.setdefault(seen.token, []).append(seen.step)
    return found


def test_a_block_leaves_nothing_for_the_collector(store: Store) -> None:
    writer = _writer(store, FakeTime(), max_rows=10)
    gc.collect()
    gc.disable()  # a running job sweeps only every few minutes
    try:
        for begin in range(0, 1_000, 10):
            writer.write(_rows(range(begin, begin + 10)))
        writer.flush()
        assert gc.collect() < 50, "of 100 blocks"
    finally:
        gc.enable()
    assert counts(store, TABLE) == (1_000, 1_000)


@pytest.mark.parametrize("step", [*PASSING, *BROKEN])
def test_a_fault_costs_no_row_and_doubles_none(front: ClickHouseFront, store: Store, step: str) -> None:
    time, watch = FakeTime(), Recorder()
    writer = _writer(store, time, watch, max_rows=4)
    times = 2 if step == "cut" else 6
    front.faults(*[step] * times)
    writer.write(_rows(range(10)))
    assert writer.flush() == []
    assert counts(store, TABLE) == (10, 10), "without FINAL, too: the token stops repeats at the door"
    told = _told(front)
    assert len(told) == writer.blocks == 3, "one token a block, whatever became of its attempts"
    assert sorted(map(len, told.values())) == [1, 1, 1 + times]
    waits = times // 2 if step in {"reset", "lose"} else times  # the driver itself tries again once, too
    assert (writer.retries, len(watch.waits)) == (waits, waits)
    assert [count for _, count, _ in watch.blocks] == [4, 4, 2]
    assert watch.recoveries == [pytest.approx(time.now)]


def test_answers_without_a_summary_are_believed_in_the_end(front: ClickHouseFront, store: Store) -> None:
    writer = _writer(store, FakeTime(), max_rows=4)
    front.faults(*["bare"] * 6)
    writer.write(_rows(range(10)))
    writer.flush()
    assert (writer.retries, front.left(), counts(store, TABLE)) == (2, ["bare"], (10, 10))
    for rows, fault in ((range(10, 14), "pass"), (range(14, 18), "cut")):
        front.faults(fault)
        writer.write(_rows(rows))
        writer.flush()
    assert (writer.retries, counts(store, TABLE)) == (3, (18, 18)), "and missed again once one has come"


def test_slow_is_no_fault(front: ClickHouseFront, store: Store) -> None:
    watch = Recorder()
    writer = _writer(store, FakeTime(), watch)
    front.faults("slow:0.2")
    writer.write(_rows(range(10)))
    writer.flush()
    assert (watch.waits, watch.recoveries, counts(store, TABLE)) == ([], [], (10, 10))


@settings(deadline=None, max_examples=20)
@given(
    steps=st.lists(st.sampled_from(["pass", "slow:0.01", *PASSING[:4], *BROKEN]), max_size=8),
    cuts=st.lists(st.integers(0, 30), max_size=3),
    max_rows=st.integers(2, 30),
)
def test_whatever_mixture_each_row_is_in_once(
    front: ClickHouseFront, steps: list[str], cuts: list[int], max_rows: int
) -> None:
    front.faults()
    with open_store(front.dsn) as store:
        store.command(f"TRUNCATE TABLE {TABLE}")
        time, watch = FakeTime(), Recorder()
        writer = _writer(store, time, watch, max_rows=max_rows, max_pending=max_rows)
        front.faults(*steps)
        edges = [0, *sorted(cuts), 30]
        for begin, end in itertools.pairwise(edges):
            writer.write(_rows(range(begin, end)))
            assert writer.pending < max_rows
        writer.flush()
        assert counts(store, TABLE) == (30, 30)
        assert len(_told(front)) == writer.blocks == len(watch.blocks)
        assert sum(count for _, count, _ in watch.blocks) == writer.rows == 30
        assert writer.retries == len(watch.waits) <= len(steps)


def test_a_bad_row_is_found_through_faults_and_the_rest_is_in(front: ClickHouseFront, store: Store) -> None:
    store.command(f"ALTER TABLE {TABLE} ADD CONSTRAINT small CHECK messages < 1000")
    watch = Recorder()
    writer = _writer(store, FakeTime(), watch)
    steps = ["pass", "lose", "503", "pass", "too_many_parts", "pass", "reset", "cut", "lose", "lose", "503"]
    try:
        front.faults(*steps)
        writer.write([*_rows(range(57)), *_rows([57], 5_000), *_rows([58], -1), *_rows(range(59, 100))])
        letters = writer.flush()
    finally:
        store.command(f"ALTER TABLE {TABLE} DROP CONSTRAINT small")
    assert front.left() == []
    assert sorted("VIOLATED_CONSTRAINT" in letter.detail for letter in letters) == [False, True]
    assert watch.letters == letters
    assert counts(store, TABLE) == (98, 98)
    assert counts(store, "dead_letter_log") == (2, 2)


def test_a_block_too_large_for_a_proxy_is_halved(front: ClickHouseFront, store: Store) -> None:
    writer = _writer(store, FakeTime())
    front.faults("413", "413")
    writer.write(_rows(range(100)))
    assert writer.flush() == []
    assert (writer.blocks, counts(store, TABLE)) == (3, (100, 100))


def test_a_block_that_takes_more_memory_than_a_statement_may_is_halved(store: Store) -> None:
    """A profile's limit holds however idle the server is; what all statements take together is waited for."""
    store._insert_settings["max_memory_usage"] = 20_000_000
    letters = [
        DeadLetter("t", 0, number, "schema", "", "", "", "", random.Random(number).randbytes(1_000), 0)
        for number in range(20_000)
    ]
    time = FakeTime()
    writer = BlockWriter(store, f"run-{next(_runs)}", patience_s=60, sleep=time.sleep, clock=time.clock)
    writer.write(letters)
    assert writer.flush() == []
    assert (writer.retries, time.sleeps, counts(store, DeadLetter.TABLE)) == (0, [], (20_000, 20_000))
    assert writer.blocks > 2
    shared = DatabaseError("Code: 241. DB::Exception: (total) memory limit exceeded: would use 9.00 GiB", code=241)
    assert type(understood(shared, inserting=True)) is StoreUnavailable


def test_a_text_that_is_an_error_is_one_whatever_came_before_it(front: ClickHouseFront, store: Store) -> None:
    """Where a proxy takes ClickHouse's headers out, nothing else says that the block is not in."""
    writer = _writer(store, FakeTime())
    front.faults("text:117", "text:117")
    writer.write(_rows(range(100)))
    assert writer.flush() == []
    assert (writer.blocks, counts(store, TABLE)) == (3, (100, 100)), "refused as if it had been said in time: halved"
    front.faults(always="text:60", everything=True)
    with pytest.raises(StoreRefused, match="UNKNOWN_TABLE"):
        store.command(f"TRUNCATE TABLE {TABLE}")
    front.faults()
    assert counts(store, TABLE) == (100, 100)


@pytest.mark.parametrize(("step", "words"), [("denied", "GRANT"), ("404", "not ClickHouse"), ("401", "not ClickHouse")])
def test_what_waiting_does_not_help_stops_with_words(
    front: ClickHouseFront, store: Store, step: str, words: str
) -> None:
    time = FakeTime()
    writer = _writer(store, time)
    front.faults(step)
    writer.write(_rows(range(3)))
    with pytest.raises(StoreRefused, match=words):
        writer.flush()
    assert (time.sleeps, writer.pending) == ([], 3)
    writer.flush()
    assert counts(store, TABLE) == (3, 3)


def test_a_schema_that_does_not_fit_stops_with_words(front: ClickHouseFront, store: Store) -> None:
    with open_store(front.dsn_of("other")) as other:
        migrate(other)
        other.command(f"ALTER TABLE {TABLE} DROP COLUMN bytes")
        writer = _writer(other, FakeTime())
        writer.write(_rows(range(3)))
        with pytest.raises(StoreRefused, match="andon migrate"):
            writer.flush()
        other.command(f"ALTER TABLE {TABLE} ADD COLUMN bytes UInt64")
        writer.flush()
        other.command(f"ALTER TABLE {TABLE} DROP COLUMN bytes")  # under a connection that knew it
        writer.write(_rows(range(3, 6)))
        with pytest.raises(StoreRefused, match="andon migrate"):
            writer.flush()
        other.command("DROP DATABASE other SYNC")
        with pytest.raises(StoreRefused, match="andon migrate"):
            writer.flush()
    del store


@pytest.mark.parametrize("step", ["die", "die_after"])
def test_a_server_killed_in_the_middle_of_an_insert(front: ClickHouseFront, store: Store, step: str) -> None:
    time = FakeTime()
    watch = Recorder()

    def restart_after_a_while(seconds: float) -> None:
        time.now += seconds
        if time.now > 20 and not front.running:
            front.start()

    writer = BlockWriter(
        store, f"run-{step}", patience_s=None, watch=watch, sleep=restart_after_a_while, clock=time.clock
    )
    writer.write(_rows(range(10)))
    writer.flush()
    front.faults(step)
    writer.write(_rows(range(10, 5_000)))
    writer.flush()
    assert counts(store, TABLE) == (5_000, 5_000)
    assert watch.waits[0][0].endswith("connection refused")
    (waited_s,) = watch.recoveries
    assert waited_s == pytest.approx(time.now)


@pytest.mark.parametrize("beside", [False, True])
def test_ten_minutes_without_a_server_hold_the_source_back(front: ClickHouseFront, store: Store, beside: bool) -> None:
    """The clock is false, the server really is gone: each attempt goes to its port."""
    time, watch = FakeTime(), Recorder()
    read: list[int] = []
    held: list[tuple[int, int]] = []

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        held.append((writer.pending, len(read)))
        if time.now >= 600 and not front.running:
            front.start()

    options = {"max_rows": 100, "max_age_s": 1e9, "patience_s": None, "beside": beside}
    writer = BlockWriter(store, f"run-away-{beside}", watch=watch, sleep=sleep, clock=time.clock, **options)  # type: ignore[arg-type] # of several types
    for begin in range(0, 1_000, 30):
        if begin == 480:
            front.kill()
        batch = range(begin, min(begin + 30, 1_000))
        read += batch
        writer.write(_rows(batch))
    writer.flush()
    (pending,) = {pending for pending, _ in held}
    if beside:
        assert 120 <= pending < 400 + 30, "max_pending and one call of write, however fast the thread was"
    else:
        assert pending == 120, "max_rows and one call of write"
    assert len({count for _, count in held}) == 1, "nothing was read while the server was away"
    assert 600 <= watch.recoveries[0] <= 630
    pauses = [pause for _, pause, _ in watch.waits]
    assert all(0.25 <= pause <= 30 for pause in pauses)
    assert max(pauses[:2]) < min(pauses[5:]), "they grow"
    assert len({round(pause, 6) for pause in pauses[8:]}) == len(pauses[8:]), "and no two are the same"
    assert max(time.sleeps) <= 1.0
    assert watch.ticks >= len(time.sleeps), "in the waits, and where the thread is waited for"
    assert counts(store, TABLE) == (1_000, 1_000)


def test_a_server_that_hangs_is_unavailable_in_time(front: ClickHouseFront) -> None:
    with open_store(front.dsn, answer_timeout_s=1) as store:
        store.command(f"TRUNCATE TABLE {TABLE}")
        front.faults("hang")
        time, watch = FakeTime(), Recorder()
        writer = _writer(store, time, watch)
        writer.write(_rows(range(3)))
        writer.flush()
        assert [error.partition(": ")[2] for error, _, _ in watch.waits] == ["no answer in time"]
        assert counts(store, TABLE) == (3, 3)
    front.suspend()
    began_s = monotonic()
    try:
        with pytest.raises(StoreUnavailable, match="no answer in time"):
            open_store(front.dsn, answer_timeout_s=1)
    finally:
        front.resume()
    assert monotonic() - began_s < 5


def test_a_server_that_hangs_does_not_keep_who_ends(front: ClickHouseFront) -> None:
    with open_store(front.dsn, answer_timeout_s=60) as store:
        front.faults("hang")
        writer = BlockWriter(store, "run-1", max_rows=3)
        writer.write(_rows(range(3)))
        began_s = monotonic()
        writer.close()
    assert monotonic() - began_s < 15, "not the minute that an answer may take"
    front.kill()  # so that the thread ends here, too


def test_a_database_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    front = ClickHouseFront(tmp_path / "db", port=port)
    time, watch = FakeTime(), Recorder()

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        if time.now > 60 and not front.running:
            front.start()
            front.faults("503", "503", everything=True)  # as from a balancer that has no server yet

    try:
        waiting = Waiting(watch=watch, sleep=sleep, clock=time.clock)
        with open_store_waiting(front.dsn, waiting=waiting) as store:
            assert migrate(store)
    finally:
        front.stop()
    words = [error.partition("reached: ")[2] for error, _, _ in watch.waits]
    assert words == ["connection refused"] * (len(words) - 2) + ["HTTP status 503"] * 2
    assert len(watch.recoveries) == 1


def test_a_watch_ends_the_waiting_for_a_database() -> None:
    class Impatient(Recorder):
        def tick(self) -> None:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        open_store_waiting("http://127.0.0.1:1/andon", watch=Impatient())


def test_a_wrong_password_and_a_wrong_scheme_stop_with_words(tmp_path: Path) -> None:
    with ClickHouseFront(tmp_path / "db", password="right") as front:  # noqa: S106 - of this test's own server
        open_store(front.dsn, password="right").close()  # noqa: S106 - as above
        for password in (None, "wrong"):
            with pytest.raises(StoreRefused, match="ANDON_CLICKHOUSE_PASSWORD"):
                open_store_waiting(front.dsn, password=password)
        with pytest.raises(StoreRefused, match="check scheme and port"):
            open_store_waiting(front.dsn.replace("http://", "https://"))


def test_answers_that_break_off_are_not_taken_for_empty_ones(front: ClickHouseFront, store: Store) -> None:
    front.faults("cut", "reset", "reset", everything=True)
    for words in ("broke off", "connection reset"):
        with pytest.raises(StoreUnavailable, match=words):
            store.query("SELECT 1")
    assert store.query("SELECT 1").rows == [(1,)]


def test_faults_are_told_to_the_watch_and_nobody_else(
    front: ClickHouseFront, store: Store, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.WARNING)
    writer = _writer(store, FakeTime(), Recorder())
    front.faults("503", "reset", "reset", "lose", "cut", "denied")
    writer.write([*_rows(range(3)), *_rows([3], -1)])
    with pytest.raises(StoreRefused):
        writer.flush()
    with pytest.raises(BlockRejected):
        store.insert(TABLE, [["x"]], ["messages"], "token")
    front.kill()
    with pytest.raises(StoreUnavailable):
        open_store(front.dsn)
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_a_closed_store_leaves_no_connection(front: ClickHouseFront) -> None:
    if not front.running:
        front.start()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are all that is wanted
    for _ in range(3):
        with open_store(front.dsn) as store:
            store.query("SELECT 1")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above
