"""`andon explain`: from the database alone, the sentence, the series as a picture and in the terminal, errors."""

from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from dataflows.cli import run_command
from dataflows.explaining.picture import picture
from dataflows.explaining.subject import Found, Judged, Subject, read
from dataflows.explaining.terminal import told
from operators.anomaly.settings import ModelSettings
from operators.findings import scope_of
from operators.series_scores import SeriesScores
from schemas.durations import MINUTE_US
from schemas.errors import StoreRefused
from schemas.incident_rows import IncidentSignal, SeriesScore
from schemas.rows import HandoffWindow, Row, Signal
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import open_store
from sinks.clickhouse.writer import BlockWriter
from tests.harness import START_US, PurePipeline, settings, small_map
from tests.parted_site import STEP_US, log
from tests.shifted_backlog import STOP, STOPPED, shifted_log

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "</title><script>alert(1)</script> \N{PILE OF POO} & <b>"
OBEYED = "\x1b[2J\x00"  # by terminals: clear the screen


class Day:
    """The log with the shift, as its rows, and the database that has them."""

    def __init__(self, folder: Path) -> None:
        models = ModelSettings(alarms_per_week=20.0, young_points=150)
        self.rows: list[Row] = PurePipeline(
            shifted_log(), msgspec.structs.replace(settings(), models=models), 1_000
        ).run()
        self.dsn = f"chdb://{folder}/db"
        signals = [row for row in self.rows if isinstance(row, Signal)]
        self.shift = next(
            one for one in signals if one.kind == "unusual_backlog" and one.opened_at_us >= START_US + STOP * MINUTE_US
        )
        self.rule = [one for one in signals if one.detector != "models" and one.handoff == "approval"][-1]
        changed = msgspec.structs.replace
        self.unplaced = changed(self.rule, signal_id="s-unplaced", handoff="", evidence=[f"e{n}" for n in range(14)])
        self.unkept = changed(self.rule, signal_id="s-unkept", handoff="packing")
        self.old_rule = changed(self.rule, signal_id="s-old", handoff="old", scope={"node": "n 1"})
        asked = [row for row in self.rows if isinstance(row, SeriesScore) and row.metric == "demand"][-1]
        demand = scope_of(asked.scope_by, asked.scope)
        self.demand = changed(self.shift, signal_id="s-demand", kind="unusual_demand", handoff="", scope=demand)
        self.evil = changed(self.shift, signal_id="s-evil", explanation=EVIL + OBEYED)
        self.steering = changed(self.unkept, signal_id="s-steering", explanation="At dc\x1b[2J\n1.")
        parted = log(1500, apart=True)
        self.site_rows = SeriesScores(models, small_map().handoff, STEP_US).update(parted)
        self.site = [one for one in self.site_rows if isinstance(one, Signal)][-1]
        told_of = IncidentSignal("i-1", self.rule.signal_id, "overdue", "cause", 1, "", self.rule.arrival_us, 1)
        windows = [
            msgspec.structs.replace(row, handoff="old", scope_by="node", scope="n 1")
            for row in self.rows
            if isinstance(row, HandoffWindow) and (row.handoff, row.scope) == ("approval", "c0")
        ]
        with open_store(self.dsn) as store:
            migrate(store)
            writer = BlockWriter(store, "run")
            writer.write(
                [
                    *self.rows,
                    *self.site_rows,
                    *windows,
                    self.unplaced,
                    self.unkept,
                    self.old_rule,
                    self.evil,
                    self.steering,
                    self.demand,
                    told_of,
                ]
            )
            writer.flush()


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    return Day(tmp_path_factory.mktemp("explained"))


def tree(svg: str) -> ET.Element:
    """The text as XML."""
    return ET.fromstring(svg)  # noqa: S314 - our own


def parts(svg: str, class_: str) -> list[ET.Element]:
    """The elements of a class."""
    return [one for one in tree(svg).iter() if class_ in one.get("class", "").split()]


def explained(day: Day, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run_command(["explain", *arguments, "--clickhouse", day.dsn]) == 0
    return capsys.readouterr().out


# --- a model's signal --------------------------------------------------------------------------------------


def test_a_shift_is_drawn_with_band_score_and_alarm(
    day: Day, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shift.svg"
    said = explained(day, capsys, day.shift.signal_id, "--out", str(out))
    assert day.shift.explanation in said
    assert f"{out}: " in said
    svg = out.read_text(encoding="utf-8")
    assert len(parts(svg, "band")) >= 1
    assert len(parts(svg, "value")) >= 1
    assert len(parts(svg, "expected")) >= 1
    (this,) = [one for one in parts(svg, "this") if one.tag == f"{SVG}circle"]
    assert "spike at " in str(this[0].text) or "shift at " in str(this[0].text)
    rows = _scores(day, day.shift)
    alarms = [row for row in rows if row.alarm]
    assert len([one for one in parts(svg, "alarm") if one.tag == f"{SVG}circle"]) == len(alarms)
    assert len(parts(svg, "score")) == sum(row.score > 0 for row in rows)
    assert f"backlog of approval at channel {day.shift.scope['channel']}" in svg


def test_the_terminal_shows_the_shift_and_marks_it(day: Day, capsys: pytest.CaptureFixture[str]) -> None:
    lines = explained(day, capsys, day.shift.signal_id).splitlines()
    assert lines[0] == day.shift.explanation
    plot = [line.partition("┤")[2] for line in lines if "┤" in line]
    assert len(plot) == 12
    assert "░" in "".join(plot)
    (axis,) = [line.partition("└")[2] for line in lines if "└" in line]
    assert axis.count("▲") == 1
    highest = next(line for line in plot if "●" in line)
    assert highest.index("●") >= axis.index("▲"), "the backlog is largest from the shift on"
    assert "kind  unusual_backlog, by models (model)" in "\n".join(lines)


def test_what_is_read_is_what_was_written(day: Day) -> None:
    with open_store(day.dsn, readonly=True) as store:
        subject = read(store, day.shift.signal_id)
    expected = [
        Judged(row.at_us, row.value, row.expected, row.lower, row.upper, row.score, row.alarm, row.method)
        for row in _scores(day, day.shift)
    ]
    assert subject.points == expected
    assert subject.signal.explanation == day.shift.explanation
    assert (subject.metric, subject.place) == ("backlog", "channel c0")
    assert subject.judged_us == day.shift.closed_at_us


def test_a_site_is_drawn_with_what_its_distance_is_made_of(
    day: Day, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert day.site.kind == "unusual_site"
    out = tmp_path / "site.svg"
    said = explained(day, capsys, day.site.signal_id, "--out", str(out))
    assert said.startswith(day.site.explanation)
    for one in day.site.evidence:
        assert f"  {one}\n" in said
    assert "site at node n1 (" in said
    assert said.partition("└")[2].count("▲") == 1
    svg = out.read_text(encoding="utf-8")
    (this,) = [one for one in parts(svg, "this") if one.tag == f"{SVG}circle"]
    assert "spike at " in str(this[0].text)
    shown = [row for row in day.site_rows if isinstance(row, SeriesScore) and row.metric == "site"]
    last_day = [row for row in shown if row.at_us >= day.site.opened_at_us - 24 * 60 * MINUTE_US]
    assert f"{len(last_day):,} windows" in said


def test_what_is_counted_beside_the_handoffs_is_drawn_too(day: Day, capsys: pytest.CaptureFixture[str]) -> None:
    demand = [row for row in day.rows if isinstance(row, SeriesScore) and row.metric == "demand"][-1]
    said = explained(day, capsys, "s-demand")
    assert f"demand at channel {demand.scope} (" in said
    assert "about  channel" in said


def _scores(day: Day, signal: Signal) -> list[SeriesScore]:
    rows = [
        row
        for row in day.rows
        if isinstance(row, SeriesScore)
        and (row.metric, row.handoff, row.scope) == ("backlog", signal.handoff, signal.scope["channel"])
        and row.at_us <= signal.found_at_us + 6 * 60 * MINUTE_US
    ]
    assert len(rows) > STOPPED
    return sorted(rows, key=lambda row: row.at_us)


def test_data_stay_text(day: Day, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "evil.svg"
    said = explained(day, capsys, "s-evil", "--out", str(out))
    assert said.startswith(EVIL + r"\x1b[2J\x00" + "\n")
    root = tree(out.read_text(encoding="utf-8"))
    assert not [one for one in root.iter() if one.tag == f"{SVG}script"]
    assert (
        next(one for one in root.iter() if one.tag == f"{SVG}title").text
        == EVIL + "\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}"
    )


def test_names_do_not_steer_the_terminal(day: Day, capsys: pytest.CaptureFixture[str]) -> None:
    assert explained(day, capsys, "s-steering").startswith(r"At dc\x1b[2J\n1.")


# --- a rule's signal ---------------------------------------------------------------------------------------


def test_a_rules_signal_has_its_evidence_its_incident_and_the_backlog_of_its_handoff(
    day: Day, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rule.svg"
    said = explained(day, capsys, day.rule.signal_id, "--out", str(out))
    assert said.startswith(day.rule.explanation)
    for one in day.rule.evidence:
        assert one in said
    assert "backlog of approval at channel" in said
    assert "▲" not in said.partition("└")[2]
    assert len(parts(out.read_text(encoding="utf-8"), "band")) >= 1


def test_without_scores_the_windows_themselves_are_shown(
    day: Day, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "old.svg"
    said = explained(day, capsys, "s-old", "--out", str(out))
    assert "backlog of old at node n 1" in said
    svg = out.read_text(encoding="utf-8")
    assert parts(svg, "value")
    assert not parts(svg, "band")
    assert not parts(svg, "alarm")


def test_a_signal_of_no_handoff_has_words_only(day: Day, capsys: pytest.CaptureFixture[str]) -> None:
    said = explained(day, capsys, "s-unplaced")
    assert "It is about no handoff, so there is no series to show." in said
    assert "e9\n" in said
    assert "e10\n" not in said
    assert "and 4 more" in said


# --- errors ------------------------------------------------------------------------------------------------


def test_where_nothing_is_kept_it_says_so(day: Day, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Of packing nothing is kept from that time" in explained(day, capsys, "s-unkept")
    out = tmp_path / "x.svg"
    assert run_command(["explain", "s-unkept", "--out", str(out), "--clickhouse", day.dsn]) == 1
    assert "of signal s-unkept no series is kept" in capsys.readouterr().err
    assert not out.exists()


def test_an_unknown_signal_is_refused_in_words(day: Day, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["explain", "s-nobody", "--clickhouse", day.dsn]) == 1
    assert "has no signal s-nobody: `andon sql " in capsys.readouterr().err
    with open_store(day.dsn, readonly=True) as store, pytest.raises(StoreRefused, match="s-nobody"):
        read(store, "s-nobody")


@pytest.mark.parametrize(
    ("out", "words"), [("a.png", "drawn as SVG"), ("nowhere/a.svg", "there is no directory nowhere")]
)
def test_a_file_that_can_not_be_drawn_is_refused(out: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["explain", "s-1", "--out", out]) == 2
    assert words in capsys.readouterr().err


# --- odd series --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "points",
    [
        [Judged(0, 0.0, None, None, None, 0.0, "", "")],
        [Judged(n * MINUTE_US, -3.0, 0.0, -9.0, 9.0, 0.0, "", "rule") for n in range(3)],
        [Judged(n * n * 60 * MINUTE_US, float(n), 1.0, None, None, 4.0, "spike", "model") for n in range(9)],
    ],
)
@pytest.mark.parametrize("columns", [1, 30, 200])
def test_any_series_can_be_drawn(points: list[Judged], columns: int) -> None:
    signal = Found("s", "models", "unusual_age", "pick", {}, "", 0, 1, 0, "low", 1.0, 0.5, "", "", "model", "Why.", [])
    subject = Subject(signal, "oldest_age_s", "", points, [])
    svg = picture(subject)
    assert len([one for one in parts(svg, "alarm") if one.tag == f"{SVG}circle"]) == sum(bool(p.alarm) for p in points)
    lines = list(told(subject, columns))
    assert sum("┤" in line for line in lines) == 12
    assert any("●" in line for line in lines)
