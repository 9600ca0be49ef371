"""`benchmarks/latency_played.py`: what the slowest findings wait for, by a clock of its own.

The feed of `latency.py` is played to the job's own lanes, key groups and writer, in one thread and in the order in
which the engine calls them. The clock goes on by the thread's processor time (times `--slower`: what else runs on the
cores), and leaps over what is only waited for: the next message, a block in ClickHouse (20 ms and 5 µs a row, as in
`write_waits.py`), the engine's own keeping of a snapshot. So other work on the machine matters little. Broker,
ClickHouse and feed take nothing of the cores here. Permanent ids: `latency_played.TABLE`, and by stage
(`latency_stages.py`) `latency_played.signal_log.STAGE`. Findings are few; passes, which are many, take the same way as
far as the writer.
"""

import argparse
import json
import sys
import tempfile
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from logging import getLogger
from pathlib import Path

import msgspec
from latency import SCALE
from latency_played_log import BEGIN_US, Clock, PlayedConsumer, PlayedTopics, Recorder, Untold
from latency_stages import HEADINGS, Course, Passed, Waited, by_stage, waited
from machine import BUILD, facts, headline, print_table, say, write_document
from soak_load import make_feed
from soak_parts import PARTITIONS, job_settings, write_map

import dataflows.kafka.lane as kafka_lane
import sinks.clickhouse.writer as block_writer
from dataflows.job import pipeline_settings
from dataflows.kafka.input import KafkaInput
from dataflows.kafka.lane import KafkaLane
from dataflows.kafka.topics import Place
from dataflows.kept import compressed
from dataflows.memory import Sweep
from dataflows.process_maps import load_process_map
from dataflows.settings import Settings, load_settings
from operators.group_state import Emitted, Piece
from operators.groups import Group, make_group
from operators.pipeline import PipelineSettings
from operators.routing import Router
from schemas.durations import SECOND_US
from schemas.events import BUSINESS_TOPICS
from schemas.rows import HandoffPass, Row, Signal
from sinks.clickhouse.sending import Fate
from sinks.clickhouse.store import Store
from sinks.clickhouse.writer import BlockWriter

_BLOCK_S, _ROW_S = 0.02, 5e-6
_POLL_S = 0.02
#: What the engine takes to pickle what is kept and have it in SQLite, a megabyte; 0.013 were measured on a machine that
#: ran at less than half of its speed.
_KEEP_S_MB = 0.005
_STAGED: tuple[type[Row], ...] = (Signal, HandoffPass)


class Tables:
    """When rows came to the writer, when their block began, and when it was in."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.given_s: dict[int, float] = {}
        self.passed: dict[type[Row], list[Passed]] = defaultdict(list)

    def given(self, rows: Iterable[Row]) -> None:
        """The writer gets rows."""
        now_s = self.clock.s()
        for row in rows:
            if "arrival_us" in row.__struct_fields__:
                self.given_s[id(row)] = now_s

    def block(self, kind: type[Row], rows: Sequence[Row], began_s: float, in_s: float) -> None:
        """A block is in."""
        for row in rows:
            given_s = self.given_s.pop(id(row), None)
            if given_s is not None:
                self.passed[kind].append(Passed(_since_begin_s(row), given_s, began_s, in_s))

    def sending(self, blocks: Sequence[tuple[type[Row], Sequence[Row]]], bring_in: object, clock: object) -> "_Sending":
        """Stands in for `Sending`."""
        del bring_in, clock
        return _Sending(blocks, self)


class _Writer(BlockWriter):
    """Blocks that are not sent by a thread take their time, too."""

    tables: Tables

    def _bring_in(self, kind: type[Row], rows: Sequence[Row]) -> None:
        clock = self.tables.clock
        began_s = clock.s()
        clock.leap(_BLOCK_S + _ROW_S * len(rows))
        self.tables.block(kind, rows, began_s, clock.s())


class _Sending:
    """As `sinks.clickhouse.sending.Sending`, without a thread: blocks end when the clock has passed their end."""

    def __init__(self, blocks: Sequence[tuple[type[Row], Sequence[Row]]], tables: Tables) -> None:
        self._blocks, self._tables = deque(blocks), tables
        self._free_s = tables.clock.s()
        self._fates: list[Fate] = []

    def _go_on(self, now_s: float) -> None:
        while self._blocks:
            kind, rows = self._blocks[0]
            seconds = _BLOCK_S + _ROW_S * len(rows)
            if self._free_s + seconds > now_s:
                return
            self._blocks.popleft()
            self._tables.block(kind, rows, self._free_s, self._free_s + seconds)
            self._fates.append(Fate(kind, None, seconds))
            self._free_s += seconds

    @property
    def over(self) -> bool:
        """As there."""
        self._go_on(self._tables.clock.s())
        return not self._blocks

    def fates(self, beat: Callable[[], None]) -> list[Fate]:
        """As there: waits."""
        del beat
        left_s = sum(_BLOCK_S + _ROW_S * len(rows) for _, rows in self._blocks)
        if not self.over:
            self._tables.clock.leap(self._free_s + left_s - self._tables.clock.s())
            self._go_on(float("inf"))
        return self._fates

    def taken(self) -> list[Fate]:
        """As there."""
        self._go_on(self._tables.clock.s())
        known, self._fates = self._fates, []
        return known

    def add(self, blocks: Sequence[tuple[type[Row], Sequence[Row]]], *, first: bool) -> bool:
        """As there."""
        if self.over:
            return False
        if first:
            under_way = self._blocks.popleft()
            self._blocks.extendleft(reversed(blocks))
            self._blocks.appendleft(under_way)
        else:
            self._blocks.extend(blocks)
        return True


class Played:
    """Lanes, groups and writer, called as the engine calls them: all stages in turn for what each lane has.

    Attributes: course, as far as it has come; snapshot_mb, the size of the last snapshot.
    """

    def __init__(self, groups: PipelineSettings, lanes: list[KafkaLane], tables: Tables) -> None:
        self._settings, self._lanes = groups, dict(zip(groups.lanes, lanes, strict=True))
        self._clock, self._tables = tables.clock, tables
        self._router, self._groups = Router(groups), dict[str, Group]()
        self._writer = _Writer(_as_store(tables), "bench", max_age_s=0.5, prompt_age_s=0.125, clock=self._clock.s)
        self._writer.tables = tables
        self._sweep = Sweep()
        self._watermarks = dict.fromkeys(groups.lanes, 0)
        self.course = Course([], [])
        self.snapshot_mb = 0.0

    def run(self, seconds: float, epoch_s: float) -> None:
        """Play for so long."""
        ends_s = epoch_s
        while self._clock.s() < seconds:
            began_s = self._clock.s()
            ends = began_s >= ends_s
            moved = self._step()
            if ends:
                self._end_epoch(began_s)
                ends_s = self._clock.s() + epoch_s
            elif not moved:
                self._sweep.when_quiet()
                self._clock.leap(_POLL_S - (self._clock.s() - began_s))

    def _step(self) -> bool:
        """One turn of the engine: whether any lane had something to say."""
        slices: dict[str, list[Piece]] = defaultdict(list)
        rows: list[Row] = []
        moved = False
        for name, lane in self._lanes.items():
            merged = lane.next()
            if merged is not None:
                moved = True
                self._watermarks[name] = merged.watermark_us
                rows += [*merged.dead, *merged.health]
                for group, piece in self._router.slices(name, merged):
                    slices[group].append(piece)
        if not moved:
            self._write(())
            return False
        upto_s = (min(self._watermarks.values()) - BEGIN_US) / SECOND_US
        self.course.released.append((self._clock.s(), upto_s))
        first = self._said(slices)
        sites = _pieces(first, lambda emitted: emitted.pieces)
        second = self._said(sites)
        third = self._said(_pieces([*first, *second], lambda emitted: emitted.incidents))
        for stage in (first, second, third):
            for emitted in stage:
                rows += emitted.rows
        self._write(rows)
        return True

    def _said(self, pieces: dict[str, list[Piece]]) -> list[Emitted]:
        found = []
        for name, mine in pieces.items():
            if name not in self._groups:
                self._groups[name] = make_group(name, self._settings)
            found.append(self._groups[name].on_batch(mine))  # type: ignore[arg-type] # a key's pieces are its space's
        return found

    def _write(self, rows: Sequence[Row]) -> None:
        self._tables.given(rows)
        self._writer.write(rows)

    def _end_epoch(self, began_s: float) -> None:
        self._writer.hasten()
        self._sweep.at_epochs_end()
        for lane in self._lanes.values():
            lane.snapshot()
        self.snapshot_mb = sum(len(compressed(group.snapshot())) for group in self._groups.values()) / 1e6
        self._clock.leap(self.snapshot_mb * _KEEP_S_MB)
        self._writer.flush()
        self.course.epochs.append((began_s, self._clock.s()))


def _pieces(said: Iterable[Emitted], of: Callable[[Emitted], Sequence[tuple[str, Piece]]]) -> dict[str, list[Piece]]:
    found: dict[str, list[Piece]] = defaultdict(list)
    for emitted in said:
        for name, piece in of(emitted):
            found[name].append(piece)
    return found


def _since_begin_s(row: Row) -> float:
    """When what caused it arrived."""
    arrival_us: int = row.arrival_us  # type: ignore[union-attr] # of rows that have one
    return (arrival_us - BEGIN_US) / SECOND_US


def _as_store(tables: Tables) -> Store:
    """A writer asks a store for nothing but `insert`, which is not asked for here."""
    return tables  # type: ignore[return-value] # stands in for one


# --- measuring --------------------------------------------------------------------------------------------------------


def measure(
    rate: float, settle_s: float, seconds: float, slower: float, idle_grace_s: float
) -> tuple[list[Waited], Played]:
    """Play, and tell of what was written after `settle_s`."""
    log: dict[Place, list[tuple[int, bytes]]] = {}
    with tempfile.TemporaryDirectory(prefix="andon-played-") as name:
        folder = Path(name)
        feed = make_feed(folder, rate, SCALE.day_s, PARTITIONS)
        feed.topics = list(BUSINESS_TOPICS)
        settings = _settings(
            folder, job_settings(SCALE, write_map(folder / "map.toml", feed.day_us, SCALE), idle_grace_s)
        )
        groups = pipeline_settings(settings, load_process_map(settings.process.map))
    Recorder(feed, log).record(settle_s + seconds)
    clock = Clock(slower)
    tables = Tables(clock)
    kafka_lane.Consumer = lambda *_, **__: PlayedConsumer(log, clock)  # type: ignore[assignment,attr-defined] # stands in for it
    block_writer.Sending = tables.sending  # type: ignore[assignment,attr-defined] # stands in for it
    source = KafkaInput(
        properties={},
        topics=BUSINESS_TOPICS,
        begin="earliest",
        skip_expired=False,
        rules=settings.time.rules(),
        batch=settings.engine.batch,
        buffer=settings.kafka.buffer,
        idle_grace_us=settings.time.idle_grace,
        idle_grace_appended_us=settings.time.idle_grace_appended,
        discover_us=settings.kafka.discover,
        now=clock,
        watch=Untold(),
        logger=getLogger("andon.bench"),
    )
    topics = PlayedTopics(log)
    lanes = [KafkaLane(name, groups.lanes, source, topics, None) for name in groups.lanes]  # type: ignore[arg-type] # stands in
    played = Played(groups, lanes, tables)
    played.run(settle_s + seconds, settings.engine.epoch / SECOND_US)
    return list(_waits(tables, played.course, settle_s)), played


def _waits(tables: Tables, course: Course, settle_s: float) -> Iterator[Waited]:
    for kind, passed in sorted(tables.passed.items(), key=lambda one: one[0].TABLE):
        name, rows = f"latency_played.{kind.TABLE}", [one for one in passed if one.in_s >= settle_s]
        if rows and kind in _STAGED:
            yield from by_stage(name, rows, course)
        elif rows:
            late_s = [one.in_s - one.arrival_s for one in rows]
            yield waited(name, late_s, late_s)


def _settings(folder: Path, sections: dict[str, dict[str, object]]) -> Settings:
    """As `tests.kafka_job.Job` gives them to the job."""
    lines = []
    for name, section in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())]
    file = folder / "andon.toml"
    file.write_text("\n".join(lines) + "\n")
    return load_settings(str(file), {})


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, print the table."""
    parser = argparse.ArgumentParser(description="What the slowest findings wait for, by a clock of its own.")
    parser.add_argument("--rate", type=float, default=14_000.0, metavar="N", help="messages a second (14000)")
    parser.add_argument("--settle", type=float, default=15.0, metavar="N", help="seconds before measuring (15)")
    parser.add_argument("--seconds", type=float, default=30.0, metavar="N", help="how long is measured (30)")
    parser.add_argument("--slower", type=float, default=1.3, metavar="N", help="the processor, by so much (1.3)")
    parser.add_argument("--idle-grace", type=float, default=1.0, metavar="S", help="of the job, in seconds (1)")
    parser.add_argument("--json", type=Path, default=BUILD / "latency_played.json", metavar="FILE")
    asked = parser.parse_args(arguments)
    machine = facts()
    print(headline(machine))
    say("simulating a day, playing it …")
    found, played = measure(asked.rate, asked.settle, asked.seconds, asked.slower, asked.idle_grace)
    say("")
    print_table(HEADINGS, [one.line() for one in found])
    ends = ", ".join(f"{end - begin:.2f}" for begin, end in played.course.epochs)
    print(f"\nepochs' ends took {ends} s; the last snapshot had {played.snapshot_mb:.0f} MB")
    write_document(asked.json, machine, {"results": msgspec.to_builtins(found), "epochs": played.course.epochs})
    return 0


if __name__ == "__main__":
    sys.exit(main())
