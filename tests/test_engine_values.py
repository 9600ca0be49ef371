"""What goes from process to process comes out as it went in; what a failing part of the flow leaves behind."""

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflows import engine
from dataflows.crossing import Rows, opened, packed
from dataflows.engine import _Epoch, _Mark, _SinkPartition, run_flow
from dataflows.files import partitions_of
from dataflows.flow import Cluster, Pipeline, Stop
from dataflows.lane import FileLane, LaneInput
from operators.group_state import SitePiece
from operators.groups import make_group
from operators.id_hashes import IdHasher
from operators.lane_state import Reads, TimeRules
from operators.lanes import LaneMerge
from operators.marks import marks_of
from operators.pacing import Pace
from operators.partitions import PartitionQueue
from operators.routing import Router
from operators.slices import Slice
from schemas.decode import EventDecoder
from schemas.errors import StoreRefused
from schemas.rows import Row
from tests.clickhouse_rows import ONE_OF_EACH, passes
from tests.harness import settings as pipeline_settings
from tests.logs import Fact, facts, log_of
from tests.test_flow import MemoryWriter, write_log

T = TypeVar("T")


def _there(value: T) -> T:
    """As another process gets it."""
    gone: T = pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes
    return gone


@given(st.lists(passes | st.sampled_from(ONE_OF_EACH), max_size=12))
def test_rows_of_any_kinds(rows: list[Row]) -> None:
    there = _there(Rows(rows))
    assert type(there) is Rows
    assert sorted(map(repr, there)) == sorted(map(repr, rows))


@settings(deadline=None, max_examples=30)
@given(facts(max_size=30))
def test_slices_and_site_pieces_of_a_log(made: list[Fact]) -> None:
    chosen = pipeline_settings(groups=2)
    raws = [raw for messages in log_of(made).values() for raw in messages]
    queue = PartitionQueue("log", 0, TimeRules())
    offsets = list(range(len(raws)))
    queue.add(Reads(offsets, offsets, raws, EventDecoder().decode(raws)), ended=True)
    merged = LaneMerge([queue]).release()
    assert merged is not None
    seen = 0
    for name, piece in Router(chosen).slices(chosen.lanes[0], merged):
        there = opened(_there(packed(piece)))
        assert type(there) is Slice
        assert there == piece
        assert there.marks == marks_of(there.events, IdHasher()).packed()
        seen += len(there.events)
        for _, site in make_group(name, chosen).on_batch([there]).pieces:  # type: ignore[arg-type]
            assert type(site) is SitePiece
            assert opened(_there(packed(site))) == site
    assert seen >= len(merged.events)


class CountingWriter(MemoryWriter):
    def __init__(self, kept: list[Row]) -> None:
        super().__init__(kept)
        self.calls: list[int] = []

    def write(self, rows: Sequence[Row]) -> None:
        self.calls.append(len(rows))


def _no_lane(name: str, resume: bytes | None) -> FileLane:
    raise AssertionError((name, resume))


def test_a_writer_is_called_with_nothing_when_time_goes_on_without_rows() -> None:
    chosen = pipeline_settings()
    lane = chosen.lanes[0]
    writer = CountingWriter([])
    made = Pipeline(settings=chosen, open_lane=_no_lane, open_writer=lambda: writer, stop=Stop())
    partition = _SinkPartition(writer, made, Pace(chosen.lanes, 1), _Epoch())
    partition.write_batch([_Mark(lane, 1), _Mark(lane, 2)])
    assert writer.calls == [0], "what waits in it may be due, and no row may come for long"
    partition.write_batch([_Mark(lane, 3), Rows(ONE_OF_EACH[:2])])
    assert writer.calls == [0, 2]


def test_a_writer_is_hastened_from_the_end_of_its_lanes_epoch_to_its_flush() -> None:
    chosen = pipeline_settings()
    epoch, hastened = _Epoch(), list[int]()
    writer = CountingWriter([])
    made = Pipeline(
        settings=chosen,
        open_lane=_no_lane,
        open_writer=lambda: writer,
        stop=Stop(),
        hasten=lambda: hastened.append(len(writer.calls)),
    )
    partition = _SinkPartition(writer, made, Pace(chosen.lanes, 1), epoch)
    partition.write_batch([Rows(ONE_OF_EACH[:2])])
    assert hastened == []
    epoch.ends = True
    partition.write_batch([Rows(ONE_OF_EACH[:2])])
    assert hastened == [2], "behind the rows"
    partition.snapshot()
    partition.write_batch([Rows(ONE_OF_EACH[:2])])
    assert hastened == [2]


class RefusingWriter(MemoryWriter):
    def write(self, rows: object) -> None:
        del rows
        raise StoreRefused("no rights")


def test_what_the_sink_raises_comes_out_as_itself_without_the_engines_trace(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = write_log(tmp_path / "log", log_of([Fact(n, "order.created", n, n, 0, False, 1) for n in range(60)]))
    chosen = pipeline_settings()
    source = LaneInput(partitions=tuple(partitions_of(files)), rules=TimeRules(), batch=50)

    def open_lane(name: str, resume: bytes | None) -> FileLane:
        return FileLane(name, chosen.lanes, source, resume, lambda _lane, _share: None)

    made = Pipeline(settings=chosen, open_lane=open_lane, open_writer=lambda: RefusingWriter([]), stop=Stop())
    with pytest.raises(StoreRefused, match="no rights"):
        run_flow(made, tmp_path / "recovery", 0)
    os.write(2, b"standard error is ours again")
    said = capfd.readouterr().err
    assert said.endswith("standard error is ours again")
    assert "panicked" not in said
    assert "Traceback" not in said


class _BuiltError(Exception):
    """Not to be run."""


@pytest.mark.parametrize(("cluster", "which"), [(Cluster(), (1, 0)), (Cluster(2, ("a:1", "b:1", "c:1")), (3, 2))])
def test_a_flow_knows_which_of_the_processes_it_is_in(
    cluster: Cluster, which: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise all would go on, and what stays here would be packed instead of what leaves."""

    def built(pipeline: Pipeline, *, keeps: bool, workers: int, worker: int) -> None:
        del pipeline, keeps
        assert (workers, worker) == which
        raise _BuiltError

    monkeypatch.setattr(engine, "build_flow", built)
    chosen = pipeline_settings()
    made = Pipeline(settings=chosen, open_lane=_no_lane, open_writer=lambda: MemoryWriter([]), stop=Stop())
    with pytest.raises(_BuiltError):
        run_flow(made, None, 0, cluster)
