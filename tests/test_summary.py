import io
import shlex
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from dataflows.incident_table import render_incidents
from dataflows.summary import Findings, HandoffLine, Rejected, StockLine, Summary, render, summarise
from schemas.incident_rows import Incident
from schemas.rows import DeadLetter, DuplicateEvent, HandoffPass, Health, LateEvent, Signal, StockWindow
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import Store, open_store
from sinks.clickhouse.writer import BlockWriter
from tests.clickhouse_rows import ONE_OF_EACH

T0 = 1_511_222_400_000_000  # 2017-11-21: old input, as replays have it
MINUTE = 60_000_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(f"chdb://{tmp_path_factory.mktemp('summary')}/db") as opened:
        migrate(opened)
        _fill(opened)
        yield opened


def _pass(handoff: str, case: int, status: str, latency_s: float | None) -> HandoffPass:
    ended = None if latency_s is None else T0 + int(latency_s * 1e6)
    return HandoffPass(handoff, f"O-{case}", "0", "node", "N1", T0, ended, latency_s, None, status, T0, 1)


def _signal(number: int, kind: str, severity: str, score: float) -> Signal:
    words = f"{kind} {number} happened"
    return Signal(
        f"s{number}",
        "d",
        kind,
        "pick",
        {"node": "N1"},
        "",
        T0,
        T0,
        None,
        severity,
        score,
        1.0,
        "",
        "",
        "rule",
        words,
        [],
        T0,
        1,
    )


def _fill(store: Store) -> None:
    writer = BlockWriter(store, "run-1")
    writer.write([_pass("pick", n, "done", 60.0 * (n + 1)) for n in range(10)])
    writer.write([_pass("ship", n, "late", 7200.0) for n in range(4)] + [_pass("ship", 9, "overdue", None)])
    writer.write(
        [
            _pass("ship", 10, "duplicate", 1e9),
            _pass("ship", 11, "open", None),
            _pass("ship", 12, "out_of_sequence", 1.0),
        ]
    )
    writer.write(
        [_signal(n, "oversell", "low", float(n)) for n in range(5)] + [_signal(9, "oversell", "critical", 0.0)]
    )
    writer.write([_signal(20, "refund_lag", "high", 1.0)])
    writer.write(
        [
            DeadLetter("orders", 0, n, "schema", "$.sku" if n < 3 else "$.qty", "is missing", "", "", b"{", T0)
            for n in range(4)
        ]
    )
    writer.write([DeadLetter("orders", 0, 9, "transport", "", "not JSON", "", "", b"\xff", T0)])
    writer.write(
        [
            LateEvent("orders", 0, 7, "s", "t", "src", "e", T0, T0, "x", T0),
            DuplicateEvent("orders", 0, 8, "t", "src", "e", T0, T0),
        ]
    )
    writer.write([StockWindow("A", "N1", T0, T0 + MINUTE, {"oms": 5.0, "wms": 5.0}, 0.0, None, None, "", T0, 1)])
    writer.write([StockWindow("B", "N1", T0, T0 + MINUTE, {"oms": 9.0, "wms": 5.0}, 4.0, None, None, "", T0, 1)])
    writer.write(
        [
            StockWindow(
                "C",
                "N1",
                T0 + MINUTE * n,
                T0 + MINUTE * (n + 1),
                {"oms": 9.0},
                2.0,
                None,
                10.0 + n,
                "EUR",
                T0,
                1,
            )
            for n in range(2)
        ]
    )
    writer.write([Health("orders/0", T0 + n * MINUTE, 10, 8, 2, 1000, 1.5, 1) for n in range(2)])
    writer.flush()
    other = BlockWriter(store, "run-2")
    other.write([_pass("pack", 1, "overdue", None), _signal(99, "stockout_risk", "high", 1.0)])
    other.write([Health("orders/1", T0, 1000, 1000, 0, 1000, 1.5, 1)])
    other.flush()


def test_it_says_what_this_run_saw_and_nothing_of_another(store: Store) -> None:
    found = summarise(store, "run-1")
    assert (found.messages, found.events, found.dead_letters, found.duplicates, found.late) == (
        20,
        16,
        5,
        1,
        1,
    )
    assert (found.arrival_begin, found.arrival_end) == ("2017-11-21T00:00:00Z", "2017-11-21T00:02:00Z")
    assert [(r.reason, r.count, r.path, r.path_count) for r in found.rejected] == [
        ("schema", 4, "$.sku", 3),
        ("transport", 1, "", 1),
    ]
    assert found.handoffs == (
        HandoffLine("ship", 8, 0, 4, 1, 1, 1, 1, 7200.0, 7200.0),
        HandoffLine("pick", 10, 10, 0, 0, 0, 0, 0, 330.0, pytest.approx(573.0)),
    )
    assert [(f.kind, f.count) for f in found.findings] == [("oversell", 6), ("refund_lag", 1)]
    assert found.findings[0].examples == ("oversell 9 happened", "oversell 4 happened", "oversell 3 happened")
    assert [(line.sku, line.delta, line.value_at_risk) for line in found.stock] == [
        ("C", 2.0, 11.0),
        ("B", 4.0, None),
    ]


def test_names_are_no_commands_to_the_terminal(store: Store) -> None:
    evil = "\x1b[2J\x00"
    found = msgspec.structs.replace(
        summarise(store, "run-1"),
        findings=(Findings("oversell", 1, (evil,)),),
        stock=(StockLine(evil, evil, {"wms": 1.0}, 1.0, None, ""),),
    )
    out = io.StringIO()
    render(found, Console(file=out, width=200))
    assert out.getvalue().count(r"\x1b[2J\x00") == 3
    assert "\x1b" not in out.getvalue()


def test_it_survives_json(store: Store) -> None:
    found = summarise(store, "run-1")
    assert msgspec.json.decode(msgspec.json.encode(found), type=Summary) == found


def test_what_it_says_to_look_at_next_works(store: Store) -> None:
    for command in summarise(store, "run-1").look_next:
        words = shlex.split(command)
        assert words[0] == "andon"
        if words[1] == "sql":
            assert store.query(words[2]).rows, command
            assert words[3:] == ["--clickhouse", str(store.target)]


@pytest.mark.parametrize("run", ["run-1", "no such run"])
def test_it_reads_well(store: Store, run: str, tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    with out.open("w", encoding="utf-8") as file:
        render(summarise(store, run), Console(file=file, width=100))
    text = out.read_text(encoding="utf-8")
    print(text)  # noqa: T201 - seen where this fails
    if run == "run-1":
        assert "Read 20 messages that arrived from 2017-11-21 00:00Z to 2017-11-21 00:02Z: 16 events" in text
        assert "2h" in text
        assert "11.00 EUR" in text
    else:
        assert text.startswith("Read 0 messages: 0 events")
    assert max(map(len, text.split("Look next", maxsplit=1)[0].splitlines())) <= 100


def test_a_narrow_terminal_leaves_nothing_out_of_the_table(store: Store) -> None:
    found, wide, narrow = summarise(store, "run-1"), io.StringIO(), Console(file=io.StringIO(), width=40)
    render(found, Console(file=wide, width=100))
    render(found, narrow)
    assert isinstance(narrow.file, io.StringIO)
    tables = [
        [line.split() for line in text.partition("Handoffs, worst first")[2].split("\n\n")[0].splitlines()]
        for text in (wide.getvalue(), narrow.file.getvalue())
    ]
    rows, narrow_rows = ([row for row in table if len(row) > 1] for table in tables)  # without the rule below the head
    assert rows == narrow_rows
    assert {row[0] for row in rows} >= {"handoff", "pick", "ship"}
    assert narrow.width == 40


def test_names_do_not_steer_the_terminal(store: Store) -> None:
    """A partner's system names a node, a carrier, an item: `\x1b[2J` would clear the screen."""
    name = "dc\x1b[2J\n1"
    steering = msgspec.structs.replace(
        summarise(store, "run-1"),
        rejected=(Rejected("schema", 1, f"$.{name}", 1, name),),
        findings=(Findings("overdue", 1, (f"At {name}.",)),),
        stock=(StockLine(name, name, {"oms": 1.0}, 1.0, None, ""),),
    )
    (known,) = (row for row in ONE_OF_EACH if isinstance(row, Incident))
    writer = BlockWriter(store, "run-3")
    writer.write([msgspec.structs.replace(known, incident_id="i-steering", summary=name)])
    writer.flush()
    out = io.StringIO()
    console = Console(file=out, width=100)
    render(steering, console)
    render_incidents(store, "run-3", console)
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().count(r"dc\x1b[2J\n1") == 6
