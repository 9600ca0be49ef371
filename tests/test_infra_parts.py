"""State on a volume for each pod: shared out at the first start, dealt to another number, refused if not whole."""

import json
import runpy
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dataflows.job import RunRecord
from dataflows.settings import Settings, load_settings
from scenarios.simulate import demo_settings, simulate
from schemas.errors import StateError
from schemas.events import BUSINESS_TOPICS
from tests.clickhouse_front import ClickHouseFront
from tests.databases import rows_of
from tests.infra_pods import PARTS, Pods
from tests.kafka_broker import Broker
from tests.kafka_job import SELDOM_S, Job, Log, wait_for, whole_views
from tests.processes import PEER_GONE

SCRIPT: dict[str, Any] = runpy.run_path(str(PARTS))
share_for: Callable[[Settings, str, int, Callable[[str], bool]], str] = SCRIPT["share"]
deal: Callable[[list[Path], int], str] = SCRIPT["deal"]
parts_in: Callable[[Path], dict[int, Path]] = SCRIPT["parts_in"]


def share(settings: Settings, run: str, first: int) -> str:
    """At a start of a run that has written nothing."""
    return share_for(settings, run, first, lambda _: False)


def settings(volume: Path, process: int = 0, lanes: int = 5) -> Settings:
    environment = {
        "ANDON_ENGINE_RECOVERY": str(volume),
        "ANDON_ENGINE_PROCESSES": json.dumps([f"127.0.0.1:{21_000 + number}" for number in range(4)]),
        "ANDON_ENGINE_PROCESS": str(process),
        "ANDON_ENGINE_LANES": str(lanes),
        "ANDON_ENGINE_CASE_GROUPS": "16",
    }
    return load_settings(None, environment)


def shared(folder: Path, pods: int, lanes: int = 5) -> list[Path]:
    volumes = [folder / str(number) for number in range(pods)]
    for number, volume in enumerate(volumes):
        share(settings(volume, number, lanes), "run-1", pods)
    return volumes


def numbers(volumes: list[Path]) -> list[list[int]]:
    return [sorted(parts_in(volume)) for volume in volumes]


def mark(part: Path) -> None:
    """Something to know a part by, in it and in the log beside it."""
    with closing(sqlite3.connect(part)) as opened:
        opened.execute("CREATE TABLE mark AS SELECT ? AS name", (part.name,))
        opened.commit()


def marked(part: Path) -> str:
    with closing(sqlite3.connect(part)) as opened:
        return str(opened.execute("SELECT name FROM mark").fetchone()[0])


def test_every_part_is_on_one_volume_and_the_run_is_the_same_on_all(tmp_path: Path) -> None:
    volumes = shared(tmp_path, 2)
    assert numbers(volumes) == [[0, 2, 4], [1, 3]]
    records = {RunRecord.path(volume).read_bytes() for volume in volumes}
    assert len(records) == 1
    record = msgspec.json.decode(records.pop(), type=RunRecord)
    assert (record.lanes, record.case_groups, len(record.run_id)) == (5, 16, 12)
    share(settings(tmp_path / "other", 0), "run-2", 2)
    assert msgspec.json.decode(RunRecord.path(tmp_path / "other").read_bytes(), type=RunRecord) != record


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    volumes = shared(tmp_path, 2)
    mark(parts_in(volumes[1])[3])
    share(settings(volumes[1], 1), "run-1", 2)
    assert marked(parts_in(volumes[1])[3]) == "part-3.sqlite3"


def test_a_first_start_that_was_broken_off_is_finished(tmp_path: Path) -> None:
    whole = shared(tmp_path / "whole", 2)[0]
    volume = tmp_path / "broken"
    (volume / ".making.unfinished").mkdir(parents=True)  # killed while it made them
    (volume / ".making.unfinished" / "part-0.sqlite3").touch()
    share(settings(volume), "run-1", 2)
    assert sorted(parts_in(volume)) == sorted(parts_in(whole))
    (volume / ".making").mkdir()  # killed while it moved them
    parts_in(volume)[4].replace(volume / ".making" / "part-4.sqlite3")
    RunRecord.path(volume).unlink()
    share(settings(volume), "run-1", 2)
    assert sorted(parts_in(volume)) == sorted(parts_in(whole))
    assert RunRecord.path(volume).read_bytes() == RunRecord.path(whole).read_bytes()
    assert not (volume / ".making").exists()


def test_a_pod_that_came_later_does_not_begin_with_an_empty_volume(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="began with 2 pods and this is number 2, with an empty volume"):
        share(settings(tmp_path, 2), "run-1", 2)
    assert not parts_in(tmp_path)


def test_an_empty_volume_of_a_run_that_has_written_is_refused(tmp_path: Path) -> None:
    asked: list[str] = []

    def has_rows(run_id: str) -> bool:
        asked.append(run_id)
        return True

    with pytest.raises(StateError, match="the run run-1 has written rows already"):
        share_for(settings(tmp_path / "lost"), "run-1", 2, has_rows)
    assert not parts_in(tmp_path / "lost")
    (volume,) = shared(tmp_path, 1)
    record = msgspec.json.decode(RunRecord.path(volume).read_bytes(), type=RunRecord)
    assert asked == [record.run_id], "its rows are under the same id"
    share_for(settings(volume), "run-1", 2, has_rows)
    assert len(asked) == 1, "where there is state nobody is asked"


def test_a_run_without_parts_and_parts_without_a_run_are_refused(tmp_path: Path) -> None:
    volume, other = shared(tmp_path, 2)
    for part in parts_in(volume).values():
        part.unlink()
    with pytest.raises(StateError, match="no part of its state"):
        share(settings(volume), "run-1", 2)
    RunRecord.path(other).unlink()
    with pytest.raises(StateError, match=r"no andon-run\.json"):
        share(settings(other, 1), "run-1", 2)


def test_parts_go_whole_to_any_number_of_pods_and_back(tmp_path: Path) -> None:
    volumes = shared(tmp_path, 2)
    for volume in volumes:
        for part in parts_in(volume).values():
            mark(part)
    volumes += [tmp_path / "2", tmp_path / "3"]
    for volume in volumes[2:]:
        volume.mkdir()
    for to, expected in (
        (4, [[0, 4], [1], [2], [3]]),
        (1, [[0, 1, 2, 3, 4], [], [], []]),
        (3, [[0, 3], [1, 4], [2], []]),
    ):
        deal(volumes, to)
        assert numbers(volumes) == expected
        for volume in volumes[:to]:
            assert RunRecord.path(volume).exists()
            assert all(marked(part) == part.name for part in parts_in(volume).values())


def test_the_log_beside_a_part_goes_with_it(tmp_path: Path) -> None:
    volumes = shared(tmp_path, 1)
    part = parts_in(volumes[0])[1]
    opened = sqlite3.connect(part)
    opened.execute("PRAGMA journal_mode = WAL")
    opened.execute("CREATE TABLE mark AS SELECT 'in the log' AS name")
    opened.commit()
    for beside in ("", "-wal"):  # as a kill leaves it: closing would take the log in
        shutil.copy(f"{part}{beside}", f"{tmp_path}/copy{beside}")
    opened.close()
    for beside in ("", "-wal"):
        shutil.copy(f"{tmp_path}/copy{beside}", f"{part}{beside}")
    (tmp_path / "1").mkdir()
    deal([volumes[0], tmp_path / "1"], 2)
    assert marked(parts_in(tmp_path / "1")[1]) == "in the log"
    assert not Path(f"{part}-wal").exists()


def test_dealing_that_was_broken_off_is_finished(tmp_path: Path) -> None:
    volumes = shared(tmp_path, 1)
    part = parts_in(volumes[0])[1]
    mark(part)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "part-1.sqlite3").write_bytes(b"written, the other not taken away; or not of this state at all")
    deal([volumes[0], tmp_path / "1"], 2)
    assert numbers([volumes[0], tmp_path / "1"]) == [[0, 2, 4], [1, 3]]
    assert marked(tmp_path / "1" / "part-1.sqlite3") == "part-1.sqlite3"


@pytest.mark.parametrize("wrong", ["missing", "other run", "twice", "too many", "no run"])
def test_what_is_not_the_state_of_one_run_is_not_dealt(tmp_path: Path, wrong: str) -> None:
    volumes = shared(tmp_path, 2)
    words, to = "", 2
    if wrong == "missing":
        parts_in(volumes[1])[3].unlink()
        words = "parts 3 of 5 are in none"
    elif wrong == "other run":
        record = RunRecord.path(volumes[1])
        record.write_bytes(record.read_bytes().replace(b'"lanes":5', b'"lanes":6'))
        words = "2 different runs"
    elif wrong == "twice":
        volumes.append(tmp_path / "2")
        volumes[2].mkdir()
        for volume in volumes[1:]:
            shutil.copy(parts_in(volumes[0])[2], volume)
        parts_in(volumes[0])[2].unlink()
        words = "part 2 is in"
    elif wrong == "too many":
        volumes += [tmp_path / str(number) for number in range(2, 7)]
        words, to = "5 parts do not reach for 6 pods", 6
    else:
        for volume in volumes:
            RunRecord.path(volume).unlink()
        words = "0 different runs"
    before = numbers(volumes)
    with pytest.raises(StateError, match=words):
        deal(volumes, to)
    assert numbers(volumes) == before


@contextmanager
def pods_over(folder: Path, broker: Broker, dsn: str) -> Iterator[Pods]:
    with Job(folder, broker, dsn, engine={"batch": 500, "ahead": 2_000, "stop_within": "60s"}) as job:
        pods = Pods(job)
        try:
            yield pods
        finally:
            pods.close()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseFront]:
    with ClickHouseFront(tmp_path_factory.mktemp("clickhouse")) as one:
        yield one


def test_rows_are_the_same_over_pods_with_volumes_of_their_own_stopped_killed_and_rescaled(
    tmp_path: Path, front: ClickHouseFront
) -> None:
    events = tmp_path / "events"
    few = {"orders_per_day": 250, "counter_sales_per_day": 400, "skus": 60}
    simulate(msgspec.structs.replace(demo_settings(5), **few), events)
    log = Log.of_files([events / f"{topic}.jsonl" for topic in BUSINESS_TOPICS], 2)
    with Broker() as broker:
        log.produce(broker)
        with Job(tmp_path / "undisturbed", broker, front.dsn_of("undisturbed")) as job:
            job.run_to_end(log)
            expected, findings = whole_views(job.folder), signals(job.folder)
        share_of_log = log.count // 6
        with pods_over(tmp_path / "pods", broker, front.dsn_of("pods")) as pods:
            front.faults(latency_s=0.1)  # slow enough to be disturbed in the middle
            pods.start(2, first=2)
            pods.wait_for_messages(share_of_log)
            pods.send(1, signal.SIGTERM)
            assert pods.codes() == [0, 0]
            later = pods.share(2, [f"127.0.0.1:{port}" for port in (1, 2, 3)], first=2)
            assert later.returncode == 1
            assert "empty volume" in later.stderr
            kept = pods.volume(1).rename(tmp_path / "kept")
            lost = pods.share(1, [f"127.0.0.1:{port}" for port in (1, 2)], first=2)
            assert lost.returncode == 1
            assert "has written rows already" in lost.stderr
            kept.rename(pods.volume(1))
            assert "each of 3 pods has 1 to 2" in pods.deal(3, count=3)
            pods.start(3, first=2)
            pods.wait_for_messages(share_of_log)
            pods.send(0, signal.SIGKILL)
            killed, *left_alone = pods.codes()
            assert killed == -signal.SIGKILL
            assert PEER_GONE.issuperset(left_alone)
            pods.start(3, first=2)
            pods.wait_for_messages(share_of_log // 2)
            pods.send(0, signal.SIGTERM)
            assert pods.codes() == [0, 0, 0]
            front.faults()
            pods.deal(1, count=3)
            pods.start(1, first=2, calm=True)
            job = pods.job
            wait_until_end(pods, job, log)
            pods.send(0, signal.SIGTERM)
            assert pods.codes() == [0]
            assert signals(job.folder) ^ findings == set()
            assert whole_views(job.folder) == expected


def test_processes_refuse_to_go_on_with_a_state_that_has_holes(tmp_path: Path, front: ClickHouseFront) -> None:
    log = Log(1)
    for number, mine in enumerate(log.messages.values(), start=1):
        mine += [(b"no event", number * 1_000 + later) for later in range(100)]
    with Broker() as broker, pods_over(tmp_path / "pods", broker, front.dsn_of("holes")) as pods:
        log.produce(broker)
        pods.start(2, first=2)
        pods.wait_for_messages(1)
        pods.send(0, signal.SIGTERM)
        assert pods.codes() == [0, 0]
        first, second = pods.volume(0), pods.volume(1)
        first.rename(tmp_path / "lost")
        pods.start(2, first=2, share=False)
        codes = pods.codes()
        assert 1 in codes
        assert PEER_GONE.issuperset(codes)
        assert "that of another process of this job is of run" in pods.job.errors()
        for part in parts_in(second).values():
            part.unlink()
        shutil.rmtree(first)
        second.rename(first)
        pods.start(1, first=2, share=False)
        assert pods.codes() == [1]
        assert f"{first} has a run and no part of its state" in pods.job.errors()


def signals(folder: Path) -> set[str]:
    """As text, to see in which they differ."""
    columns = "signal_id, kind, scope, opened_at, found_at, closed_at, severity, observed, explanation, evidence"
    return {json.dumps(row, sort_keys=True) for row in rows_of(f"SELECT {columns} FROM signals", folder)}


def wait_until_end(pods: Pods, job: Job, log: Log) -> None:
    def at_end() -> bool:
        lags = job.metric("andon_lag_messages").values()
        return len(lags) == len(log.messages) and all(value <= 1 for value in lags)

    pods.wait_for_messages(0)
    wait_for(at_end, "the log to be consumed", 300, SELDOM_S)
