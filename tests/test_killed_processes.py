"""Real processes, really killed: the views are those of an undisturbed run."""

import random
import shutil
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from dataflows.engine import init_recovery
from dataflows.recovery import RunRecord
from scenarios.simulate import demo_settings, simulate
from tests.databases import fingerprints, migrated, rows_of
from tests.kafka_lanes import event
from tests.processes import andon, start
from tests.scripts import DAY

#: Where it is to be disturbed; what is left after that goes on in the usual ones, since each is a snapshot.
EPOCH = "100ms"


def wait_for(condition: Callable[[], bool], what: str, deadline_s: float = 60.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"waited {deadline_s} s for {what}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("day")
    simulate(msgspec.structs.replace(demo_settings(11), orders_per_day=300, counter_sales_per_day=425, skus=80), folder)
    return sorted(str(path) for path in folder.glob("*.jsonl") if path.name != "truth.jsonl")


@pytest.fixture(scope="module")
def undisturbed(day: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The views' fingerprints of a replay that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    andon("replay", *day, cwd=folder)
    found = fingerprints(folder)
    assert found["handoffs"][0] > 1_500  # type: ignore[index] # (rows, hash)
    return found


def test_a_replay_killed_again_and_again_gives_the_views_of_an_undisturbed_one(
    day: list[str], undisturbed: dict[str, object], tmp_path: Path
) -> None:
    chance = random.Random(5)
    deaths = 0
    for _ in range(4):
        deaths += _start_and_kill(day, tmp_path, chance.uniform(0.2, 1.5))
    andon("replay", *day, "--recovery", "state", cwd=tmp_path, ANDON_ENGINE_BATCH="500")
    assert deaths >= 2
    assert fingerprints(tmp_path) == undisturbed
    andon("replay", *day, cwd=tmp_path)
    assert fingerprints(tmp_path) == undisturbed, "replaying the same input twice changes no view"


def _start_and_kill(day: list[str], folder: Path, after_s: float) -> bool:
    """Kill a replay some time after it began to keep state; whether it was still running then."""
    process = start(
        "replay", *day, "--recovery", "state", cwd=folder, ANDON_ENGINE_EPOCH=EPOCH, ANDON_ENGINE_BATCH="500"
    )
    wait_for(lambda: (folder / "state").exists() or process.poll() is not None, "state to be kept")
    time.sleep(after_s)  # a random point of the run: there is nothing to wait for
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def test_a_replay_that_is_stopped_says_so_and_goes_on(
    day: list[str], undisturbed: dict[str, object], tmp_path: Path
) -> None:
    cut = {"ANDON_ENGINE_BATCH": "200", "ANDON_ENGINE_LANES": "4"}
    process = start("replay", *day, "--recovery", "state", cwd=tmp_path, ANDON_ENGINE_EPOCH=EPOCH, **cut)
    wait_for(lambda: (tmp_path / "state").exists() or process.poll() is not None, "state to be kept")
    time.sleep(0.5)  # a point within the run, whichever
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "stopped at a snapshot, before the end of the input; the same command goes on from state" in errors
    andon("replay", *day, "--recovery", "state", cwd=tmp_path, **cut)
    assert fingerprints(tmp_path) == undisturbed


def test_a_replay_over_the_state_of_a_job_that_runs_is_refused(day: list[str], tmp_path: Path) -> None:
    migrated(tmp_path)
    process = start("run", day[0], "--recovery", "state", cwd=tmp_path, ANDON_OBSERVE_LISTEN="127.0.0.1:0")
    wait_for(lambda: (tmp_path / "state" / "andon-run.json").exists() or process.poll() is not None, "the job")
    own = ("--clickhouse", "chdb:///./own.db")
    done = andon("replay", day[0], "--recovery", "state", *own, cwd=tmp_path, check=False)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert done.returncode == 1
    assert "andon: state is in use by another running job" in done.stderr
    andon("replay", day[0], "--recovery", "state", *own, cwd=tmp_path)


@pytest.mark.parametrize("command", ["run", "replay"])
def test_a_recovery_directory_that_is_none_is_said(command: str, day: list[str], tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    done = andon(command, day[0], "--recovery", "state", cwd=tmp_path, check=False, ANDON_OBSERVE_LISTEN="127.0.0.1:0")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "andon: state can't be kept in state, or read from there: File exists;"
    )
    assert "Traceback" not in done.stderr


def test_state_whose_record_is_gone_is_not_taken_up_with_another_cut(tmp_path: Path) -> None:
    """With 5 groups instead of 8 the job went on, and what the others had kept was never heard of again."""
    (tmp_path / "log.jsonl").write_bytes(event(1, DAY))
    state, run = tmp_path / "state", ("replay", "log.jsonl", "--recovery", "state")
    andon(*run, cwd=tmp_path)
    record = RunRecord.path(state)
    kept = record.read_bytes()
    record.unlink()
    done = andon(*run, cwd=tmp_path, check=False, ANDON_ENGINE_CASE_GROUPS="5")
    assert done.returncode == 1
    assert f"{record.relative_to(tmp_path)}, which goes with it, is missing: give it back" in done.stderr
    assert not record.exists()
    record.write_bytes(kept)
    andon(*run, cwd=tmp_path)
    shutil.rmtree(state)
    init_recovery(state, 1)  # killed before the run was on record, nothing was kept yet
    andon(*run, cwd=tmp_path)


def test_other_lanes_and_groups_give_the_same_views(
    day: list[str], undisturbed: dict[str, object], tmp_path: Path
) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    for folder, cut in ((one, ("1", "1")), (many, ("3", "5"))):
        folder.mkdir()
        lanes, groups = cut
        andon(
            "replay",
            *day,
            cwd=folder,
            ANDON_ENGINE_LANES=lanes,
            ANDON_ENGINE_CASE_GROUPS=groups,
            ANDON_ENGINE_ITEM_GROUPS=groups,
            ANDON_ENGINE_SITE_GROUPS=groups,
        )
    assert fingerprints(one) == fingerprints(many) == undisturbed


def _orders(first: int, last: int, at: datetime) -> bytes:
    lines = []
    for number in range(first, last):
        body = {
            "event_id": f"c{number}",
            "type": "order.created",
            "source": "oms",
            "system": "oms",
            "occurred_at": (at - timedelta(milliseconds=last - number)).isoformat(),
            "order_id": f"o{number}",
            "lines": [],
        }
        lines.append(msgspec.json.encode(body) + b"\n")
    return b"".join(lines)


def _read_to_the_end(process_id: int, file: Path) -> bool:
    """Whether the process has `file` open and stands behind its last complete line."""
    complete = file.read_bytes().rfind(b"\n") + 1
    for entry in Path(f"/proc/{process_id}/fd").iterdir():
        try:
            if entry.readlink() == file:
                info = Path(f"/proc/{process_id}/fdinfo/{entry.name}").read_text()
                return int(info.split()[1]) >= complete
        except FileNotFoundError:
            continue
    return False


def test_a_stopped_run_ends_at_a_snapshot_and_goes_on_from_it(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_bytes(_orders(0, 700, datetime.now(UTC)))
    migrated(tmp_path)
    with file.open("ab") as log:
        for first in (700, 900):
            _run_and_stop(file, tmp_path)
            log.write(_orders(first, first + 200, datetime.now(UTC)))
            log.flush()
        log.write(b'{"an incomplete line": ')
    passes = (
        "SELECT status, count() AS n, uniq(case_id) AS cases FROM handoffs "
        "WHERE handoff = 'order_approval' GROUP BY status"
    )
    for _ in range(6):
        _run_and_stop(file, tmp_path)
        rows = rows_of(passes, tmp_path)
        if rows == [{"status": "open", "n": 1100, "cases": 1100}]:
            break
    assert rows == [{"status": "open", "n": 1100, "cases": 1100}]
    assert rows_of("SELECT count() AS n FROM dead_letters", tmp_path) == [{"n": 0}]
    assert rows_of("SELECT count() AS n FROM duplicate_events", tmp_path) == [{"n": 0}]


def _run_and_stop(file: Path, cwd: Path) -> None:
    """Follow `file` until it was read, then stop with SIGTERM: exit code 0, within 10 s, at a snapshot."""
    process = start(
        "run",
        str(file),
        "--recovery",
        "state",
        cwd=cwd,
        ANDON_ENGINE_EPOCH="200ms",
        ANDON_TIME_IDLE_GRACE="1ms",
    )
    wait_for(lambda: process.poll() is not None or _read_to_the_end(process.pid, file), "the file to be read")
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert time.monotonic() - began < 10
    assert "stopped at a snapshot" in errors


def test_a_message_from_the_future_of_a_live_log_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    now = datetime.now(UTC)
    file.write_bytes(_orders(0, 3, now) + _orders(3, 4, now + timedelta(days=400)) + _orders(4, 6, now))
    migrated(tmp_path)
    for _ in range(6):
        _run_and_stop(file, tmp_path)
        if rows_of("SELECT count() AS n FROM handoffs WHERE handoff = 'order_approval'", tmp_path) == [{"n": 5}]:
            break
    assert rows_of("SELECT reason, path FROM dead_letters", tmp_path) == [{"reason": "rule", "path": "$.occurred_at"}]
    assert rows_of("SELECT count() AS n FROM handoffs WHERE handoff = 'order_approval'", tmp_path) == [{"n": 5}]
