"""A job of two processes: stopped, killed or refused, all of it is, and what comes of it stays the same."""

import json
import os
import pickle
import re
import resource
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows import live, processes
from dataflows.cli import run_command
from dataflows.crossing import Rows
from dataflows.engine import _Mark, run_flow
from dataflows.flow import Cluster, Pipeline, Stop
from dataflows.lane import FileLane, LaneInput
from dataflows.settings import ObserveSettings, Settings, load_settings
from dataflows.telemetry import Telemetry
from dataflows.watch import JobWatch
from operators.lane_state import TimeRules
from scenarios.simulate import demo_settings, simulate
from schemas.durations import SECOND_US
from schemas.errors import SettingsError
from schemas.events import BUSINESS_TOPICS
from schemas.rows import Row
from tests.clickhouse_front import ClickHouseFront
from tests.clickhouse_rows import ONE_OF_EACH
from tests.harness import settings as pipeline_settings
from tests.kafka_broker import Broker
from tests.kafka_job import Job, Log, wait_for, whole_views
from tests.processes import andon
from tests.test_flow import MemoryWriter

TWO = ("--processes", "2")


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with Broker() as one:
        yield one


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseFront]:
    with ClickHouseFront(tmp_path_factory.mktemp("clickhouse")) as one:
        yield one


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Log:
    folder = tmp_path_factory.mktemp("day")
    few = {"orders_per_day": 450, "counter_sales_per_day": 700, "skus": 60}
    simulate(msgspec.structs.replace(demo_settings(5), **few), folder)
    made = Log.of_files([folder / f"{topic}.jsonl" for topic in BUSINESS_TOPICS], 2)
    made.produce(broker)
    return made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, broker: Broker, front: ClickHouseFront, log: Log) -> object:
    """What comes of it in one process."""
    with Job(tmp_path_factory.mktemp("undisturbed"), broker, front.dsn_of("undisturbed")) as job:
        job.run_to_end(log)
        found = whole_views(job.folder)
        assert found["signals"][0] > 0  # type: ignore[index] # (rows, hash)
        return found


@pytest.fixture
def slow(front: ClickHouseFront) -> Iterator[ClickHouseFront]:
    """A database that holds the job back, so that it is disturbed in the middle of the log."""
    front.faults(latency_s=0.15)
    yield front
    front.faults()


def consuming(job: Job) -> list[int]:
    """Start two processes and wait until both consume; gives their pids."""
    job.start(*TWO)

    def both() -> bool:
        assert job.code is None, job.errors()
        return all(job.metric("andon_messages_total", process) for process in (0, 1))

    wait_for(both, "both processes to consume", 120)
    assert not at_end(job), "it is too fast to be disturbed"
    told = job.logged("processes_started")[-1]["pids"]
    assert isinstance(told, list)
    return told


def at_end(job: Job) -> bool:
    left = job.left(processes=2)
    return left is not None and left <= len(BUSINESS_TOPICS) * 2


def gone(pid: int) -> bool:
    """Whether no such process runs (one that nobody has asked for its end counts as gone)."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def test_a_stop_told_to_one_stops_all(
    tmp_path: Path, broker: Broker, slow: ClickHouseFront, log: Log, undisturbed: object
) -> None:
    with Job(tmp_path, broker, slow.dsn_of(tmp_path.name), engine={"batch": 500, "ahead": 2_000}) as job:
        for number, told in enumerate(("the one that started them", 1), start=1):
            pids = consuming(job)
            for process in (0, 1):
                said = job.ask("/status", process)
                assert said is not None
                assert json.loads(said)["process"] == process
            os.kill(pids[told] if isinstance(told, int) else job.pid, signal.SIGTERM)
            assert job.ends(30) == 0, job.errors()
            assert all(map(gone, pids))
            stopped = [line["message"] for line in job.logged("stopped")]
            assert stopped == ["stopped at a snapshot"] * 2 * number, "each of them, by itself"
        slow.faults()
        job.run_to_end(log, processes=2)
        assert whole_views(tmp_path) == undisturbed


def test_when_one_is_killed_all_end_and_nothing_is_lost(
    tmp_path: Path, broker: Broker, slow: ClickHouseFront, log: Log, undisturbed: object
) -> None:
    with Job(tmp_path, broker, slow.dsn_of(tmp_path.name), engine={"batch": 500, "ahead": 2_000}) as job:
        pids = consuming(job)
        os.kill(pids[0], signal.SIGKILL)
        assert job.ends(30) == 1
        assert all(map(gone, pids))
        said = job.errors().splitlines()
        assert "andon: another process of this job has gone; all of them stop and start together" in said
        assert re.search(
            r"process 0 ended with signal SIGKILL, process 1 ended with (exit code 1|signal SIGABRT)", said[-1]
        )
        pids = consuming(job)
        job.kill()
        wait_for(lambda: all(map(gone, pids)), "those that it had started to go, too", 10)
        slow.faults()
        job.run_to_end(log, processes=2)
        assert whole_views(tmp_path) == undisturbed


def test_a_volume_that_is_full_is_said_and_not_taken_for_another_process_that_has_gone(
    tmp_path: Path, broker: Broker, slow: ClickHouseFront, log: Log, undisturbed: object
) -> None:
    with Job(tmp_path, broker, slow.dsn_of(tmp_path.name), engine={"batch": 500, "ahead": 2_000}) as job:
        for pid in consuming(job):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        assert job.ends(60) == 1
        assert "andon: state can't be kept in state, or read from there: File too large" in job.errors()
        slow.faults()
        job.run_to_end(log, processes=2)
        assert whole_views(tmp_path) == undisturbed


def test_a_stop_right_after_the_start(tmp_path: Path, broker: Broker, front: ClickHouseFront) -> None:
    for number in (1, 2):
        with Job(tmp_path / str(number), broker, front.dsn_of("early")) as job:
            job.start(*TWO)
            wait_for(lambda job=job: bool(job.logged("processes_started")), "the processes", 60)  # type: ignore[misc]
            time.sleep(0.3 * number)  # while they import, make their directory, find each other
            job.send(signal.SIGTERM)
            assert job.ends(30) == 0, job.errors()


def test_a_stop_of_one_that_waits_for_another_is_not_waited_out(
    tmp_path: Path, broker: Broker, front: ClickHouseFront
) -> None:
    """A pod that can't be scheduled keeps the others waiting: these heard of a stop when its time was over."""
    engine: dict[str, object] = {"processes": processes.free_addresses(2), "stop_within": "60s"}
    with Job(tmp_path, broker, front.dsn_of("alone"), engine=engine) as job:
        job.start()
        wait_for(
            lambda: "until its state is read and all other" in job.answer("/readyz")[1], "the wait for the other", 60
        )
        job.send(signal.SIGTERM)
        assert job.ends(30) == 0, job.errors()
        assert job.errors().splitlines()[-1] == "stopped before it had begun"


def test_an_address_that_somebody_else_has_is_said(tmp_path: Path) -> None:
    chosen = pipeline_settings()
    source = LaneInput(partitions=(), rules=TimeRules(), batch=10)
    made = Pipeline(
        settings=chosen,
        open_lane=lambda name, resume: FileLane(name, chosen.lanes, source, resume, lambda _lane, _share: None),
        open_writer=lambda: MemoryWriter([]),
        stop=Stop(),
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        here = f"127.0.0.1:{taken.getsockname()[1]}"
        words = f'engine.processes.*"{here}".*that nobody else listens at: Address already in use'
        with pytest.raises(SettingsError, match=words):
            run_flow(made, tmp_path / "state", SECOND_US, Cluster(0, (here, "127.0.0.1:1")))


def test_what_one_process_refuses_ends_the_others(tmp_path: Path, broker: Broker, front: ClickHouseFront) -> None:
    with Job(tmp_path / "first", broker, front.dsn_of("refused")) as job:
        job.start()
        wait_for(lambda: bool(job.logged("started")), "the job", 60)
        shared = {"recovery": str(tmp_path / "first" / "state")}
        with Job(tmp_path / "second", broker, front.dsn_of("refused"), engine=shared) as second:
            second.start()
            assert second.ends(60) == 1
            assert "is in use by another running job" in second.errors()
            second.start(*TWO)
            assert second.ends(60) == 1
            assert second.errors().count("is in use by another running job") >= 2
        job.stop()


@pytest.mark.parametrize(
    ("dsn", "processes", "words"),
    [
        ("chdb:///./andon.db", 2, "clickhouse.dsn = chdb:///./andon.db: is embedded, which one process can open"),
        ("http://default@127.0.0.1:1/andon", 5, "engine.lanes = 4: must be at least the number of processes (5)"),
    ],
)
def test_refused_before_any_process_is_started(tmp_path: Path, dsn: str, processes: int, words: str) -> None:
    (tmp_path / "andon.toml").write_text(
        f'[kafka]\nbootstrap = "127.0.0.1:1"\n[engine]\nlanes = 4\nrecovery = "state"\n[clickhouse]\ndsn = "{dsn}"\n'
    )
    done = andon("run", "--processes", str(processes), cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1, "said once"
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("listen", "second"),
    [
        ("127.0.0.1:9000", "127.0.0.1:9001"),
        ("[::1]:9000", "[::1]:9001"),
        (":9000", ":9001"),
        ("[::]:0", "[::]:0"),
    ],
)
def test_processes_answer_at_the_ports_after_the_first_ones(listen: str, second: str) -> None:
    settings = Settings(observe=ObserveSettings(listen=listen))
    told = [processes._environment(settings, ["a:1", "b:1"], number)["ANDON_OBSERVE_LISTEN"] for number in (0, 1)]
    assert told == [listen, second]


def test_where_to_answer_is_refused_in_words_before_any_process_is_started() -> None:
    settings = load_settings(None, {"ANDON_OBSERVE_LISTEN": "9000", "ANDON_SOURCE_FILES": '["orders.jsonl"]'})
    with pytest.raises(SettingsError, match=r'observe\.listen = "9000": must be a host and a port'):
        processes.run_processes(["run"], settings, 2)


@pytest.mark.parametrize(("listen", "words"), [("[::1]:65534", "up to 65533: 3 "), (":65536", "up to 65535")])
def test_ports_that_there_are_not_are_refused_before_any_process_is_started(listen: str, words: str) -> None:
    said = {
        "ANDON_OBSERVE_LISTEN": listen,
        "ANDON_SOURCE_FILES": '["orders.jsonl"]',
        "ANDON_ENGINE_LANES": "3",
        "ANDON_ENGINE_RECOVERY": "state",
        "ANDON_CLICKHOUSE": "http://127.0.0.1:1/andon",
    }
    with (
        patch.object(processes, "_child", side_effect=AssertionError("started")),
        pytest.raises(SettingsError) as caught,
    ):
        processes.run_processes(["run"], load_settings(None, said), 3)
    (problem,) = caught.value.problems
    assert (problem.key, problem.value) == ("observe.listen", f'"{listen}"')
    assert words in problem.expected


def test_one_process_waits_for_no_others_whatever_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Settings] = []
    monkeypatch.setattr(live, "run_live", lambda settings, _: begun.append(settings))
    (tmp_path / "andon.toml").write_text('[engine]\nprocesses = ["a:1", "b:1"]\nprocess = 1\n')
    for more in ([], ["--processes", "1"]):
        assert run_command(["run", "--config", str(tmp_path / "andon.toml"), *more]) == 0
    assert [(one.engine.processes, one.engine.process) for one in begun] == [(["a:1", "b:1"], 1), ([], 0)]


@given(st.permutations(ONE_OF_EACH))
def test_rows_of_every_kind_and_marks_cross_processes_unchanged(some: list[Row]) -> None:
    for value in (Rows(some), _Mark("lane-0001", 2**62), Rows()):
        there = pickle.loads(pickle.dumps(("rows:lane-0000", value)))[1]  # noqa: S301 - our own bytes
        assert type(there) is type(value)
        assert sorted(map(repr, there)) == sorted(map(repr, value)) if isinstance(value, list) else there == value


def test_a_signal_that_comes_after_another_process_has_told_of_the_stop_is_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SIGTERM goes to all processes of a job, and the first to hear it tells the others through the flow."""
    ended: list[str] = []
    monkeypatch.setattr(live, "_end_at_once", lambda _, why: ended.append(why))
    stop = Stop()
    with live._stopping(stop, JobWatch(Telemetry(), stop, lambda: 0, 60), 60):
        stop.requested = True
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: bool(ended), "the second to be heard", 30)
    assert ended == ["stopped by a second signal, not at a snapshot"]
