import csv
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"
#: What holds in a run of any length; being flat takes longer.
LOSSES = (
    "all was sent",
    "all was processed",
    "no orders lost or made up",
    "no shipments lost or made up",
    "repeats, and nothing else, were dropped",
    "dead letters are those injected",
    "exit codes",
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty seconds of what `make soak` does, disturbances and all."""
    folder = tmp_path_factory.mktemp("soak")
    command = [sys.executable, "benchmarks/soak.py", "--minutes", "0.35", "--rate", "300", "--out", str(folder)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_nothing_is_lost_through_kills_and_outages(out: Path) -> None:
    report = (out / "report.md").read_text(encoding="utf-8")
    for name in LOSSES:
        assert f"| {name} | holds |" in report, report
    sent = re.search(r"all was sent \| holds \| ([\d,]+) messages", report)
    assert sent is not None
    assert int(sent[1].replace(",", "")) > 3_000
    for disturbed in ("SIGKILL", "ClickHouse away", "broker frozen", "SIGTERM"):
        assert re.search(rf"min \| {disturbed}: .*\| \d+ s \|", report), report


def test_flatness_is_told_and_not_judged_of_a_short_run(out: Path) -> None:
    report = (out / "report.md").read_text(encoding="utf-8")
    for name in ("memory is flat", "latency is flat", "state is bounded"):
        assert f"| {name} | not judged |" in report, report


def test_samples_have_what_is_judged_and_plotted(out: Path) -> None:
    with (out / "samples.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 10
    named = {column for row in rows for column, cell in row.items() if cell}
    assert named >= {
        "job_rss_mb",
        "clickhouse_rss_mb",
        "broker_rss_mb",
        "messages_per_s",
        "lag_messages",
        "lag_s",
        "watermark_age_s",
        "end_to_end_p50_s",
        "end_to_end_p95_s",
        "end_to_end_p99_s",
        "epoch_s",
        "snapshot_s",
        "snapshot_bytes",
        "rows_per_s",
        "retries",
        "dead_letters",
        "state.handoffs.cases",
        "state.dedup.ids",
    }
    times = [float(row["t_s"]) for row in rows]
    assert times == sorted(times)


def test_the_plot_has_a_panel_for_each_figure(out: Path) -> None:
    picture = ET.parse(out / "soak.svg").getroot()  # noqa: S314 - what we wrote ourselves a moment ago
    titles = {text.text.strip() for text in picture.iter(f"{SVG}text") if text.text and text.get("font-weight")}
    assert titles >= {"Resident memory", "Lag", "State", "Machine", "Rate"}
    lines = list(picture.iter(f"{SVG}polyline"))
    assert len(lines) >= 8
    _, _, width, height = map(float, picture.get("viewBox", "").split())
    for line in lines:
        for point in line.get("points", "").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width, point
            assert 0 <= y <= height, point


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType, ModuleType]:
    """What looks, what disturbs and what judges: scripts beside each other, no package."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    names = ("soak_watch", "soak_disturbances", "soak_verdict")
    watch, disturbances, verdict = map(importlib.import_module, names)
    return watch, disturbances, verdict


@pytest.mark.parametrize(
    ("memory_an_hour", "slower", "more", "failing"),
    [
        (1.02, 1.0, 1.0, None),
        (1.10, 1.0, 1.0, "memory is flat"),
        (1.02, 2.0, 1.0, "latency is flat"),
        (1.02, 1.0, 1.3, "state is bounded"),
    ],
)
def test_what_is_not_flat_is_found(
    parts: tuple[ModuleType, ModuleType, ModuleType],
    memory_an_hour: float,
    slower: float,
    more: float,
    failing: str | None,
) -> None:
    """An hour with noise, and a disturbance in it that would spoil everything if it counted."""
    watch, disturbances, verdict = parts
    samples = []
    for number in range(720):
        at_s, share = number * 5.0, number / 720
        disturbed = 900 <= at_s < 960
        noise = 1 + 0.02 * ((number * 7919) % 100 / 100 - 0.5)
        values = {
            "job_rss_mb": 500 * (1 + (memory_an_hour - 1) * share) * noise * (3 if disturbed else 1),
            "state.dedup.ids": 100_000 * (1 + (more - 1) * 2 * max(0.0, share - 1 / 3)) * noise,
            "state.feeds.held": 10 * share,  # few: it may do as it likes
        }
        late_bound = 5.0 * (slower if share >= 2 / 3 else 1.0)
        buckets = {2.5: 900.0, 60.0 if disturbed else late_bound: 100.0}
        samples.append(watch.Sample(at_s, values, buckets))
    one = disturbances.Disturbance("SIGKILL", "", 900.0, 905.0, 960.0)
    judged = {found.name: found.holds for found in verdict.flatness(samples, [one], 60.0, 60.0, 240.0)}
    assert judged == {name: name != failing for name in ("memory is flat", "latency is flat", "state is bounded")}


def test_quantiles_are_those_of_prometheus(parts: tuple[ModuleType, ModuleType, ModuleType]) -> None:
    watch, _, _ = parts
    buckets = {1.0: 50.0, 2.5: 40.0, 5.0: 0.0, 10.0: 10.0}
    assert watch.quantile(0.5, buckets) == pytest.approx(1.0)
    assert watch.quantile(0.9, buckets) == pytest.approx(2.5)
    assert watch.quantile(0.95, buckets) == pytest.approx(7.5)
    assert watch.quantile(0.5, {float("inf"): 3.0}) == pytest.approx(3600.0)
    assert watch.quantile(0.5, {1.0: 0.0}) is None
