"""The writer on the real engine; what goes wrong on the way to it is scripted around a real store."""

import random
from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import StoreRefused, StoreUnavailable
from schemas.rows import DeadLetter, DuplicateEvent, HandoffPass, Health, LateEvent, Row
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.rows import TABLES, block_of, columns_of, refused
from sinks.clickhouse.store import Store
from sinks.clickhouse.writer import BlockWriter
from tests.clickhouse_rows import ONE_OF_EACH, T0, health, passes
from tests.clickhouse_stores import KINDS, FakeTime, Recorder, counts, place


@pytest.fixture(scope="module", params=KINDS)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with place(request.param, tmp_path_factory.mktemp("writer")) as there, there.open() as store:
        migrate(store)
        yield store


@pytest.fixture
def store(opened: Store) -> Store:
    for table in TABLES.values():
        opened.command(f"TRUNCATE TABLE {table.name}")
    return opened


class Flaky:
    """A real store on a bad line: the script says pass, fail (not sent) or lose (sent, the answer lost)."""

    def __init__(self, store: Store, script: Sequence[str]) -> None:
        self._store = store
        self._script = list(script)
        self.tokens: list[str] = []

    def insert(self, table: str, columns: Sequence[Sequence[object]], names: Sequence[str], token: str) -> None:
        self.tokens.append(token)
        step = self._script.pop(0) if self._script else "pass"
        if step != "fail":
            self._store.insert(table, columns, names, token)
        if step != "pass":
            raise StoreUnavailable(step)


def _count(store: Store, table: str) -> int:
    return int(store.query(f"SELECT count() FROM {table}").rows[0][0])


def test_one_of_each_goes_in_and_comes_out(store: Store) -> None:
    writer = BlockWriter(store, "run-1")
    assert writer.write(ONE_OF_EACH) == []
    assert writer.pending == len(ONE_OF_EACH)
    assert writer.flush() == []
    assert (writer.pending, writer.rows, writer.blocks, writer.retries, writer.rejected) == (
        0,
        len(ONE_OF_EACH),
        len(ONE_OF_EACH),
        0,
        0,
    )
    for row in ONE_OF_EACH:
        table = TABLES[type(row)]
        found = store.query(
            f"SELECT run_id, written_at > now() - INTERVAL 1 HOUR, * EXCEPT (run_id, written_at) FROM {table.name}",
            binary=True,
        )
        assert found.rows[0][:2] == (b"run-1", 1)
        assert found.names[2:] == table.columns


def test_blocks_go_by_size_age_and_flush(store: Store) -> None:
    now = [0.0]
    writer = BlockWriter(store, "run-1", max_rows=10, max_age_s=5.0, beside=False, clock=lambda: now[0])
    writer.write(health(n) for n in range(9))
    assert (writer.blocks, writer.pending) == (0, 9)
    writer.write(health(n) for n in range(9, 25))
    assert (writer.blocks, writer.pending) == (3, 0)
    writer.write([health(100)])
    now[0] = 4.9
    writer.write([health(101)])
    assert writer.pending > 0
    now[0] = 10.1
    writer.write([])
    assert writer.pending == 0
    assert _count(store, "pipeline_health") == 27


def test_big_dead_letters_make_small_blocks(store: Store) -> None:
    writer = BlockWriter(store, "run-1", max_bytes=25_000_000)
    letters = [DeadLetter("orders", 0, n, "schema", "", "", "", "", bytes([n]) * 10_000_000, T0) for n in range(5)]
    for letter in letters:
        writer.write([letter])
        assert writer.pending <= 3
    writer.flush()
    assert writer.blocks >= 3
    assert store.query("SELECT count(), sum(length(raw)) FROM dead_letters").rows == [(5, 50_000_000)]


@settings(deadline=None, max_examples=60)
@given(script=st.lists(st.sampled_from(["pass", "fail", "lose"]), max_size=12), seed=st.integers(0, 99))
def test_whatever_the_line_does_each_row_is_in_once(opened: Store, script: list[str], seed: int) -> None:
    opened.command("TRUNCATE TABLE pipeline_health_log")
    opened.command("SYSTEM STOP MERGES pipeline_health_log")
    waits: list[float] = []
    flaky = Flaky(opened, script)
    writer = BlockWriter(flaky, f"run-{random.random()}", max_rows=4, sleep=waits.append, jitter=random.Random(seed))  # type: ignore[arg-type] # stands in for a store
    writer.write(health(n) for n in range(10))
    writer.flush()
    assert opened.query("SELECT count() FROM pipeline_health_log").rows == [(10,)], (
        "no FINAL: the token stops repeats at the door"
    )
    assert writer.retries == len(waits) == sum(step != "pass" for step in script[: len(flaky.tokens)])
    assert all(0.25 <= wait <= 30.0 for wait in waits)


def test_patience_ends_and_nothing_is_lost(store: Store) -> None:
    waits: list[float] = []
    flaky = Flaky(store, ["fail"] * 30)
    writer = BlockWriter(flaky, "run-1", patience_s=60.0, sleep=waits.append)  # type: ignore[arg-type] # stands in for a store
    writer.write([health(1)])
    with pytest.raises(StoreUnavailable):
        writer.flush()
    assert 60.0 <= sum(waits) <= 91.0
    assert waits[4] > waits[0]
    assert writer.pending == 1
    assert len(set(flaky.tokens)) == 1, "the same block keeps its token"
    flaky._script.clear()
    writer.flush()
    assert _count(store, "pipeline_health") == 1


class GivesUp(Recorder):
    """A watch that ends the waiting, in words or in a tick."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where

    def waiting(self, error: StoreUnavailable, pause_s: float, waited_s: float) -> None:
        super().waiting(error, pause_s, waited_s)
        if self._where == "waiting":
            raise InterruptedError

    def tick(self) -> None:
        super().tick()
        if self._where == "tick":
            raise InterruptedError


@pytest.mark.parametrize("where", ["waiting", "tick"])
def test_a_watch_ends_the_waiting_and_the_same_block_is_sent_again(store: Store, where: str) -> None:
    store.command("SYSTEM STOP MERGES pipeline_health_log")
    flaky, watch = Flaky(store, ["lose"]), GivesUp(where)
    writer = BlockWriter(flaky, f"run-{where}", watch=watch, sleep=FakeTime().sleep, max_rows=100)  # type: ignore[arg-type] # stands in for a store
    writer.write(health(n) for n in range(10))
    with pytest.raises(InterruptedError):
        writer.flush()
    assert (len(watch.waits), watch.blocks) == (1, [])
    writer.write(health(n) for n in range(10, 20))
    writer.flush()
    assert (writer.pending, flaky.tokens[0]) == (0, flaky.tokens[1]), "what had been sent, goes as it was"
    assert counts(store, "pipeline_health_log") == (20, 20)


def test_a_watch_is_told_of_blocks_waits_and_refusals(store: Store) -> None:
    time, watch = FakeTime(), Recorder()
    flaky = Flaky(store, ["fail"] * 4 + ["pass"])
    writer = BlockWriter(flaky, "run-1", watch=watch, sleep=time.sleep, clock=time.clock)  # type: ignore[arg-type] # stands in for a store
    writer.write([health(1, -1), health(2), health(3)])
    letters = writer.flush()
    assert [(record, count) for record, count, _ in watch.blocks] == [(Health, 2), (DeadLetter, 1)]
    assert [error for error, _, _ in watch.waits] == ["fail"] * 4
    assert (watch.letters, len(letters)) == (letters, 1)
    assert watch.recoveries == [pytest.approx(time.now)]
    writer.write([health(4)])
    flaky._script = ["fail", "fail"]
    before = time.now
    writer.flush()
    assert watch.blocks[-1] == (Health, 1, pytest.approx(time.now - before)), "waiting is part of what it took"


def test_flushing_nothing_asks_nothing(store: Store) -> None:
    flaky = Flaky(store, [])
    writer = BlockWriter(flaky, "run-1")  # type: ignore[arg-type] # stands in for a store
    writer.flush()
    writer.write(ONE_OF_EACH)
    writer.flush()
    sent = len(flaky.tokens)
    assert (writer.flush(), writer.write([]), len(flaky.tokens)) == ([], [], sent)


def test_all_tables_together_are_bounded(store: Store) -> None:
    writer = BlockWriter(store, "run-1", max_rows=10, max_age_s=1e9, beside=False)
    most = 0
    for n in range(100):
        late = LateEvent("orders", 0, n, "s", "t", "shop", f"e{n}", T0, T0, "", T0)
        for row in (health(n), late, DuplicateEvent("orders", 0, n, "t", "s", "e", T0, T0)):
            writer.write([row])
            most = max(most, writer.pending)
    assert most == 27
    small = BlockWriter(store, "run-2", max_rows=10, max_pending=15, max_age_s=1e9, beside=False)
    for n in range(9):
        small.write([health(n), late])
        assert small.pending < 15
    assert small.blocks == 2


def test_a_dead_letters_own_dead_letter_outlives_an_outage(store: Store) -> None:
    watch = Recorder()
    flaky = Flaky(store, ["pass", "fail"])
    writer = BlockWriter(flaky, "run-1", patience_s=0.0, watch=watch)  # type: ignore[arg-type] # stands in for a store
    writer.write([DeadLetter("orders", 1 << 40, 0, "schema", "", "", "shop", "", b"raw", T0)])
    with pytest.raises(StoreUnavailable):
        writer.flush()
    assert (writer.pending, watch.letters) == (1, [])
    letters = writer.flush()
    assert watch.letters == letters
    assert store.query("SELECT topic, raw FROM dead_letters").rows == [("andon.dead_letter_log", "raw")]


BAD: list[Callable[[Health], Health]] = [
    lambda row: msgspec.structs.replace(row, messages=-1),
    lambda row: msgspec.structs.replace(row, messages=1 << 70),
    lambda row: msgspec.structs.replace(row, messages="many"),
    lambda row: msgspec.structs.replace(row, messages=None),
    lambda row: msgspec.structs.replace(row, component=None, version=int(row.component.removeprefix("orders/"))),
    lambda row: msgspec.structs.replace(row, minute_us=None),
]


@pytest.mark.parametrize("spoil", BAD)
def test_a_bad_row_becomes_a_dead_letter_and_the_rest_is_in(store: Store, spoil: Callable[[Health], Health]) -> None:
    writer = BlockWriter(store, "run-1")
    rows = [spoil(health(n)) if n in (0, 37, 38, 99) else health(n) for n in range(100)]
    writer.write(rows)
    letters = writer.flush()
    assert len(letters) == writer.rejected == 4
    assert _count(store, "pipeline_health") == 96
    found = store.query(
        "SELECT topic, offset, reason, raw, seen_at FROM dead_letters ORDER BY offset", binary=True
    ).rows
    assert [(row[0], row[1], row[2]) for row in found] == sorted(
        (b"andon.pipeline_health_log", letter.offset, b"downstream") for letter in letters
    )
    assert all(b"orders/" in row[3] or b"null" in row[3] or b"None" in row[3] for row in found)
    again = BlockWriter(store, "run-2")
    again.write(rows)
    assert again.flush() == letters, "the same row refused again is the same dead letter"
    assert _count(store, "dead_letters") == 4


def test_a_row_that_the_server_refuses_is_found_by_bisection(store: Store) -> None:
    store.command("ALTER TABLE pipeline_health_log ADD CONSTRAINT small CHECK messages < 1000")
    try:
        writer = BlockWriter(store, "run-1")
        writer.write([health(n, 5_000 if n == 613 else 1) for n in range(1_000)])
        letters = writer.flush()
    finally:
        store.command("ALTER TABLE pipeline_health_log DROP CONSTRAINT small")
    assert ["VIOLATED_CONSTRAINT" in letter.detail for letter in letters] == [True]
    assert _count(store, "pipeline_health") == 999
    assert writer.blocks <= 12


def test_a_table_that_takes_nothing_stops_the_writer_with_words(store: Store) -> None:
    writer = BlockWriter(store, "run-1")
    writer.write(health(n, -1) for n in range(1_000))
    with pytest.raises(StoreRefused, match="takes no row any more"):
        writer.flush()


def test_a_missing_table_is_refused_not_retried(opened: Store) -> None:
    writer = BlockWriter(opened, "run-1", sleep=pytest.fail)
    opened.command("RENAME TABLE duplicate_event_log TO gone")
    try:
        writer.write([DuplicateEvent("orders", 0, 1, "t", "s", "e", T0, T0)])
        with pytest.raises(StoreRefused, match="andon migrate"):
            writer.flush()
    finally:
        opened.command("RENAME TABLE gone TO duplicate_event_log")


def test_texts_that_utf8_cant_say_do_not_stop_the_writer(store: Store) -> None:
    writer = BlockWriter(store, "run-1")
    odd = msgspec.structs.replace(ONE_OF_EACH[0], case_id="a\ud800b", scope="\0\U0001f600")
    writer.write([odd, *ONE_OF_EACH])
    assert writer.flush() == []
    assert ("a?b", "\0\U0001f600") in store.query("SELECT case_id, scope FROM handoffs").rows


def test_a_truncated_table_takes_the_same_rows_of_the_same_run_again(store: Store) -> None:
    for _ in range(2):
        store.command("TRUNCATE TABLE pipeline_health_log")
        writer = BlockWriter(store, "run-1")
        writer.write([health(1)])
        writer.flush()
        assert _count(store, "pipeline_health") == 1


@given(st.lists(passes | st.sampled_from(ONE_OF_EACH), max_size=20))
def test_columns_are_the_rows_turned(rows: list[Row]) -> None:
    for kind in {type(row) for row in rows}:
        own = [row for row in rows if type(row) is kind]
        columns = columns_of(kind, own)
        assert [kind(*values) for values in zip(*columns, strict=True)] == own


def test_a_token_names_content_table_and_run() -> None:
    rows = [health(1), health(2)]
    token = block_of(Health, rows, "run-1").token
    assert block_of(Health, list(rows), "run-1").token == token
    assert (
        len(
            {
                token,
                block_of(Health, rows, "run-2").token,
                block_of(Health, rows[::-1], "run-1").token,
                block_of(Health, rows[:1], "run-1").token,
            }
        )
        == 4
    )


def test_a_refused_dead_letter_is_shortened_once() -> None:
    letter = refused(DeadLetter("t", 0, 1, "schema", "", "", "src", "", b"x" * 10_000_000, T0), "too large")
    assert (len(letter.raw), letter.topic, letter.source, letter.seen_at_us) == (
        65_536,
        "andon.dead_letter_log",
        "src",
        T0,
    )
    assert isinstance(refused(_pass_with_nothing(), "why").raw, bytes)


def _pass_with_nothing() -> HandoffPass:
    return HandoffPass(*[None] * len(HandoffPass.__struct_fields__))  # type: ignore[arg-type] # as a bug would make it
