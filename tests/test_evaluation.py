"""How findings are held against the truth, and the command over it."""

import json
from pathlib import Path

import msgspec
import pytest

from dataflows.cli import run_command
from dataflows.evaluation import Found, Truth, judge, read_truth
from schemas.durations import HOUR_US, MINUTE_US, Instant
from schemas.errors import SettingsError

BEGIN = Instant.parse("2026-03-02T10:00:00Z")
BROKEN = Truth(
    breakdown_id="b1",
    kind="picking_backlog",
    begin="2026-03-02T10:00:00Z",
    end="2026-03-02T12:00:00Z",
    effects_until="2026-03-02T13:00:00Z",
    scope={"node": "s1"},
    orders=["o1", "o2", "o3", "o4"],
    value_at_risk="40.50",
    currency="EUR",
)
CLEAN = Truth(breakdown_id="c1", kind="none", begin="2026-03-03T00:00:00Z", end="2026-03-04T00:00:00Z")


def found(number: int, kind: str = "picking_backlog", minutes: float = 5, orders: str = "", **scope: str) -> Found:
    at = BEGIN + round(minutes * MINUTE_US)
    return Found(
        incident_id=f"i{number}", kind=kind, scope=scope, opened_us=at, found_us=at, orders=frozenset(orders.split())
    )


def test_kind_scope_orders_and_time_of_the_one_that_fits_best() -> None:
    other = found(1, "queue_saturation", 1, "o1 o2", queue="q")
    right = found(2, minutes=7, orders="o1 o2 o3 x", node="s1")
    report = judge([BROKEN], [other, right])
    (verdict,) = report.verdicts
    assert (verdict.found, verdict.right_kind, verdict.right_scope) == (True, True, True)
    assert (verdict.incident_id, verdict.detection_s, verdict.incidents) == ("i2", 7 * 60, 2)
    assert (verdict.recall, verdict.precision, verdict.named) == (0.75, 0.75, 4)
    assert report.false == []


@pytest.mark.parametrize(
    ("one", "hit"),
    [
        (found(1, node="s2"), True),  # its kind, elsewhere: found, at the wrong place
        (found(1, "misrouting", orders="o1", region="n"), True),  # names an order of it
        (found(1, "misrouting", node="s1"), True),  # speaks of its place
        (found(1, "misrouting", orders="x", region="n"), False),
        (found(1, minutes=-1, node="s1"), False),
        (found(1, minutes=9 * 60 + 1, node="s1"), False),
        (found(1, minutes=9 * 60, node="s1"), True),
    ],
)
def test_what_touches_a_breakdown(one: Found, hit: bool) -> None:
    report = judge([BROKEN], [one])
    assert report.verdicts[0].found is hit
    assert (report.false == [one]) is not hit


def test_a_scope_is_right_where_every_shared_dimension_agrees() -> None:
    broken = Truth(**{**_fields(BROKEN), "scope": {"node": ["s1", "s2"], "sku": "a"}})
    for scope, right in (({"node": "s2"}, True), ({"node": "s2", "sku": "b"}, False), ({"region": "n"}, False)):
        (verdict,) = judge([broken], [found(1, **scope)]).verdicts
        assert verdict.right_scope is right, scope


def _fields(truth: Truth) -> dict[str, object]:
    return {name: getattr(truth, name) for name in truth.__struct_fields__}


def test_false_incidents_a_clean_day() -> None:
    in_clean = Found(incident_id="x", kind="oversell", scope={}, opened_us=0, found_us=BEGIN + 20 * HOUR_US)
    between = Found(incident_id="y", kind="oversell", scope={}, opened_us=0, found_us=BEGIN - HOUR_US)
    report = judge([BROKEN, CLEAN], [in_clean, between])
    assert report.false == [in_clean, between]
    assert report.false_per_clean_day == 1.0
    summary = report.summary()
    assert (summary["found"], summary["mean_recall"], summary["mean_precision"]) == (0.0, 0.0, None)


def test_of_cases_that_are_no_orders() -> None:
    broken = Truth(**{**_fields(BROKEN), "orders": [], "cases": ["p1", "p2"]})
    (verdict,) = judge([broken], [msgspec.structs.replace(found(1, node="s1"), cases=frozenset({"p1"}))]).verdicts
    assert (verdict.recall, verdict.precision) == (0.5, 1.0)


def test_a_truth_file_is_read_whole_or_refused_with_every_line(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    good = {"breakdown_id": "b", "kind": "none", "begin": "2026-03-02T10:00:00Z", "end": "2026-03-02T11:00:00Z", "x": 1}
    path.write_text(json.dumps(good) + "\n\n")
    assert [truth.breakdown_id for truth in read_truth(path)] == ["b"]
    path.write_text(json.dumps(good) + '\n{"kind": "none"}\n' + json.dumps({**good, "begin": "noon"}) + "\n{")
    with pytest.raises(SettingsError) as error:
        read_truth(path)
    assert [problem.line for problem in error.value.problems] == [2, 3, 4]
    with pytest.raises(SettingsError, match="no such file"):
        read_truth(tmp_path / "none.jsonl")


def test_the_command_refuses_what_does_not_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = tmp_path / "truth.jsonl"
    truth.write_text("")
    assert run_command(["evaluate", "--truth", str(truth), "--clickhouse", "chdb:///x", "events.jsonl"]) == 2
    assert "not both" in capsys.readouterr().err
    assert run_command(["evaluate", "--truth", str(truth), "--grace", "soon", "events.jsonl"]) == 2
    assert "--grace" in capsys.readouterr().err
