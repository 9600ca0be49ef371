"""How findings are held against the truth, and the command over it."""

import gzip
import io
import json
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from dataflows.cli import run_command
from dataflows.evaluation import Found, Truth, judge, read_truth
from dataflows.evaluation_table import incidents_of, render_report
from schemas.durations import HOUR_US, MINUTE_US, Instant
from schemas.errors import SettingsError
from schemas.incident_rows import Incident, IncidentOrder
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import open_store
from sinks.clickhouse.writer import BlockWriter
from tests.clickhouse_rows import ONE_OF_EACH

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


def test_clean_time_counts_once() -> None:
    twice = msgspec.structs.replace(CLEAN, breakdown_id="c2", begin="2026-03-03T12:00:00Z", end="2026-03-04T12:00:00Z")
    within = msgspec.structs.replace(CLEAN, breakdown_id="c3", end="2026-03-03T06:00:00Z")
    assert judge([twice, CLEAN, within, CLEAN], []).clean_days == 1.5


def test_the_same_judgement_is_the_same_text() -> None:
    orders = [f"o{number}" for number in range(30)]
    texts = {
        judge([CLEAN], [found(1, orders=" ".join(some))]).as_json()
        for some in (orders, orders[::-1], orders[7:] + orders)
    }
    assert [json.loads(text)["false"][0]["orders"] for text in texts] == [sorted(orders)]


def test_of_cases_that_are_no_orders() -> None:
    broken = Truth(**{**_fields(BROKEN), "orders": [], "cases": ["p1", "p2"]})
    (verdict,) = judge([broken], [msgspec.structs.replace(found(1, node="s1"), cases=frozenset({"p1"}))]).verdicts
    assert (verdict.recall, verdict.precision) == (0.5, 1.0)


def test_a_case_that_belongs_to_no_order_is_none(tmp_path: Path) -> None:
    (known,) = (row for row in ONE_OF_EACH if isinstance(row, Incident))
    (order,) = (row for row in ONE_OF_EACH if isinstance(row, IncidentOrder))
    named = [("O-1", ""), ("O-2", "R-2"), ("PO-3", "PO-3")]
    with open_store(f"chdb://{tmp_path}/db") as store:
        migrate(store)
        writer = BlockWriter(store, "run-1")
        writer.write([known])
        writer.write([msgspec.structs.replace(order, order_id=one, case_id=case) for one, case in named])
        writer.flush()
        (incident,) = incidents_of(store)
    assert (incident.orders, incident.cases) == ({"O-1", "O-2"}, {"R-2", "PO-3"})


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


@pytest.mark.parametrize("text", [b"", b"\n \r\n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
def test_a_truth_without_a_line_is_refused(text: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = tmp_path / "truth.jsonl"
    truth.write_bytes(text)
    assert run_command(["evaluate", "--truth", str(truth)]) == 2
    assert 'truth.jsonl: truth: has no line: a time in which nothing was broken is one of kind "none"' in (
        capsys.readouterr().err
    )


def test_a_breakdown_that_is_there_twice_is_refused_and_a_clean_period_is_not(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    same, clean = _fields(BROKEN), _fields(CLEAN)
    path.write_text("\n".join(map(json.dumps, [same, clean, clean, {**clean, "breakdown_id": "b1"}])))
    assert len(read_truth(path)) == 4
    path.write_text("\n".join(map(json.dumps, [clean, same, clean, {**same, "scope": {}}, same])))
    with pytest.raises(SettingsError) as error:
        read_truth(path)
    assert [problem.line for problem in error.value.problems] == [4, 5]
    assert 'breakdown_id = "b1": is on line 2, too; each breakdown is one line' in str(error.value)


def test_a_truth_file_as_other_programs_write_it(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    text = b"\xef\xbb\xbf" + msgspec.json.encode(_fields(BROKEN)) + b"\r\n"
    path.write_bytes(text)
    (plain,) = read_truth(path)
    path.write_bytes(gzip.compress(text))
    assert plain == BROKEN == read_truth(path)[0]
    path.write_bytes(gzip.compress(text)[:-9])
    with pytest.raises(SettingsError, match="ended before the end-of-stream marker"):
        read_truth(path)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"value_at_risk": "1,234.50"}, 'value_at_risk = "1,234.50": must be a decimal number'),
        ({"value_at_risk": "nan"}, 'value_at_risk = "nan"'),
        ({"end": "2026-03-02T09:00:00Z"}, "end = 2026-03-02T09:00:00Z: must not be before begin, 2026-03-02T10:00:00Z"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused(changed: dict[str, str], words: str, tmp_path: Path) -> None:
    (tmp_path / "truth.jsonl").write_text(json.dumps(_fields(BROKEN) | changed))
    with pytest.raises(SettingsError, match=r"truth\.jsonl:1") as error:
        read_truth(tmp_path / "truth.jsonl")
    assert words in str(error.value)


def test_null_is_the_same_as_leaving_out(tmp_path: Path) -> None:
    bare = dict.fromkeys(("effects_until", "cause", "cases", "orders", "value_at_risk", "currency"))
    bare["scope"] = {"node": "s1", "sku": None}
    (tmp_path / "truth.jsonl").write_text(json.dumps(_fields(BROKEN) | bare))
    (verdict,) = judge(read_truth(tmp_path / "truth.jsonl"), [found(1, node="s1", sku="a")]).verdicts
    assert verdict.right_scope


def test_the_table_holds_ids_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Written to a file, it is as wide as they are; and `[/x]` is no markup. A kind that there is none of is told."""
    truth = tmp_path / "truth.jsonl"
    broken = msgspec.structs.replace(BROKEN, breakdown_id="queue [/x] " + 90 * "b", kind="odd")
    truth.write_text(json.dumps(_fields(broken)))
    other = msgspec.structs.replace(found(1, "misrouting", sku="[/y]"), summary="At [dc-1]\x1b[2J.")
    monkeypatch.setattr("dataflows.cli.evaluate._found", lambda *_: [other])  # instead of a database
    assert run_command(["evaluate", "--truth", str(truth)]) == 0
    said = capsys.readouterr()
    assert broken.breakdown_id in said.out
    assert "misrouting (sku [/y]), 2026-03-02 10:05:00Z: At [dc-1]\\x1b[2J." in said.out
    assert 'truth.jsonl: kind = "odd": no incident is of that kind; there are queue_saturation, ' in said.err


@pytest.mark.parametrize(
    ("width", "spared"),
    [
        (200, []),
        (100, []),
        (80, ["incidents"]),
        (60, ["incidents", "scope", "orders", "precision"]),
        (40, ["incidents", "scope", "orders", "precision"]),
    ],
)
def test_names_stay_whole_in_a_narrow_terminal(width: int, spared: list[str]) -> None:
    """Of a name of more than 28 letters there are several lines; columns that have no room are named."""
    kinds = ["refund_without_receipt", "posting_interface_down", "promotion_without_stock"]
    names = [f"{kind}-{number:02}" for number, kind in enumerate(kinds)]
    if width >= 60:
        names[0] = "x" * 40 + "-long"
    truths = [
        Truth(**{**_fields(BROKEN), "breakdown_id": name, "kind": kind})
        for name, kind in zip(names, kinds, strict=True)
    ]
    report = judge(truths, [found(number, kind, node="s1") for number, kind in enumerate(kinds)])
    out = io.StringIO()
    render_report(report, Console(file=out, width=width, force_terminal=True, color_system=None))
    table = out.getvalue().partition("breakdowns")[0].splitlines()
    assert max(map(len, table)) <= width
    assert {*kinds, *names[1:]} <= set(" ".join(table).split())
    assert [name for name in ("incidents", "scope", "orders", "precision") if name not in table[0]] == spared
    told = " ".join(line for line in table if "with --json" in line or line.startswith("("))
    assert told.startswith("(" + ", ".join(spared)) if spared else not told


def test_the_command_refuses_what_does_not_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = tmp_path / "truth.jsonl"
    truth.write_text(json.dumps(_fields(BROKEN)))
    assert run_command(["evaluate", "--truth", str(truth), "--clickhouse", "chdb:///x", "events.jsonl"]) == 2
    assert "not both" in capsys.readouterr().err
    assert run_command(["evaluate", "--truth", str(truth), "--grace", "soon", "events.jsonl"]) == 2
    assert "--grace" in capsys.readouterr().err
