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


_AS_THEY_STAND = (
    ": judged in the order in which they stand, as if each came a step after the one before it; sort the series"
)


def test_times_that_go_back_or_stand_still_are_told_and_scored(tmp_path: Path) -> None:
    """A missing value is no point; a point is held against the latest before it, not only the one before it."""
    rows = ["0,1", "120,1", "60,2", "90,", "110,3", "120,4", "180,5", ",6"]
    (tmp_path / "a.csv").write_text("\n".join(["timestamp,value", *rows[:3], "", *rows[3:-1], ""]), encoding="utf-8")
    times, values = zip(*(row.split(",") for row in rows[:-1]), strict=True)
    seconds = np.array([float(time) for time in times])
    np.savez(tmp_path / "b.npz", timestamp_s=seconds[:3], value=np.array([float(value) for value in values[:3]]))
    (tmp_path / "good.csv").write_text("timestamp,value\n0,1\n60,\n60,2\n", encoding="utf-8")
    done = run(tmp_path, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    summary = {one["series"]: (one["points"], one["backward"]) for one in json.loads(done.stdout)}
    assert summary == {"a.csv": (7, 3), "b.npz": (3, 1), "good.csv": (3, 0)}
    first, second = done.stderr.splitlines()
    more = " (nor are 2 more points later than all before them)"
    assert first.startswith(f"{tmp_path / 'a.csv'}: line 4, 60, is not later than line 3, 120,{more}{_AS_THEY_STAND}")
    assert second.startswith(
        f"{tmp_path / 'b.npz'}: timestamp_s[2], 60, is not later than timestamp_s[1], 120,{_AS_THEY_STAND}"
    )
    with (tmp_path / "out" / "a.csv").open(newline="", encoding="utf-8") as lines:
        assert [row["timestamp"] for row in csv.DictReader(lines)] == list(times)


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
        ("a.csv", "timestamp,value\n2026-01-01\n\ninf,1\n", "line 4: inf is no time in seconds"),
        ("a.csv", "timestamp,value\n1767225600000,1\n", "line 2: 1767225600000 is no time in seconds"),
        ("a.csv", "timestamp,value\n0,-3.4e38\n", "line 2: -3.4e+38 is more than 1e+30"),
        ("a.csv", "timestamp,value,\xe4\n", "must be UTF-8"),
        ("a.csv", f"timestamp,value\n0,{'1' * 200_000}\n", "line 2: field larger than field limit"),
        ("a.csv", 'timestamp,value\n0,"1\n' + "0,1\n" * 9_000, r"…"),
        ("a.csv", "timestamp;value\n0;1\n", "(timestamp;value); columns are parted by commas"),
        ("a.txt", "", r"must be .csv or .npz"),
        ("a.npz", "timestamp,value\n", "can't be read as an NPZ"),
        ("a.npz", "", "can't be read as an NPZ"),
        ("a.npz", "\x00\xff" * 500, "can't be read as an NPZ of numbers: it is no zip of arrays"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="latin-1")
    failure = run(path, "--out", tmp_path / "out").exception
    assert isinstance(failure, SourceError)
    assert words in str(failure)
    assert len(str(failure)) < len(str(path)) + 300


@pytest.mark.parametrize(
    ("times", "values", "words"),
    [
        (np.arange(3), np.arange(2.0), "3 times for 2 values"),
        (np.array([0.0, np.nan]), np.arange(2.0), "nan is no time"),
        (np.arange(2) * 1e12, np.arange(2.0), "1000000000000 is no time in seconds"),
        (
            np.arange(2).astype("datetime64[s]").astype("datetime64[ns]"),
            np.arange(2.0),
            "'timestamp_s' must be one row",
        ),
        (np.array(["a", "b"]), np.arange(2.0), "'timestamp_s' must be one row of numbers, is <U1"),
        (np.arange(4), np.zeros((4, 1)), "'value' must be one row of numbers, is float64 of shape (4, 1)"),
        (np.array(1.0), np.array(2.0), "must be one row"),
        (np.arange(2), np.array([1, None]), "Object arrays"),
        (np.arange(2), np.array([1.0, 1e200]), "1e+200 is more than"),
    ],
)
def test_what_arrays_cannot_be_read_is_said(tmp_path: Path, times: object, values: object, words: str) -> None:
    np.savez(tmp_path / "a.npz", timestamp_s=times, value=values, note=np.array([None]))  # type: ignore[arg-type]
    failure = run(tmp_path / "a.npz", "--out", tmp_path / "out").exception
    assert isinstance(failure, SourceError)
    assert words in str(failure)


def test_a_file_as_spreadsheets_write_it_is_read(tmp_path: Path) -> None:
    """With a byte order mark, blank lines, and without the empty cells at a line's end."""
    (tmp_path / "A.CSV").write_text("timestamp,value,note\n0,1,x\n\n60,2\n\n", encoding="utf-8-sig")
    done = run(tmp_path, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    with (tmp_path / "out" / "A.CSV").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["timestamp"], row["value"], row["note"]) for row in rows] == [("0", "1", "x"), ("60", "2", "")]


def test_results_are_no_series_and_replace_none(series: Path) -> None:
    before = (series / "deep" / "one.csv").read_bytes()
    told = [json.loads(run(series, "--out", series / "out", "--json").stdout) for _ in range(2)]
    assert told[0] == told[1]
    assert {one["series"] for one in told[0]} == {"deep/one.csv", "two.npz"}
    for given, out in ((series, series), (series / "deep" / "one.csv", series / "deep")):
        failure = run(given, "--out", out).exception
        assert isinstance(failure, SourceError)
        assert "would be replaced by its own result" in str(failure)
    assert (series / "deep" / "one.csv").read_bytes() == before
    assert run(series / "deep", "--out", series).exit_code == 0  # beside its folder
    assert (series / "one.csv").exists()


@pytest.mark.parametrize(("value", "step_s", "count"), [(5.0, 60, 300), (0.1, 3600, 300), (0.0, 300, 12_300)])
def test_a_constant_is_no_news_however_it_is_rounded(value: float, step_s: int, count: int) -> None:
    points = [(1_780_272_000_000_000 + number * step_s * 1_000_000, value, 0) for number in range(count)]
    assert {one.anomaly_score for one in judged(points, 1.0, "both") if one is not None} == {0.0}


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
