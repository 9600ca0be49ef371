"""Blocks sent beside the caller: what the thread does, and what is left to who waits for it."""

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import BlockRejected, StoreRefused, StoreUnavailable
from schemas.incident_rows import AlertDecision
from schemas.rows import DeadLetter, DuplicateEvent, Health, Row, StockWindow
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.sending import Sending
from sinks.clickhouse.store import Store, open_store
from sinks.clickhouse.writer import BlockWriter
from tests.clickhouse_rows import T0, health, so_many
from tests.clickhouse_stores import FakeTime, Recorder

DEADLINE_S = 30.0


class Door:
    """Stands in for a store: an insert waits until the door is open; what the script names goes wrong."""

    def __init__(self, *script: Exception | None, is_open: bool = True) -> None:
        self.open = threading.Event()
        if is_open:
            self.open.set()
        self.entered = threading.Semaphore(0)
        self.blocks: list[tuple[str, list[object]]] = []
        self.threads: set[int] = set()
        self._script = list(script)
        self._alone = threading.Lock()

    def insert(self, table: str, columns: Sequence[Sequence[object]], names: Sequence[str], token: str) -> None:
        del names, token
        assert self._alone.acquire(blocking=False), "one block at a time"
        self.threads.add(threading.get_ident())
        self.entered.release()
        try:
            assert self.open.wait(DEADLINE_S)
            error = self._script.pop(0) if self._script else None
            if error is not None:
                raise error
            self.blocks.append((table, list(columns[0])))
        finally:
            self._alone.release()


class Here(Recorder):
    """A watch that writes down which threads call it, and does something at each tick."""

    def __init__(self, at_tick: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.threads: set[int] = set()
        self._at_tick = at_tick

    def written(self, record: type[Row], rows: Sequence[Row], seconds: float) -> None:
        self.threads.add(threading.get_ident())
        super().written(record, rows, seconds)

    def waiting(self, error: StoreUnavailable, pause_s: float, waited_s: float) -> None:
        self.threads.add(threading.get_ident())
        super().waiting(error, pause_s, waited_s)

    def tick(self) -> None:
        self.threads.add(threading.get_ident())
        super().tick()
        self._at_tick()

    def recovered(self, waited_s: float) -> None:
        self.threads.add(threading.get_ident())
        super().recovered(waited_s)

    def refused(self, letters: Sequence[DeadLetter]) -> None:
        self.threads.add(threading.get_ident())
        super().refused(letters)


def _rows(begin: int, end: int) -> list[Health]:
    return [health(number) for number in range(begin, end)]


def _decision(number: int) -> AlertDecision:
    return AlertDecision(f"d{number}", "i1", "operations", "notified", "a1", "first", T0, T0, 1)


def _writer(door: Door, watch: Recorder | None = None, **options: int) -> BlockWriter:
    time = FakeTime()
    return BlockWriter(door, "run-1", watch=watch, sleep=time.sleep, clock=time.clock, **options)  # type: ignore[arg-type] # stands in for a store


def _names(door: Door) -> list[object]:
    return [name for _, names in door.blocks for name in names]


def _sending() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "clickhouse"]


def test_the_caller_goes_on_while_a_block_is_under_way() -> None:
    door = Door(is_open=False)
    watch = Here(door.open.set)
    writer = _writer(door, watch, max_rows=10)
    writer.write(_rows(0, 10))
    assert door.entered.acquire(timeout=DEADLINE_S)
    for begin in range(10, 39):
        writer.write(_rows(begin, begin + 1))
    assert (writer.pending, writer.rows, watch.blocks, watch.ticks) == (39, 0, [], 0), "nothing was waited for"
    writer.write(_rows(39, 40))
    assert watch.ticks > 0, "forty rows may be held: it was waited for, with heartbeats"
    assert writer.rows >= 10
    assert watch.blocks[0][:2] == (Health, 10)
    assert writer.flush() == []
    assert (writer.pending, writer.rows, _names(door)) == (0, 40, [row.component for row in _rows(0, 40)])
    assert watch.threads == {threading.get_ident()}, "whatever is told, is told on the caller's thread"
    assert door.threads - watch.threads, "and sent on others"
    assert _sending() == []


def test_rows_that_are_a_second_old_go_without_holding_the_caller() -> None:
    door, time = Door(is_open=False), FakeTime()
    writer = BlockWriter(door, "run-1", sleep=time.sleep, clock=time.clock)  # type: ignore[arg-type] # stands in for a store
    writer.write([*_rows(0, 3), DuplicateEvent("orders", 0, 9, "t", "s", "e", T0, T0)])
    time.now = 1.0
    writer.write(_rows(3, 4))
    assert door.entered.acquire(timeout=DEADLINE_S)
    time.now = 2.5
    writer.write(_rows(4, 5))
    door.open.set()
    writer.flush()
    tables = [table for table, _ in door.blocks]
    assert tables == ["duplicate_event_log", "pipeline_health_log", "pipeline_health_log"]
    assert _names(door)[1:] == [row.component for row in _rows(0, 5)]


def test_what_somebody_waits_for_goes_sooner_and_first() -> None:
    door, time = Door(), FakeTime()
    writer = BlockWriter(door, "run-1", max_age_s=1.0, prompt_age_s=0.25, sleep=time.sleep, clock=time.clock)  # type: ignore[arg-type] # stands in for a store
    copy = DuplicateEvent("orders", 0, 9, "t", "s", "e", T0, T0)
    writer.write([copy, *_rows(0, 1), _decision(0)])
    time.now = 0.2
    writer.write([_decision(1)])
    assert door.blocks == [], "a quarter of a second has not gone by"
    time.now = 0.25
    writer.write([])
    _through(door)
    assert door.blocks == [("alert_decision_log", ["d0", "d1"])], "and nothing else, though it is time"
    time.now = 0.9
    writer.write(so_many({StockWindow: 1}))
    time.now = 1.0
    writer.write([])
    writer.flush()
    assert [table for table, _ in door.blocks[1:]] == [
        "stock_windows",
        "duplicate_event_log",
        "pipeline_health_log",
    ]


def test_what_somebody_waits_for_overtakes_blocks_that_wait_for_the_thread() -> None:
    door, time = Door(is_open=False), FakeTime()
    writer = BlockWriter(door, "run-1", max_age_s=1.0, prompt_age_s=0.25, sleep=time.sleep, clock=time.clock)  # type: ignore[arg-type] # stands in for a store
    writer.write([DuplicateEvent("orders", 0, 9, "t", "s", "e", T0, T0), *_rows(0, 1)])
    time.now = 1.0
    writer.write([])
    assert door.entered.acquire(timeout=DEADLINE_S)
    writer.write([_decision(0)])
    time.now = 1.3
    writer.write([])
    _through(door)
    writer.flush()
    assert [table for table, _ in door.blocks] == ["duplicate_event_log", "alert_decision_log", "pipeline_health_log"]
    assert (writer.rows, writer.blocks, writer.pending) == (3, 3, 0)


def test_what_waited_in_a_long_batch_goes_at_its_end() -> None:
    door, time = Door(), FakeTime()
    writer = BlockWriter(door, "run-1", max_age_s=1.0, prompt_age_s=0.25, sleep=time.sleep, clock=time.clock)  # type: ignore[arg-type] # stands in for a store
    writer.write([])
    time.now = 0.2
    writer.write(_rows(0, 1))
    time.now = 0.44
    writer.write([_decision(0)])
    assert door.blocks == []
    time.now = 0.45
    writer.write([_decision(1)])
    _through(door)
    assert door.blocks == [("alert_decision_log", ["d0", "d1"])], "all else waits on"
    writer.flush()


def test_a_writer_that_is_hastened_sends_all_that_waits_and_is_not_waited_for() -> None:
    door = Door(is_open=False)
    writer = _writer(door)
    writer.hasten()
    assert _sending() == [], "nothing waits"
    copy = DuplicateEvent("orders", 0, 9, "t", "s", "e", T0, T0)
    writer.write(_rows(0, 1))
    writer.hasten()
    assert door.entered.acquire(timeout=DEADLINE_S)
    writer.write([*_rows(1, 2), copy, _decision(0)])
    writer.hasten()
    writer.write([_decision(1)])
    writer.hasten()
    assert (door.blocks, writer.pending) == ([], 5)
    door.open.set()
    _ended()
    tables = ["pipeline_health_log", "alert_decision_log", "duplicate_event_log"]
    assert [table for table, _ in door.blocks] == tables, "all but what came to a kind of which a block is under way"
    writer.hasten()
    _ended()
    assert [table for table, _ in door.blocks[3:]] == ["alert_decision_log", "pipeline_health_log"]
    writer.flush()
    assert (writer.rows, writer.blocks, writer.pending) == (5, 5, 0)


def test_without_a_thread_there_is_nothing_to_hasten() -> None:
    door = Door()
    writer = _writer(door, beside=False)
    writer.write(_rows(0, 1))
    writer.hasten()
    assert (door.blocks, writer.pending) == ([], 1)


def test_a_sending_tells_of_each_block_once_and_takes_none_when_it_has_ended() -> None:
    went: list[type[Row]] = []
    goes_on = threading.Event()

    def bring_in(kind: type[Row], _rows: Sequence[Row]) -> None:
        went.append(kind)
        assert goes_on.wait(DEADLINE_S)
        if kind is DeadLetter:
            raise BlockRejected("no")

    sending = Sending([(Health, _rows(0, 1)), (DeadLetter, [])], bring_in, FakeTime().clock)
    assert sending.add([(AlertDecision, [_decision(0)]), (DuplicateEvent, [])], first=True)
    goes_on.set()
    _ended()
    assert went[-3:] == [AlertDecision, DuplicateEvent, DeadLetter]
    assert not sending.add([(AlertDecision, [_decision(1)])], first=True)
    assert [fate.kind for fate in sending.taken()] == went[:-1]
    assert sending.taken() == []
    assert [(fate.kind, str(fate.error)) for fate in sending.fates(lambda: None)] == [(DeadLetter, "no")]


def test_rows_that_nothing_follows_go_when_the_writer_is_called_with_none() -> None:
    door, time = Door(), FakeTime()
    writer = BlockWriter(door, "run-1", max_age_s=1.0, sleep=time.sleep, clock=time.clock)  # type: ignore[arg-type] # stands in for a store
    writer.write([])
    time.now = 0.5
    writer.write(_rows(0, 1))
    time.now = 1.4
    writer.write([])
    assert _sending() == [], "it has waited for less than a second"
    time.now = 1.5
    writer.write([])
    _through(door)
    assert _names(door) == ["orders/0"]


@pytest.mark.parametrize("error", [StoreRefused("no right"), RuntimeError("a bug")])
@pytest.mark.parametrize("how", ["write", "flush"])
def test_what_the_thread_ran_into_is_raised_in_the_next_call(error: Exception, how: str) -> None:
    door = Door(error, is_open=False)
    writer = _writer(door, max_rows=10)
    writer.write(_rows(0, 10))
    _through(door)
    with pytest.raises(type(error), match=str(error)):
        writer.write([]) if how == "write" else writer.flush()
    assert (writer.pending, door.blocks) == (10, []), "the rows are kept"
    writer.flush()
    assert _names(door) == [row.component for row in _rows(0, 10)]


def test_a_failed_attempt_counts_as_the_first_of_the_retries() -> None:
    door, watch = Door(StoreUnavailable("away"), StoreUnavailable("still"), is_open=False), Here()
    writer = _writer(door, watch, max_rows=10)
    writer.write(_rows(0, 10))
    _through(door)
    writer.write([])
    assert [error for error, _, _ in watch.waits] == ["away", "still"]
    assert (writer.retries, writer.rows, len(watch.recoveries)) == (2, 10, 1)
    assert watch.threads == {threading.get_ident()}


def test_blocks_behind_a_failure_are_not_sent_before_it_is_settled() -> None:
    door = Door(StoreUnavailable("away"), is_open=False)
    writer = _writer(door, max_rows=1)
    writer.write([*_rows(0, 1), DuplicateEvent("orders", 0, 9, "t", "s", "e", T0, T0)])
    _through(door)
    assert door.blocks == []
    writer.flush()
    assert sorted(table for table, _ in door.blocks) == ["duplicate_event_log", "pipeline_health_log"]


def test_blocks_behind_a_failure_go_by_age_though_no_row_follows() -> None:
    door, time = Door(StoreUnavailable("away")), FakeTime()
    writer = BlockWriter(door, "run-1", max_age_s=1.0, sleep=time.sleep, clock=time.clock)  # type: ignore[arg-type] # stands in for a store
    writer.write([*_rows(0, 1), DuplicateEvent("orders", 0, 9, "t", "s", "e", T0, T0)])
    time.now = 1.0
    for _ in range(3):  # sends, settles, sends what was behind
        writer.write([])
        _ended()
        time.now += 1.0
    assert [table for table, _ in door.blocks] == ["duplicate_event_log", "pipeline_health_log"]


def test_a_refused_block_is_halved_on_the_callers_thread() -> None:
    door, watch = Door(BlockRejected("in it"), BlockRejected("in it"), is_open=False), Here()
    writer = _writer(door, watch, max_rows=2)
    writer.write(_rows(0, 2))
    _through(door)
    (letter,) = writer.write([])
    assert (letter.topic, letter.detail, watch.letters) == ("andon.pipeline_health_log", "in it", [letter])
    assert (watch.recoveries, writer.rejected) == ([], 1)
    writer.flush()
    assert [table for table, _ in door.blocks] == ["pipeline_health_log", "dead_letter_log"]
    assert watch.threads == {threading.get_ident()}


def test_a_watch_ends_the_waiting_for_the_thread_and_nothing_is_sent_twice() -> None:
    def give_up() -> None:
        raise InterruptedError

    door = Door(is_open=False)
    writer = _writer(door, Here(give_up), max_rows=10)
    writer.write(_rows(0, 10))
    for _ in range(2):
        with pytest.raises(InterruptedError):
            writer.flush()
    assert writer.pending == 10
    door.open.set()
    writer.flush()
    assert (writer.pending, _names(door)) == (0, [row.component for row in _rows(0, 10)])


def test_closing_waits_for_the_block_under_way_and_sends_no_more() -> None:
    door = Door(is_open=False)
    writer = _writer(door, max_rows=1)
    writer.write([*_rows(0, 1), DuplicateEvent("orders", 0, 9, "t", "s", "e", T0, T0)])
    assert door.entered.acquire(timeout=DEADLINE_S)
    threading.Timer(0.1, door.open.set).start()
    writer.close()
    assert (len(door.blocks), _sending()) == (1, [])
    writer.close()


def test_a_sending_ends_with_its_first_failure() -> None:
    def bring_in(kind: type[Row], rows: Sequence[Row]) -> None:
        if kind is Health:
            raise StoreUnavailable(str(len(rows)))

    blocks: list[tuple[type[Row], list[Row]]] = [(DeadLetter, []), (Health, []), (DuplicateEvent, [])]
    fates = Sending(blocks, bring_in, FakeTime().clock).fates(lambda: None)
    assert [(fate.kind, str(fate.error)) for fate in fates] == [(DeadLetter, "None"), (Health, "0")]


@settings(deadline=None, max_examples=60)
@given(
    script=st.lists(st.sampled_from(["pass", "away", "refused"]), max_size=10),
    cuts=st.lists(st.integers(0, 40), max_size=8),
    max_rows=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_each_row_is_in_once_or_a_dead_letter_and_never_too_many_are_held(
    script: list[str], cuts: list[int], max_rows: int, seed: int
) -> None:
    errors = {"pass": None, "away": StoreUnavailable("away"), "refused": BlockRejected("refused")}
    door, watch, chance, time = Door(*(errors[step] for step in script)), Here(), random.Random(seed), FakeTime()
    writer = BlockWriter(
        door,  # type: ignore[arg-type] # stands in for a store
        "run-1",
        max_rows=max_rows,
        max_age_s=1.0,
        prompt_age_s=0.25,
        watch=watch,
        sleep=time.sleep,
        clock=time.clock,
    )
    edges = [0, *sorted(cuts), 40]
    letters: list[DeadLetter] = []
    for begin, end in itertools.pairwise(edges):
        time.now += chance.choice([0.0, 0.1, 0.3, 1.0])
        letters += writer.write([row for row in _rows(begin, end) if row.component[-1] not in "36"])
        letters += writer.write([_decision(number) for number in range(begin, end) if number % 10 in (3, 6)])
        assert writer.pending < 4 * max_rows
        if chance.random() < 0.3:
            letters += writer.hasten()
        if chance.random() < 0.3:
            _ended()
    letters += writer.flush()
    refused = {letter.raw for letter in letters}
    stored = [name for table, names in door.blocks if table != "dead_letter_log" for name in names]
    assert len(stored) == len(set(stored))
    assert len(stored) + sum(b"orders/" in raw or b'"d' in raw for raw in refused) == 40
    assert (writer.pending, _sending(), watch.threads <= {threading.get_ident()}) == (0, [], True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"chdb://{tmp_path}/db") as opened:
        migrate(opened)
        yield opened


def test_a_store_takes_one_call_at_a_time(store: Store) -> None:
    found: list[object] = []
    asking = threading.Thread(target=lambda: found.extend(store.query("SELECT 1").rows))
    with store._alone:
        asking.start()
        asking.join(0.2)
        assert found == []
    asking.join(DEADLINE_S)
    assert found == [(1,)]


def test_reading_while_blocks_go_in(store: Store) -> None:
    writer = BlockWriter(store, "run-1", max_rows=2_000)
    seen = [0]
    for begin in range(0, 20_000, 500):
        writer.write(_rows(begin, begin + 500))
        seen.append(int(store.query("SELECT count() FROM pipeline_health").rows[0][0]))
    writer.flush()
    assert seen == sorted(seen)
    assert store.query("SELECT count() FROM pipeline_health").rows == [(20_000,)]


def _through(door: Door) -> None:
    """Open the door, and wait until no block is under way."""
    door.open.set()
    _ended()


def _ended() -> None:
    """Wait until no block is under way."""
    for thread in threading.enumerate():
        if thread.name == "clickhouse":
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
