import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """One tiny turn of every benchmark, as `make bench` runs them."""
    out = tmp_path_factory.mktemp("bench") / "out.json"
    command = [sys.executable, "benchmarks/bench.py", "--events", "4000", "--repeat", "1", "--json", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text(encoding="utf-8"))
    document["table"] = done.stdout
    document["by_id"] = {one["id"]: one for one in document["results"]}
    return document


def test_every_benchmark_ran_and_is_in_the_table(measured: dict) -> None:
    assert len(measured["by_id"]) == 28
    for name, one in measured["by_id"].items():
        assert name in measured["table"]
        assert len(one["seconds"]) == 1
        assert one["seconds"][0] > 0
    assert measured["machine"]["cores"] > 0
    assert measured["machine"]["packages"]["bytewax"] == "0.21.1"


@pytest.mark.parametrize("work", ["w1", "day"])
def test_what_goes_in_comes_out(measured: dict, work: str) -> None:
    def of(stage: str) -> dict:
        return measured["by_id"][f"{work}.{stage}"]

    messages = of("decode")["messages"]
    assert messages >= 1_500
    assert of("decode")["out"] == of("msgspec")["out"] == of("lane")["out"] == messages
    assert of("route")["out"] == of("reorder")["out"] == of("dedup")["out"] >= messages
    assert of("handoffs")["out"] > 0
    assert of("stock")["out"] > 0
    assert of("handoff_windows")["events"] > 0


@pytest.mark.parametrize("work", ["w1", "day"])
def test_both_sinks_get_the_same_rows(measured: dict, work: str) -> None:
    counted, stored = (measured["by_id"][f"{work}.replay.{sink}"] for sink in ("counting", "chdb"))
    assert counted["out"] == stored["out"] > 0
    assert stored["peak_mb"][0] > 0


def test_w1_is_what_it_says(measured: dict) -> None:
    """4,000 events of which 1 % come twice; 60 % levels, a fifth reservations, a fifth picks of the same orders."""
    by_id = measured["by_id"]
    assert by_id["w1.decode"]["messages"] == 4_040
    assert by_id["w1.handoffs"]["events"] == 1_600
    assert by_id["w1.stock"]["events"] == 3_200
    assert by_id["w1.snapshot_cases"]["events"] <= 800


def test_an_unknown_benchmark_is_refused_in_words() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/bench.py", "--only", "w2"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no such benchmark: w2; there are: w1.msgspec" in done.stderr


def test_what_a_writer_holds_back_is_told_of_every_row(tmp_path: Path) -> None:
    out = tmp_path / "waits.json"
    command = [sys.executable, "benchmarks/write_waits.py", "--seconds", "2.2", "--json", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = {one["id"]: one for one in json.loads(out.read_text(encoding="utf-8"))["results"]}
    assert len(found) == 10, "every kind that was written is in"
    assert found["write_waits.signal_log"]["rows"] == 3 * found["write_waits.late_event_log"]["rows"]
    assert all(0 < one["p50_s"] <= one["p99_s"] for one in found.values())
