"""The whole flow through the engine: the same rows as the pure pipeline, whatever cuts or kills it."""

import pickle
import resource
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
from bytewax.recovery import init_db_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflows import engine
from dataflows.engine import run_flow
from dataflows.files import partitions_of
from dataflows.flow import Pipeline, Stop
from dataflows.lane import FileLane, LaneInput
from operators.lane_state import Merged, TimeRules
from operators.pipeline import PipelineSettings
from schemas.adapters.mapping import read_mapping
from schemas.durations import SECOND_US
from schemas.errors import SourceError, StateError
from schemas.rows import HandoffWindow, Health, Row
from tests.harness import PurePipeline, encoded
from tests.harness import settings as pipeline_settings
from tests.logs import Fact, facts, log_of

SLOW = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


class Killed(SourceError):  # noqa: N818 - not an error of ours but a process that is gone
    """Stands for a process that is killed: the engine gets no chance to end anything."""


class MemoryWriter:
    """Rows in memory: what was flushed is kept over a crash, what was not is lost."""

    def __init__(self, kept: list[Row]) -> None:
        self.kept = kept
        self._buffer: list[Row] = []

    def write(self, rows: Sequence[Row]) -> None:
        self._buffer.extend(rows)

    def flush(self) -> None:
        self.kept.extend(self._buffer)
        self._buffer = []


class DoomedLane:
    """A lane that is killed after so many batches."""

    def __init__(self, lane: FileLane, batches: int) -> None:
        self._lane = lane
        self._left = batches

    def next(self) -> Merged | None:
        if self._left == 0:
            raise Killed("killed")
        self._left -= 1
        return self._lane.next()

    def __getattr__(self, name: str) -> object:
        return getattr(self._lane, name)


#: The step in which the engine keeps increments.
SLOTS = f"{engine.FLOW}.{engine.SLOTS}"


def write_log(folder: Path, log: dict[str, list[bytes]]) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, messages in log.items():
        (folder / name).write_bytes(b"".join(message + b"\n" for message in messages))
    return [str(folder / name) for name in log]


def run(
    files: Sequence[str],
    pipeline: PipelineSettings,
    rows: list[Row],
    *,
    batch: int = 50,
    recovery: Path | None = None,
    kill_after: int = -1,
    writer: "Hastened | None" = None,
    epoch_us: int = 0,
    increments_from: int = 2_048,
) -> None:
    source = LaneInput(partitions=tuple(partitions_of(files)), rules=TimeRules(), batch=batch)

    def open_lane(name: str, resume: bytes | None) -> object:
        lane = FileLane(name, pipeline.lanes, source, resume, lambda _lane, _share: None)
        return DoomedLane(lane, kill_after) if kill_after >= 0 else lane

    made = Pipeline(
        settings=pipeline,
        open_lane=open_lane,  # type: ignore[arg-type] # doomed ones stand in for it
        open_writer=lambda: writer or MemoryWriter(rows),
        stop=Stop(),
        hasten=lambda: None if writer is None else writer.hasten(),
        increments_from=increments_from,
    )
    run_flow(made, recovery, epoch_us)


@SLOW
@given(facts=facts(max_size=40), batch=st.integers(1, 60), lanes=st.integers(1, 3), groups=st.integers(1, 3))
def test_the_engine_gives_the_rows_of_the_pure_pipeline(
    tmp_path: Path, facts: list[Fact], batch: int, lanes: int, groups: int
) -> None:
    log = log_of(facts, broken=True)
    plain = PurePipeline(log, pipeline_settings(), 1_000).run()
    rows: list[Row] = []
    run(write_log(tmp_path / "log", log), pipeline_settings(lanes=lanes, groups=groups), rows, batch=batch)
    assert encoded(rows) == encoded(plain)


@SLOW
@given(
    facts=facts(max_size=40),
    kills=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    batch=st.integers(110, 130),
    least=st.sampled_from([1, 2_048]),
)
def test_the_engine_killed_at_any_batch_and_resumed_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, facts: list[Fact], kills: list[int], batch: int, least: int
) -> None:
    """As one state, and in increments."""
    folder = tmp_path_factory.mktemp("killed")
    many = [
        Fact(f.number + 100 * n, f.type, f.case, f.occurred_s + 300 * n, f.delay_s, f.twice, f.value)
        for n in range(8)
        for f in facts
    ]
    log = log_of(many, broken=True)
    files = write_log(folder / "log", log)
    chosen = pipeline_settings(lanes=2, groups=2)
    plain = PurePipeline(log, chosen, 1_000).run()
    rows: list[Row] = []
    again = partial(run, files, chosen, rows, batch=batch, recovery=folder / "recovery", increments_from=least)
    for kill_after in kills:
        try:
            again(kill_after=kill_after)
        except Killed:
            continue
        break
    else:
        again()
    assert set(encoded(rows)) == set(encoded(plain))
    if plain and least == 1:
        assert any(slots_in(folder / "recovery"))


def slots_in(recovery: Path) -> list[str]:
    """The slots that something is kept in."""
    found = []
    for part in recovery.glob("part-*.sqlite3"):
        with closing(sqlite3.connect(part)) as opened:
            kept = opened.execute("SELECT state_key FROM snaps WHERE step_id = ? AND ser_change IS NOT NULL", (SLOTS,))
            found += [name for (name,) in kept]
    return found


def test_a_group_whose_increments_are_gone_is_refused_in_words(tmp_path: Path) -> None:
    made = [Fact(n, "order.created", n, n, 0, False, 1 + n % 9) for n in range(300)]
    files = write_log(tmp_path / "log", log_of(made))
    again = partial(run, files, pipeline_settings(), [], recovery=tmp_path / "recovery", increments_from=1)
    with pytest.raises(Killed):
        again(kill_after=4)
    (part,) = (tmp_path / "recovery").glob("part-*.sqlite3")
    with closing(sqlite3.connect(part)) as opened, opened:
        opened.execute("DELETE FROM snaps WHERE step_id = ?", (SLOTS,))
    with pytest.raises(StateError, match="what was kept of case:0000 is not all in this process"):
        again()


def test_a_crash_loses_what_was_not_flushed_and_resuming_brings_it_back(tmp_path: Path) -> None:
    made = [Fact(n, "order.created", n, n, 0, False, 1 + n % 9) for n in range(3_000)]
    files = write_log(tmp_path / "log", log_of(made))
    chosen = pipeline_settings(groups=2)
    rows: list[Row] = []
    with pytest.raises(Killed):
        run(files, chosen, rows, batch=500, recovery=tmp_path / "recovery", kill_after=4)
    partial = len(rows)
    run(files, chosen, rows, batch=500, recovery=tmp_path / "recovery")
    plain = PurePipeline(log_of(made), chosen, 500).run()
    assert 0 < partial < len(plain)
    assert set(encoded(rows)) == set(encoded(plain))
    again: list[Row] = []
    run(files, chosen, again, batch=500, recovery=tmp_path / "recovery")
    assert again == []


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("grows", [True, False])
def test_input_that_had_ended_and_goes_on_gives_the_rows_of_all_of_it(tmp_path: Path, lanes: int, grows: bool) -> None:
    """In the same files, or in others beside them: windows and findings go on, too."""
    steps = ["order.created", "order.approved", "order.allocated", "shipment.dispatched"]
    made = [
        Fact(4 * n + place, step, n, 40 * n + 10 * place, 0, False, 5)
        for n in range(60)
        for place, step in enumerate(steps)
    ]
    whole = log_of(made)
    first = {name: messages[: len(messages) // 2] for name, messages in whole.items()}
    rest = {f"more-{name}": messages[len(messages) // 2 :] for name, messages in whole.items()}
    log, chosen = whole if grows else first | rest, pipeline_settings(lanes=lanes, groups=2)
    rows: list[Row] = []
    for files in (first, log):
        run(write_log(tmp_path / "log", files), chosen, rows, recovery=tmp_path / "recovery")
    plain = PurePipeline(log, chosen, 50).run()
    told = [row for row in rows if not isinstance(row, Health)]  # of the minute in which it had ended there are two
    assert set(encoded(told)) == set(encoded([row for row in plain if not isinstance(row, Health)]))
    assert any(isinstance(row, HandoffWindow) for row in plain)
    again: list[Row] = []
    run(write_log(tmp_path / "log", log), chosen, again, recovery=tmp_path / "recovery")
    assert again == []


class Hastened(MemoryWriter):
    """Writes down what it is asked, in one word each."""

    def __init__(self) -> None:
        super().__init__([])
        self.asked: list[str] = []

    def write(self, rows: Sequence[Row]) -> None:
        super().write(rows)
        self.asked += ["rows"] if rows else []

    def hasten(self) -> None:
        self.asked.append("hasten")

    def flush(self) -> None:
        super().flush()
        self.asked.append("flush")


def test_rows_are_hastened_when_the_last_of_an_epoch_have_come_and_flushed_at_its_end(tmp_path: Path) -> None:
    made = [Fact(n, "order.created", n, n, 0, False, 1 + n % 9) for n in range(3_000)]
    files = write_log(tmp_path / "log", log_of(made))
    writer = Hastened()
    run(files, pipeline_settings(lanes=2, groups=2), [], batch=500, recovery=tmp_path / "recovery", writer=writer)
    epochs = " ".join(writer.asked).split("flush")
    with_rows = [epoch.split() for epoch in epochs if "rows" in epoch]
    assert len(with_rows) > 1
    assert all(asked[-1] == "hasten" for asked in with_rows), "no rows come after it"
    writer.asked.clear()
    run(files, pipeline_settings(groups=2), [], batch=500, writer=writer, epoch_us=3_600 * SECOND_US)
    assert writer.asked.count("rows") > 2
    assert "hasten" not in writer.asked, "within an epoch nothing is in a hurry"


def test_state_kept_with_other_lanes_is_refused_in_words(tmp_path: Path) -> None:
    made = [Fact(n, "order.created", n, n, 0, False, 1) for n in range(600)]
    files = write_log(tmp_path / "log", log_of(made))
    with pytest.raises(Killed):
        run(files, pipeline_settings(), [], batch=200, recovery=tmp_path / "recovery", kill_after=2)
    with pytest.raises(StateError, match="keep the numbers of lanes and key groups as they were"):
        run(files, pipeline_settings(lanes=2), [], batch=200, recovery=tmp_path / "recovery")


def test_a_start_killed_while_its_files_are_made_makes_them_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [Fact(n, "order.created", n, n, 0, False, 1 + n % 9) for n in range(600)]
    files = write_log(tmp_path / "log", log_of(made))
    recovery, chosen = tmp_path / "recovery", pipeline_settings(lanes=4)

    def killed_half_way(directory: Path, partitions: int) -> None:
        init_db_dir(directory, partitions)
        for number in (1, 3):
            (directory / f"part-{number}.sqlite3").unlink()
        raise Killed("killed")

    monkeypatch.setattr(engine, "init_db_dir", killed_half_way)
    with pytest.raises(Killed):
        run(files, chosen, [], recovery=recovery)
    monkeypatch.undo()
    rows: list[Row] = []
    run(files, chosen, rows, recovery=recovery)
    assert set(encoded(rows)) == set(encoded(PurePipeline(log_of(made), chosen, 50).run()))
    assert {path.name for path in recovery.iterdir()} == {f"part-{number}.sqlite3" for number in range(4)}


def test_state_that_is_not_whole_is_refused_in_words(tmp_path: Path) -> None:
    made = [Fact(n, "order.created", n, n, 0, False, 1) for n in range(600)]
    files = write_log(tmp_path / "log", log_of(made))
    recovery, chosen = tmp_path / "recovery", pipeline_settings(lanes=2)
    with pytest.raises(Killed):
        run(files, chosen, [], batch=200, recovery=recovery, kill_after=1)
    part = recovery / "part-1.sqlite3"
    part.write_bytes(b"something else")
    with pytest.raises(StateError, match=rf"{recovery}, or read from there: file is not a database; mend that"):
        run(files, chosen, [], batch=200, recovery=recovery)
    part.unlink()
    with pytest.raises(StateError, match=rf"{recovery}, or read from there: Missing recovery partitions .*1.* of 2"):
        run(files, chosen, [], batch=200, recovery=recovery)


def test_a_position_that_was_changed_on_the_disk_is_refused_in_words(tmp_path: Path) -> None:
    """It would be read as another one, and messages passed over."""
    made = [Fact(n, "order.created", n, n, 0, False, 1) for n in range(600)]
    files = write_log(tmp_path / "log", log_of(made))
    recovery, chosen = tmp_path / "recovery", pipeline_settings()
    rows: list[Row] = []
    with pytest.raises(Killed):
        run(files, chosen, rows, batch=200, recovery=recovery, kill_after=2)
    (part,) = recovery.glob("part-*.sqlite3")
    step = f"{engine.FLOW}.{engine.LANES}"

    def kept_is(state: bytes) -> None:
        with closing(sqlite3.connect(part)) as opened, opened:
            opened.execute("UPDATE snaps SET ser_change = ? WHERE step_id = ?", (pickle.dumps(state), step))

    with closing(sqlite3.connect(part)) as opened:
        found = opened.execute("SELECT ser_change FROM snaps WHERE step_id = ? AND snap_epoch = 2", (step,)).fetchall()
    state: bytes = pickle.loads(found[0][0])  # noqa: S301 - our own
    for place in range(0, len(state), 5):
        kept_is(bytes([*state[:place], state[place] ^ 1, *state[place + 1 :]]))
        with pytest.raises(StateError, match="can't be read"):
            run(files, chosen, rows, batch=200, recovery=recovery)
    kept_is(state)
    run(files, chosen, rows, batch=200, recovery=recovery)
    assert set(encoded(rows)) == set(encoded(PurePipeline(log_of(made), chosen, 200).run()))


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What this process writes can't grow beyond `size`, as on a volume that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_recovery_directory_is_said_and_with_room_the_job_goes_on(tmp_path: Path) -> None:
    made = [Fact(n, "order.created", n, n, 0, False, 1 + n % 9) for n in range(3_000)]
    files = write_log(tmp_path / "log", log_of(made))
    recovery, chosen = tmp_path / "recovery", pipeline_settings()
    rows: list[Row] = []
    for size in (2_000, 300_000):  # while its files are made, and while it runs
        with files_of_at_most(size), pytest.raises(StateError, match=f"state can't be kept in {recovery}, or read"):
            run(files, chosen, rows, batch=100, recovery=recovery)
    assert rows, "it had begun"
    run(files, chosen, rows, batch=100, recovery=recovery)
    assert set(encoded(rows)) == set(encoded(PurePipeline(log_of(made), chosen, 100).run()))


def test_time_stands_still_until_every_lane_was_heard(tmp_path: Path) -> None:
    """One lane has all the events, the other none: its end is what lets time pass."""
    made = [Fact(n, "order.created", n, n * SECOND_US // SECOND_US, 0, False, 1) for n in range(50)]
    files = write_log(tmp_path / "log", log_of(made))
    one: list[Row] = []
    run(files, pipeline_settings(lanes=1), one)
    many: list[Row] = []
    run(files, pipeline_settings(lanes=7), many)
    assert encoded(many) == encoded(one)


def test_a_table_tells_its_progress_while_it_is_read_and_while_its_messages_are(tmp_path: Path) -> None:
    table = tmp_path / "orders.csv"
    table.write_text("id,at\n" + "".join(f"o{n},2026-03-02T00:00:{n % 60:02}Z\n" for n in range(20_000)))
    declared = read_mapping(
        '[mapping]\nname = "orders"\nsource = "shop"\nsystem = "oms"\n\n[table]\nformat = "csv"\n\n'
        '[[event]]\ntype = "order.approved"\ntime = "at"\n[event.set]\norder_id = "{id}"\n',
        "orders.toml",
    )
    assert declared.value is not None, declared.problems
    told: list[float] = []
    source = LaneInput(
        partitions=tuple(partitions_of([str(table)])), rules=TimeRules(), batch=1_000, mapping=declared.value
    )
    lane = FileLane("lane-0", ["lane-0"], source, None, lambda _lane, share: told.append(share))
    while not lane.ended:
        lane.next()
    assert told == sorted(told)
    assert len([share for share in told if share < 0.5]) >= 3
    assert len([share for share in told if 0.5 < share < 1.0]) >= 10
    assert told[-1] == 1.0
