"""`andon report`: the figures of a page, what it refuses, that data stay text, and the page in a real browser."""

from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.cli import run_command
from dataflows.reporting.heat import level, maps
from dataflows.reporting.markup import Markup, tag, text
from dataflows.reporting.page import page
from dataflows.reporting.period import MOST_NODES, Cell, Period, read, work_end
from dataflows.reporting.steps import Steps, ticks
from operators.quantiles import sketch
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, Instant
from schemas.errors import StoreRefused
from schemas.incident_rows import AlertDecision, Incident, IncidentOrder
from schemas.rows import HandoffPass, HandoffWindow, Health
from sinks.clickhouse import store as store_module
from sinks.clickhouse.dsn import Embedded
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import open_store
from sinks.clickhouse.writer import BlockWriter
from tests.browser import browser, installed

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

DAY = int(Instant.parse("2026-03-02"))
NIGHT = DAY + DAY_US
EVIL = "<script>window.pwned=1</script>"
EVIL_ID = "\"'><img src=http://evil.test/x onerror=window.pwned=2>"
FROM_TO = ("--from", "2026-03-02", "--to", "2026-03-03")


def incident(name: str, begin_h: float, end_h: float | None, **changes: object) -> Incident:
    begin_us = DAY + round(begin_h * HOUR_US)
    closed_us = None if end_h is None else DAY + round(end_h * HOUR_US)
    plain = Incident(
        incident_id=name,
        status="growing" if end_h is None else "resolved",
        kind="queue_saturation",
        cause_signal_id=f"s-{name}",
        candidates=[f"s-{name}: queue_saturation: seen directly"],
        scope={"queue": "q1"},
        severity="high",
        priority=2,
        score=0.7,
        opened_at_us=begin_us,
        found_at_us=begin_us + 10 * MINUTE_US,
        closed_at_us=closed_us,
        signals=2,
        orders_affected=0,
        customers_affected=0,
        units_affected=0.0,
        promises_at_risk=0,
        first_breach_at_us=None,
        breach_error_s=None,
        value_at_risk=0.0,
        margin_at_risk=None,
        refunds_exposed=0.0,
        currency="EUR",
        values_at_risk={},
        summary="The queue is slow.",
        arrival_us=closed_us or DAY + 20 * HOUR_US,
        version=1,
    )
    return msgspec.structs.replace(plain, **changes)


def order(of: str, name: str, value: float, currency: str = "EUR") -> IncidentOrder:
    return IncidentOrder(of, name, "", f"c-{name}", f"s-{of}", 1.0, value, None, currency, NIGHT, None, None, DAY, 1)


def handoff(name: str, case: str, begin_h: float, status: str, latency_s: float | None) -> HandoffPass:
    begin_us = DAY + round(begin_h * HOUR_US)
    end_us = None if latency_s is None else begin_us + round(latency_s * 1e6)
    return HandoffPass(
        name, case, "0", "node", "n1", begin_us, end_us, latency_s, begin_us + HOUR_US, status, begin_us, 1
    )


def window(node: str, hour: int, latencies: list[float], overdue: int = 0) -> HandoffWindow:
    begin_us = DAY + hour * HOUR_US
    return HandoffWindow(
        handoff="pick",
        scope_by="node",
        scope=node,
        window_start_us=begin_us,
        window_end_us=begin_us + 5 * MINUTE_US,
        started=len(latencies),
        completed=len(latencies),
        over_target=0,
        overdue=overdue,
        backlog=0,
        oldest_age_s=None,
        p50_s=None,
        p95_s=None,
        p99_s=None,
        max_s=None,
        latency_buckets=sketch(latencies),
        arrival_us=begin_us,
        version=1,
    )


ROWS = (
    [
        incident("i-long", 10, 14, values_at_risk={"EUR": 70.0}, value_at_risk=70.0, orders_affected=2, score=0.9),
        incident("i-open", 12, None, values_at_risk={"EUR": 80.0, "USD": 5.0}, value_at_risk=80.0, orders_affected=2),
        incident(EVIL_ID, 13, 13.5, summary=EVIL, kind=EVIL, scope={"node": EVIL, "sku": "\x00\ud800&lt;"}, score=0.1),
        incident("i-merged", 11, 12, signals=0),
        incident("i-before", -30, -20, values_at_risk={"EUR": 999.0}, value_at_risk=999.0),
    ],
    [
        order("i-long", "o-1", 50.0),
        order("i-long", "o-2", 20.0),
        order("i-open", "o-2", 20.0),
        order("i-open", EVIL, 30.0),
        order("i-open", "o-usd", 5.0, "USD"),
        order("i-before", "o-9", 999.0),
    ],
    [
        handoff("pick", "o-1", 9, "done", 60.0),
        handoff("pick", "o-2", 11, "late", 7200.0),
        handoff("pick", "o-3", 11.5, "overdue", None),
        handoff("delivery_promise", "o-1", 9, "done", 60.0),
        handoff("delivery_promise", "o-2", 9, "overdue", None),
    ],
    [
        *(window(node, hour, [60.0] * 20) for node in ("n1", "n2") for hour in range(8, 20)),
        window("n1", 20, [600.0] * 19 + [60.0], overdue=2),
    ],
    [Health("orders/0", DAY + HOUR_US, 100, 97, 3, 1000, 12.5, 1)],
    [
        AlertDecision("d1", "i-long", "duty", "notified", "a1", "first", DAY, DAY, 1),
        AlertDecision("d2", "i-open", "duty", "silenced", "s1", "by ann", DAY, DAY, 1),
    ],
)


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> str:
    name = f"chdb://{tmp_path_factory.mktemp('report')}/db"
    with open_store(name) as store:
        migrate(store)
        writer = BlockWriter(store, "run-1")
        for rows in ROWS:
            writer.write(rows)
        writer.flush()
    return name


@pytest.fixture(scope="module")
def period(dsn: str) -> Period:
    with open_store(dsn, readonly=True) as store:
        return read(store, DAY, NIGHT, lambda _: None)


@pytest.fixture(scope="module")
def written(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "report.html"
    assert run_command(["report", *FROM_TO, "--out", str(out), "--clickhouse", dsn]) == 0
    return out


# --- figures -----------------------------------------------------------------------------------------------


def test_totals_count_an_order_once_and_leave_out_what_is_not_of_the_period(period: Period) -> None:
    totals = period.totals
    assert (totals.incidents, totals.open, totals.orders) == (3, 1, 4)
    # 50 + 20 + 30 of orders, and the 30 EUR that i-open is about beside its own orders' 50
    assert totals.values == {"EUR": 130.0, "USD": 5.0}
    assert totals.detect_s == 600.0
    assert totals.recover_s == pytest.approx((4 + 0.5) / 2 * 3600)
    assert (totals.promises_kept, totals.promises_broken) == (1, 1)
    assert [one.incident_id for one in period.incidents] == ["i-long", "i-open", EVIL_ID]


def test_a_profile_of_the_server_changes_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = store_module._embedded_client

    def profiled(target: Embedded) -> "Client":
        client = embedded(target)  # the embedded engine has no profiles: its session begins with one's settings
        client.command(
            "SET join_use_nulls = 1, aggregate_functions_null_for_empty = 1, prefer_column_name_to_alias = 1"
        )
        return client

    found = []
    for client in (embedded, profiled):
        monkeypatch.setattr(store_module, "_embedded_client", client)
        with open_store(f"chdb://{tmp_path}/db") as store:
            migrate(store)
            writer = BlockWriter(store, "run-1")  # about stock, and so about no order
            writer.write([incident("i-stock", 10, 14, values_at_risk={"EUR": 70.0}, value_at_risk=70.0)])
            writer.flush()
            found.append(read(store, DAY, NIGHT, lambda _: None))
    assert found[0].totals.values == {"EUR": 70.0}
    assert found[1] == found[0]


def test_money_is_at_risk_from_when_order_and_incident_had_begun_until_it_was_over(period: Period) -> None:
    def at(hour: float, currency: str = "EUR") -> float:
        step = round(hour * HOUR_US) // period.money_steps.step_us
        return sum(one.value for one in period.money if (one.step, one.currency) == (step, currency))

    assert at(9.5) == 0
    assert at(10.5) == 70  # before the passes of o-2 began, it was on its way: delivery_promise since 9
    assert at(12.5) == 50 + 20 + 30 + 30
    assert at(15) == 20 + 30 + 30
    assert [one.orders for one in period.money if one.step * period.money_steps.step_us == 13 * HOUR_US] == [3, 1]
    assert (at(11, "USD"), at(12.5, "USD"), at(19, "USD"), at(21, "USD")) == (0, 5, 5, 0)


def test_handoffs_cells_and_the_rest(period: Period) -> None:
    (pick,) = (one for one in period.handoffs if one.handoff == "pick")
    assert (pick.passes, pick.in_time, pick.late, pick.overdue) == (3, 1, 1, 1)
    slow = max(period.cells, key=lambda cell: cell.p95_s or 0)
    assert (slow.node, slow.step, slow.completed, slow.overdue) == ("n1", 20, 20, 2)
    assert slow.p95_s == pytest.approx(600, rel=0.01)
    assert [(one.receiver, one.told, one.kept_quiet) for one in period.receivers] == [("duty", 1, 1)]
    assert [(one.events, one.dead_letters, one.delay_max_s) for one in period.feeds] == [(97, 3, 12.5)]
    assert [one.order_id for one in period.orders] == ["o-2", "o-1", EVIL, "o-usd"]  # the broken promise first
    assert period.orders[0].incident_ids == ["i-long", "i-open"]


def test_a_heat_map_compares_with_what_is_usual_and_shows_the_worst_nodes() -> None:
    usual = [Cell("pick", f"n{node:03}", hour, 10, 0, 100.0) for node in range(60) for hour in range(5)]
    slow = Cell("pick", "n059", 5, 10, 0, 650.0)
    stuck = Cell("pick", "n058", 5, 0, 3, None)
    (one,) = maps([*usual, slow, stuck], MOST_NODES)
    assert (one.usual_s, one.nodes, one.unusual) == (100.0, 60, True)
    assert {"n058", "n059"} < {cell.node for cell in one.cells}
    assert len({cell.node for cell in one.cells}) == MOST_NODES
    assert [level(cell, 100.0) for cell in (slow, stuck, usual[0])] == [3, 0, 0]
    (quiet,) = maps(usual, MOST_NODES)
    assert not quiet.unusual


@given(st.integers(0, 2**50), st.integers(1, 400 * DAY_US), st.integers(2, 200))
def test_steps_cover_a_period_with_few(begin_us: int, length_us: int, most: int) -> None:
    steps = Steps.over(begin_us, begin_us + length_us, most=most)
    assert steps.first_us <= begin_us < steps.first_us + steps.step_us
    assert (
        steps.first_us + (steps.count - 1) * steps.step_us
        < steps.end_us
        <= steps.first_us + steps.count * steps.step_us
    )
    assert steps.count <= most + 1
    marks = [at_us for at_us, _ in ticks(begin_us, begin_us + length_us)]
    assert marks == sorted(set(marks))
    assert all(begin_us <= at_us <= begin_us + length_us for at_us in marks)


# --- what a page may hold ----------------------------------------------------------------------------------


class _Elements(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_what_comes_from_data_is_text_and_nothing_is_loaded(period: Period) -> None:
    html = page(period)
    parsed = _Elements(html)
    assert not {name for name, _ in parsed.found} & {"script", "img", "link", "iframe", "object", "image", "use"}
    for name, attributes in parsed.found:
        assert not [key for key in attributes if key.startswith("on") or key in ("src", "style")], (name, attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert EVIL in parsed.text
    assert EVIL_ID in parsed.text
    assert "\x00" not in html
    html.encode("utf-8")
    assert "url(" not in html
    assert "@import" not in html


@given(st.text(), st.text())
def test_no_text_gets_out_of_an_element_or_an_attribute(inside: str, attribute: str) -> None:
    parsed = _Elements(tag("b", inside, title=attribute))
    assert [(name, list(attributes)) for name, attributes in parsed.found] == [("b", ["title"])]
    assert "<" not in text(inside)
    assert tag("b", Markup("<i></i>")) == "<b><i></i></b>"


def test_the_same_data_give_the_same_page(period: Period, written: Path) -> None:
    assert page(period) == written.read_text()


def test_incidents_and_orders_lead_to_each_other(period: Period) -> None:
    parsed = _Elements(page(period))
    rows = {attributes["id"] for name, attributes in parsed.found if name == "tr" and "id" in attributes}
    links = {str(attributes["href"])[1:] for name, attributes in parsed.found if name == "a"}
    assert rows == links == {"incident-1", "incident-2", "incident-3"}


@pytest.mark.parametrize(
    ("begin_h", "end_h", "to_us", "said"),
    [
        (23.95, 30, NIGHT, "EUR: at most 500 EUR in 1 order at 3 Mar 00:00"),
        (23.95, None, NIGHT, "EUR: at most 500 EUR in 1 order at 3 Mar 00:00"),
        (23.95, 30, NIGHT - MINUTE_US, "EUR: at most 500 EUR in 1 order at 2 Mar 23:59"),
        (23.91, 23.99, NIGHT, "What was at risk was over too soon to be drawn."),
    ],
)
def test_money_that_is_at_risk_only_since_the_last_step_began_is_told(
    tmp_path: Path, begin_h: float, end_h: float | None, to_us: int, said: str
) -> None:
    late = incident("i-late", begin_h, end_h, values_at_risk={"EUR": 500.0}, value_at_risk=500.0, arrival_us=NIGHT)
    with open_store(f"chdb://{tmp_path}/db") as store:
        migrate(store)
        writer = BlockWriter(store, "run-1")
        writer.write([late, order("i-late", "o-1", 500.0)])
        writer.flush()
        assert said in page(read(store, DAY, to_us, lambda _: None))


def test_a_quiet_period_says_so(dsn: str) -> None:
    with open_store(dsn, readonly=True) as store:
        html = page(read(store, DAY - HOUR_US, DAY, lambda _: None))
    assert "No incident was open in this period" in html


# --- the command -------------------------------------------------------------------------------------------


def test_an_empty_period_is_refused_with_what_there_is(
    dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.html"
    arguments = ["report", "--from", "2027-01-01", "--to", "2027-01-02", "--out", str(out), "--clickhouse", dsn]
    assert run_command(arguments) == 1
    said = capsys.readouterr().err
    assert "there is nothing from 2027-01-01 00:00:00Z to 2027-01-02 00:00:00Z" in said
    assert "the database has 2026-02-28 18:00:00Z to 2026-03-02 20:05:00Z" in said
    assert not out.exists()


def test_an_empty_database_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dsn = f"chdb://{tmp_path}/db"
    with open_store(dsn) as store:
        migrate(store)
    assert run_command(["report", "--out", str(tmp_path / "r.html"), "--clickhouse", dsn]) == 1
    assert "is empty: `andon replay` or `andon run` fills it" in capsys.readouterr().err
    with open_store(dsn, readonly=True) as store, pytest.raises(StoreRefused, match="is empty"):
        read(store, DAY, NIGHT, lambda _: None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "yesterday"), "--from"),
        (("--from", "2026-03-03", "--to", "2026-03-02"), "is not before the end"),
        (("--out", "/nowhere/at/all.html"), "there is no directory"),
    ],
)
def test_wrong_usage_is_said(
    dsn: str, arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["report", *arguments, "--clickhouse", dsn]) == 2
    assert words in capsys.readouterr().err


def test_a_page_that_can_not_be_written_is_said(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["report", *FROM_TO, "--out", "/dev/full", "--clickhouse", dsn]) == 1
    assert "'/dev/full': No space left on device" in capsys.readouterr().err


def test_without_a_period_it_is_the_last_day(dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["report", "--out", str(tmp_path / "r.html"), "--clickhouse", dsn]) == 0
    assert "2026-03-01 20:05:00Z to 2026-03-02 20:05:00Z, 3 incidents, 4 orders touched" in capsys.readouterr().out


def test_a_deadline_that_passed_long_after_the_work_is_not_the_last_day(tmp_path: Path) -> None:
    """As `andon replay --close-at end` lets them pass; where there was never any work, there is nothing else."""
    with open_store(f"chdb://{tmp_path}/db") as store:
        migrate(store)
        writer = BlockWriter(store, "run-1")
        for more, end in (
            (window("n1", 60 * 24, [], overdue=1), DAY + 60 * DAY_US + 5 * MINUTE_US),
            (window("n1", 9, [60.0]), DAY + 9 * HOUR_US + 5 * MINUTE_US),
            (Health("orders/0", DAY + 10 * HOUR_US, 1, 1, 0, 1, 0.0, 1), DAY + 10 * HOUR_US + MINUTE_US),
        ):
            writer.write([more])
            writer.flush()
            assert work_end(store) == end


# --- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if installed() is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    return tmp_path_factory.mktemp("profile")


def test_a_browser_shows_it_and_asks_for_nothing(written: Path, profile: Path) -> None:
    with browser(profile) as opened:
        opened.open(written)
        opened.look(1280, 900, prefers_color_scheme="light")
        assert opened.requested() == [written.as_uri()]
        assert opened.complaints() == []
        assert opened.value("window.pwned") is None
        for part in (".card b", "svg.timeline a.row .bar", "svg.money .area", "svg.heat .cell.h3", "#orders td.bad"):
            box = opened.value(f"JSON.stringify(document.querySelector({part!r}).getBoundingClientRect())")
            assert msgspec.json.decode(box)["width"] > 3, part
        assert opened.value("document.documentElement.scrollWidth <= 1280")
        ground = "getComputedStyle(document.body).backgroundColor"
        target = "getComputedStyle(document.querySelector('#incident-2 td')).backgroundColor"
        light, before = opened.value(ground), opened.value(target)
        bar = "[...document.querySelectorAll('a.row')].find(a => a.getAttribute('href') == '#incident-2')"
        opened.value(f"{bar}.dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")
        assert opened.value("location.hash") == "#incident-2"
        assert opened.value(target) != before  # the line that the bar leads to is marked
        opened.look(1280, 900, prefers_color_scheme="dark")
        assert opened.value(ground) != light
        opened.look(480, 900)
        assert opened.value("document.documentElement.scrollWidth <= 480")
        assert opened.picture().startswith(b"\x89PNG")
        assert opened.paper().startswith(b"%PDF")
        assert opened.complaints() == []
