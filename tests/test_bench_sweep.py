"""Sweeps, snapshots, starts and latency, small: that they measure what they say, not how much it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # scripts, not a package
from latency import _by_metrics
from snapshot import _lost
from snapshot_run import Ran
from sweep_hot import KINDS
from sweep_model import Costs, KeyCost, Load, need

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"


def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / name), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def told(name: str, *arguments: str) -> dict:
    done = script(name, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", ["stock", "dedup", "cases", "whole"])
def test_the_work_is_the_same_with_any_number_of_keys(operator: str) -> None:
    least = 100_000 if operator == "dedup" else 10_000  # 34 bytes an id: of fewer no new page may be needed
    few, many = (told("sweep_keys.py", operator, str(keys), "3") for keys in (least, 2 * least))
    a_key = 2 if operator == "whole" else 1
    assert (few["known"], many["known"]) == (a_key * least, a_key * 2 * least)
    assert few["rows_an_event"] == pytest.approx(many["rows_an_event"], abs=0.001)
    assert operator == "dedup" or few["rows_an_event"] > 0.6
    for one in (few, many):
        assert 0 < one["low_us"] <= one["event_us"] <= one["high_us"]
        assert one["resident_bytes"] > one["snapshot_bytes"] / 2 > 1


@pytest.mark.parametrize("kind", KINDS)
def test_one_key_of_which_much_is_said(kind: str) -> None:
    measured = told("sweep_hot.py", kind, "300")
    assert measured["messages"] == 300
    assert measured["rows"] > 60, "windows of an hour, or passes"
    assert measured["cpu_s"] > 0


# --- the whole, cut otherwise -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> dict:
    out = tmp_path_factory.mktemp("sweep") / "out.json"
    chosen = ("batch.1024", "groups.64", "processes.files.1", "processes.files.2")
    only = [part for one in chosen for part in ("--only", f"sweep.{one}")]
    done = script("sweep.py", *only, "--events", "6000", "--repeat", "1", "--json", str(out))
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text())
    for one in chosen:
        assert f"sweep.{one}" in done.stdout
    return document


def test_rows_are_the_same_however_the_work_is_cut(swept: dict) -> None:
    """Of each partition's minutes there is a row, too, and the processes' log has more partitions."""
    assert len({runs[0]["rows"] for runs in swept["replays"].values()}) == 1
    assert len({runs[0]["limits"] for runs in swept["processes"].values()}) == 1
    assert swept["machine"]["cores"] > 0


def test_processes_share_all_groups_and_say_what_they_sent(swept: dict) -> None:
    (one,), (two,) = (swept["processes"][f"sweep.processes.files.{count}"] for count in (1, 2))
    assert one["messages"] == two["messages"] == 6_060
    assert one["groups"] == [16]
    assert sum(two["groups"]) == 16
    assert sum(two["share"]) == pytest.approx(1.0)
    assert one["packed_bytes"] == {}
    assert sum(two["packed_bytes"].values()) > 100 * 6_060 * min(two["share"])
    assert len(two["cpu_s"]) == 2


def test_an_unknown_sweep_is_refused_in_words() -> None:
    done = script("sweep.py", "--only", "sweep.keys.7")
    assert done.returncode == 2
    assert "no such benchmark: sweep.keys.7; there are: sweep.keys.10000.stock" in done.stderr


# --- snapshots --------------------------------------------------------------------------------------------------------


def test_a_snapshot_is_kept_and_resumed(tmp_path: Path) -> None:
    kept, resumed = (told("snapshot_run.py", str(tmp_path), "20000", "20000", mode) for mode in ("kept", "resume"))
    assert kept["snapshot_bytes"] > 20_000 * 100
    assert kept["recovery_bytes"] > kept["snapshot_bytes"]
    assert kept["seconds"] > 0
    assert resumed["first_row_s"] > 0
    bare = told("snapshot_run.py", str(tmp_path / "none"), "20000", "20000", "bare")
    assert bare["snapshot_bytes"] == bare["recovery_bytes"] == 0


def ran(seconds: float, cpu_s: float, epochs: int) -> Ran:
    return Ran("kept", 1, seconds, cpu_s, epochs, 0.0, 0, 0, 0.0, 0.0)


def test_what_snapshots_take_is_told_by_the_epoch() -> None:
    assert _lost(ran(40.0, 38.0, 0), ran(44.0, 40.0, 4), 10.0) == pytest.approx((0.1, 0.05))
    with pytest.raises(ValueError, match="no epoch ended"):
        _lost(ran(4.0, 3.0, 0), ran(4.0, 3.0, 0), 10.0)


# --- latency, model ---------------------------------------------------------------------------------------------------


def test_latencies_are_those_between_two_looks() -> None:
    """A hundred rows were slow before; of the hundred since, nearly all came within half a second."""
    inf = float("inf")
    before = {0.25: 0.0, 0.5: 0.0, 1.0: 0.0, 10.0: 100.0, inf: 100.0}
    after = {0.25: 0.0, 0.5: 98.0, 1.0: 100.0, 10.0: 200.0, inf: 200.0}
    found = _by_metrics("signal_log", before, after)
    assert found.rows == 100
    assert 0.25 < found.p50_s < found.p95_s <= 0.5 < found.p99_s <= 1.0


def test_the_model_is_its_formulas() -> None:
    """A million items and nothing else to hold, 10,000 messages a second of 25 us: a quarter of a core."""
    key, nothing = KeyCost(resident=2_000.0, kept=400.0), KeyCost(0.0, 0.0)
    costs = Costs(25.0, 0.5, 1.5, 700.0, key, nothing, nothing, 12.5, {1: 1.0, 2: 1.6})
    one = need(Load("small", 20, 50_000, 10_000.0, order_share=0.0), costs)
    assert one.busy_cores == pytest.approx(0.25)
    assert one.for_load == one.for_memory == one.processes == 1  # 0.25 / 0.5 / 0.8, rounded up
    assert one.resident_each == pytest.approx(2e9)
    assert one.kept == pytest.approx(4e8)
    assert one.kept_s_each == pytest.approx(5.0)
    assert one.changed_each == pytest.approx(1.2e8)  # 10,000 a second, 30 s, 400 bytes each
    assert one.epoch_s_each == pytest.approx((1.2e8 + 4e8 / 32) * 12.5e-9)
    assert one.rows == pytest.approx(5_000)
    assert one.exchanged == 0
    ten = need(Load("large", 200, 50_000, 100_000.0, order_share=0.0), costs)
    assert ten.processes == 8  # 2.5 / 0.5 / 0.8 = 6.25, of which 7 are enough, and 8 divides 48
    assert need(Load("huge", 200, 50_000, 1_000_000.0, order_share=0.0), costs).processes == 96  # two jobs of 48
    assert ten.for_memory == 3  # 20 GB by 8
    assert ten.groups == 128
    assert ten.exchanged == pytest.approx(100_000 * 700 * 7 / 8)
    assert ten.dedup_s == pytest.approx(2 * 128 * 2e6 / 150_000)
