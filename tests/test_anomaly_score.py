"""`andon score`: the two public formats, and the model on real series within what is claimed of it."""

import csv
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from dataflows.cli.score import COLUMNS, judged, read_csv, score
from schemas.errors import SourceError


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(score, [str(argument) for argument in arguments], catch_exceptions=True)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    draw = random.Random(1)
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    with (folder / "deep" / "one.csv").open("w", encoding="utf-8") as lines:
        lines.write("value,timestamp,note\n")
        for number in range(600):
            value = 500 if number == 550 else draw.gauss(50, 2)
            lines.write(f"{value},2026-01-{1 + number // 288:02d} {number // 12 % 24:02d}:{number % 12 * 5:02d}:00,x\n")
    times = 1_780_272_000 + 300 * np.arange(600)
    values = np.array([draw.gauss(50, 2) for _ in range(600)])
    values[550], values[300] = 500, np.nan
    np.savez(folder / "two.npz", timestamp_s=times, value=values, label=np.zeros(600))
    return folder


def test_both_formats_come_out_where_they_came_from(series: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(series, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    summary = {one["series"]: one for one in json.loads(done.stdout)}
    assert summary["deep/one.csv"]["alarms"] == 1
    assert summary["two.npz"]["missing"] == 1
    with (out / "deep" / "one.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert list(rows[0]) == ["value", "timestamp", "note", *COLUMNS]
    assert len(rows) == 600
    assert max(rows, key=lambda row: float(row["anomaly_score"]))["value"] == "500"
    assert [row["is_alarm"] for row in rows].index("1") == 550
    assert all(float(row["lower"]) <= float(row["expected"]) <= float(row["upper"]) for row in rows)
    scores = np.load(out / "two.npy")
    assert scores.shape == (600,)
    assert np.isnan(scores[300])
    assert int(np.nanargmax(scores)) == 550


def test_scored_again_nothing_changes(series: Path, tmp_path: Path) -> None:
    run(series / "deep" / "one.csv", "--out", tmp_path / "first")
    run(tmp_path / "first" / "one.csv", "--out", tmp_path / "second")
    assert (tmp_path / "first" / "one.csv").read_bytes() == (tmp_path / "second" / "one.csv").read_bytes()


def test_no_score_hangs_on_what_comes_later(series: Path) -> None:
    points = read_csv(series / "deep" / "one.csv").points
    whole = list(judged(points, 1.0, "both"))
    assert list(judged(points[:400], 1.0, "both")) == whole[:400]


def test_an_offset_in_the_times_is_the_sites_clock(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("timestamp,value\n2026-03-29T03:00:00+02:00,1\n2026-03-29T01:00:00Z,2\n1774746000,3\n,\n", "utf-8")
    with pytest.raises(SourceError, match="line 5"):
        read_csv(path)
    path.write_text("timestamp,value\n2026-03-29T03:00:00+02:00,1\n2026-03-29T01:00:00Z,\n1774746000,3\n", "utf-8")
    times, values, offsets = zip(*((at, value, offset) for at, value, offset in read_csv(path).points), strict=True)
    assert set(times) == {1_774_746_000_000_000}
    assert offsets == (7_200_000_000, 0, 0)
    assert math.isnan(values[1])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "when,value\n", "no column 'timestamp'"),
        ("a.csv", "", "no column 'timestamp'"),
        ("a.csv", "timestamp,value\n2026-01-01,x\n", "line 2: could not convert"),
        ("a.txt", "", r"must be .csv or .npz"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    failure = run(path, "--out", tmp_path / "out").exception
    assert isinstance(failure, SourceError)
    assert words in str(failure)


def test_two_files_for_one_result_are_refused(series: Path, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("timestamp,value\n", encoding="utf-8")
    failure = run(series / "deep" / "one.csv", tmp_path / "one.csv", "--out", tmp_path / "out").exception
    assert isinstance(failure, SourceError)
    assert "both" in str(failure)


@pytest.mark.parametrize("budget", [0.5, 2.0])
def test_a_budget_holds_on_real_series(shared_data: Path, budget: float) -> None:
    """Over NAB's series of known cause, labelled anomalies included."""
    alarms = weeks = 0.0
    for path in sorted((shared_data / "nab" / "data" / "realKnownCause").glob("*.csv")):
        points = read_csv(path).points
        alarms += sum(one.is_alarm for one in judged(points, budget, "both") if one is not None)
        weeks += (points[-1][0] - points[0][0]) / 604_800e6
    assert 0 < alarms / weeks <= budget + 0.6  # the start-up share: some alarms in the first weeks, by the bound


def test_series_without_anomalies_are_quiet(shared_data: Path) -> None:
    found = 0
    for path in sorted((shared_data / "nab" / "data" / "artificialNoAnomaly").glob("*.csv")):
        points = read_csv(path).points
        found += sum(one.is_alarm for one in judged(points, 1.0, "both") if one is not None)
    assert found <= 5  # five series of two weeks: half their budget
