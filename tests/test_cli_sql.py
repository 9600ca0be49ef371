import base64
import csv
import errno
import io
import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from dataflows.cli.answers import as_table
from dataflows.cli.dlq import dlq
from dataflows.cli.store import migrate, sql
from schemas.errors import StoreRefused
from schemas.rows import DeadLetter
from sinks.clickhouse.migrate import migrate as bring_up
from sinks.clickhouse.migrate import shipped
from sinks.clickhouse.store import open_store
from sinks.clickhouse.writer import BlockWriter
from tests.clickhouse_rows import ONE_OF_EACH, T0
from tests.kafka_job import wait_for
from tests.processes import start


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    name = f"chdb://{tmp_path_factory.mktemp('sql')}/db"
    with open_store(name) as store:
        bring_up(store)
        writer = BlockWriter(store, "run-1")
        writer.write(ONE_OF_EACH)
        writer.write(
            [DeadLetter("erp", 1, 2, "rule", "", "a bad clock", "", "", "ünï\n".encode(), T0 + 86_400_000_000)]
        )
        writer.flush()
    return name


def _run(command: click.Command, words: Sequence[str], dsn: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(command, [*words, "--clickhouse", dsn], input=stdin)


def test_a_table_a_person_reads(dsn: str) -> None:
    found = _run(sql, ["SELECT handoff, latency_s, deadline_at, started_at, toInt64(7) AS n FROM handoffs"], dsn)
    assert found.exit_code == 0, found
    lines = found.stdout.splitlines()
    assert lines[0].split() == ["handoff", "latency_s", "deadline_at", "started_at", "n"]
    assert lines[2].split() == ["pick", "1e-06", "\N{EN DASH}", "2017-11-21T00:00:00Z", "7"]
    assert lines[0].index("handoff") == lines[2].index("pick")
    assert found.stderr.startswith("1 row in 0.")


def test_a_table_shows_money_with_its_cents(dsn: str) -> None:
    found = _run(sql, ["SELECT arrayJoin([14365.37, 1234567.891, -100000, 99999.999, 1e14, 1e15, nan, 0.1]) AS v"], dsn)
    shown = ["14365.37", "1234567.89", "-100000", "100000", "100000000000000", "1000000000000000.0", "nan", "0.1"]
    assert [line.strip() for line in found.stdout.splitlines()[2:]] == shown


def test_json_is_exact(dsn: str) -> None:
    query = (
        f"SELECT toUInt256('{2**256 - 1}') AS big, 18446744073709551615 AS u, "
        "toDecimal128('12345678901234567890.10', 2) AS d, nan AS nan, NULL AS nothing, started_at, "
        "map('a', toDecimal64('1.50', 2)) AS m, [1, 2] AS l, toDate('2020-01-02') AS day, "
        "'ö\\n' AS text, toInt128(-5) AS i, true AS yes, 0.1 AS f FROM handoffs"
    )
    found = _run(sql, [query, "--json"], dsn)
    assert found.exit_code == 0, found
    (row,) = json.loads(found.stdout, parse_float=str)
    assert row == {
        "big": 2**256 - 1,
        "u": 2**64 - 1,
        "d": "12345678901234567890.10",
        "nan": None,
        "nothing": None,
        "started_at": "2017-11-21T00:00:00Z",
        "m": {"a": "1.50"},
        "l": [1, 2],
        "day": "2020-01-02",
        "text": "ö\n",
        "i": -5,
        "yes": True,
        "f": "0.1",
    }


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT number FROM numbers(3)", 3),
        ("SELECT number FROM numbers(0)", 0),
        ("SELECT number FROM numbers(1500)", 1500),
    ],
)
def test_json_and_csv_hold_every_row(dsn: str, query: str, rows: int) -> None:
    assert len(json.loads(_run(sql, [query, "--json"], dsn).stdout)) == rows
    assert len(list(csv.DictReader(io.StringIO(_run(sql, [query, "--csv"], dsn).stdout)))) == rows
    assert _run(sql, [query, "--csv"], dsn).stdout.startswith("number\n")


def test_csv_quotes_and_leaves_null_empty(dsn: str) -> None:
    found = _run(sql, ["SELECT 'a,\"b' AS x, NULL AS y, map('k', 1) AS m, started_at FROM handoffs", "--csv"], dsn)
    assert list(csv.reader(io.StringIO(found.stdout))) == [
        ["x", "y", "m", "started_at"],
        ['a,"b', "", '{"k":1}', "2017-11-21T00:00:00Z"],
    ]


def test_csv_quotes_every_end_of_a_line(dsn: str) -> None:
    found = _run(sql, ["SELECT 'a\\rb' AS x, 'c\\nd' AS y, 'e\\r\\n' AS z, 1 AS n", "--csv"], dsn)
    assert found.stdout_bytes == b'x,y,z,n\n"a\rb","c\nd","e\r\n",1\n'


def test_the_query_may_come_from_standard_input(dsn: str) -> None:
    found = _run(sql, ["-", "--json"], dsn, "-- a note\nSELECT 1 AS x;\n")
    assert found.exit_code == 0, found.stderr + repr(found)
    assert json.loads(found.stdout) == [{"x": 1}]
    assert _run(sql, ["-"], dsn, "  ").exit_code == 2


def test_a_long_table_ends_with_a_note(dsn: str) -> None:
    found = _run(sql, ["SELECT number FROM system.numbers", "--limit", "5"], dsn)
    assert found.stderr.startswith("5 rows in")
    assert "there are more" in found.stderr


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT nope FROM signals", "`nope`"),
        ("SELEC 1 2", "Syntax error"),
        ("DROP TABLE signal_log", "only reads"),
        ("SELECT * FROM nothing", "nothing"),
        ("SELECT * FROM signals WHERE", "Syntax error: the query breaks off, something is missing at its end"),
        ("SELECT count(", "missing at its end. Unmatched parentheses: '(' at position 13"),
        ("SELECT kind FROM signals GROUP", "missing at its end. Expected one of: BY"),
        ("SELECT * FRM signals", "failed at position 14 (signals)"),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_an_error_is_clickhouses_in_one_piece(dsn: str, query: str, words: str, form: list[str]) -> None:
    found = _run(sql, [query, *form], dsn)
    assert isinstance(found.exception, StoreRefused), "the main command turns it into a message and exit code 1"
    assert words in str(found.exception)
    assert "Stack trace" not in str(found.exception)
    assert "max_result_rows" not in str(found.exception)
    assert "Native" not in str(found.exception)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT 1 FORMAT JSON", "--json"),
        ("SELECT 1 FORMAT JSON SETTINGS max_threads = 1; -- as JSON", "--json"),
        ("SELECT 1 INTO OUTFILE 'out.csv'", "INTO OUTFILE"),
        ("INSERT INTO FUNCTION file('out.csv', 'CSV') SELECT 1", "only reads"),
        ("SELECT 1 AS a; SELECT 2 AS a", "several statements"),
        ("SET max_threads = 1; SELECT 1", "several statements"),
        ("; -- SELECT 1", "no query"),
        ("SELECT 'gr\udcfcn'", "not UTF-8"),
    ],
)
def test_what_is_not_one_query_is_refused_in_words(dsn: str, query: str, words: str) -> None:
    found = _run(sql, [query], dsn)
    assert found.exit_code == 2
    assert words in found.stderr


_OUTFILE = "INTO OUTFILE 'out.csv'"
_INSERT = "INSERT INTO FUNCTION file('out.csv', 'CSV', 'a UInt8') SELECT 1"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (f"SELECT \u2018'\u2019 {_OUTFILE} --'", 2),  # the engine knows these quotes, too
        ("SELECT 1 INTO/**/OUTFILE \u2018out.csv\u2019", 2),
        (f'SELECT \u201c"\u201d FROM (SELECT 1 AS \u201c"\u201d) {_OUTFILE} -- "', 2),
        (f"SELECT 1 AS a$$ {_OUTFILE} -- $$", 2),  # part of the name, and begins no text
        (f"DESCRIBE TABLE signals {_OUTFILE}", 2),
        (f"EXPLAIN SELECT 1 {_OUTFILE}", 2),
        (f"(SELECT 1) UNION ALL (SELECT 2) {_OUTFILE}", 2),
        (f"SELECT * FROM (SELECT 1 {_OUTFILE})", None),
        (f"WITH 1 AS x {_INSERT}", 2),
        (f"SELECT \u2018'\u2019; {_INSERT} --'", 2),
        (f"SELECT 1 AS a$$; {_INSERT} -- $$", 2),
        (f"SELECT 1 PARALLEL WITH {_INSERT}", 2),
        ("CREATE TEMPORARY TABLE t ENGINE = File('CSV', 'out.csv') AS SELECT 1", 2),
        ("CREATE OR REPLACE TEMPORARY TABLE t ENGINE = File('CSV', 'out.csv') AS SELECT 1", 2),
        ("SELECT 1 AS a\nFORMAT/* */CSV", 2),
    ],
)
def test_nothing_is_written_however_it_is_hidden(query: str, code: int | None, dsn: str, tmp_path: Path) -> None:
    found = _run(sql, [query.replace("out.csv", f"{tmp_path}/out.csv"), "--json"], dsn)
    if code is None:
        assert isinstance(found.exception, StoreRefused), "the engine itself does not understand it"
    else:
        assert found.exit_code == code, found
    assert not found.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT 'a\nINTO OUTFILE b\nINSERT INTO c\n' AS x", [{"x": "a\nINTO OUTFILE b\nINSERT INTO c\n"}]),
        ("SELECT 1 AS `a\nFORMAT CSV`", [{"a\nFORMAT CSV": 1}]),
        ("SELECT\nFORMAT, INSERT FROM (SELECT 1 AS FORMAT, 2 AS INSERT)", [{"FORMAT": 1, "INSERT": 2}]),
        ("SELECT \u2018a;b\u2019 AS \u201cc;d\u201d, 1 AS a$$b, 2 AS c$$", [{"c;d": "a;b", "a$$b": 1, "c$$": 2}]),
        ("SELECT 1 AS x -- INTO OUTFILE 'a'", [{"x": 1}]),
        ("SELECT 1 AS x SETTINGS max_threads = 1", [{"x": 1}]),
        ("SELECT '\\t%s{a:String}\t' AS x", [{"x": "\t%s{a:String}\t"}]),
        (f"SELECT length('{'x' * 100_000}') AS x", [{"x": 100_000}]),
        ("SELECT 1 AS x WHERE 0; -- nothing; today", []),
        ("SELECT ';' AS x /* a; b */ ; ;", [{"x": ";"}]),
        ("SELECT 'it\\'s; FORMAT JSON' AS x -- FORMAT JSON", [{"x": "it's; FORMAT JSON"}]),
        ("SELECT `a;b` AS x FROM (SELECT $$;'$$ AS `a;b`)", [{"x": ";'"}]),
    ],
)
def test_only_what_sql_reads_as_words_counts(dsn: str, query: str, rows: list[object]) -> None:
    found = _run(sql, [query, "--json"], dsn)
    assert found.exit_code == 0, found.stderr + repr(found)
    assert json.loads(found.stdout) == rows


@pytest.mark.parametrize(
    "query",
    ["SHOW TABLES", "DESCRIBE signals", "EXPLAIN SELECT 1", "WITH 1 AS x SELECT x", "EXISTS TABLE signals"],
)
def test_other_statements_that_read_work(dsn: str, query: str) -> None:
    found = _run(sql, [query], dsn)
    assert found.exit_code == 0, found
    assert not found.stderr.startswith("0 rows")


def test_the_embedded_engine_reads_any_file_as_the_docs_say(dsn: str, tmp_path: Path) -> None:
    """Should `readonly = 1` come to forbid the last of them, it can be what `andon sql` sets."""
    (tmp_path / "a.txt").write_text("secret", encoding="utf-8")
    read = [f"SELECT line AS x FROM file('{tmp_path}/a.txt', 'LineAsString')", f"SELECT file('{tmp_path}/a.txt') AS x"]
    for query in read:
        assert json.loads(_run(sql, [query, "--json"], dsn).stdout) == [{"x": "secret"}]
    with open_store(dsn) as store:
        store.command("SET readonly = 1")
        with pytest.raises(StoreRefused, match="readonly mode"):
            store.query(read[0])
        with pytest.raises(StoreRefused, match="Cannot modify 'max_threads' setting in readonly mode"):
            store.query("SELECT 1 SETTINGS max_threads = 1")
        assert store.query(read[1]).rows == [("secret",)]


def test_ctrl_c_ends_a_query_of_the_embedded_engine_at_once(dsn: str, tmp_path: Path) -> None:
    """It hangs in a pipe that nobody writes into: once that has a reader, the query is under way."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writers: list[int] = []

    def is_read() -> bool:
        try:
            writers.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno != errno.ENXIO:  # which says that nobody reads from it
                raise
        return bool(writers)

    process = start("sql", f"SELECT * FROM file('{pipe}', 'LineAsString')", "--clickhouse", dsn, cwd=tmp_path)
    try:
        wait_for(is_read, "the query to read from the pipe")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
        for writer in writers:
            os.close(writer)
    assert (process.returncode, out, err) == (-signal.SIGINT, "", "")
    assert _run(sql, ["SELECT count() AS n FROM signals", "--json"], dsn).exit_code == 0


def test_control_characters_and_odd_bytes_stay_visible_and_harmless(dsn: str) -> None:
    found = _run(sql, ["SELECT unhex('1B5B33316D00FF') AS x, '[bold]a' AS y"], dsn)
    assert "\x1b" not in found.stdout
    assert "\\x1b[31m\\x00\\xff" in found.stdout
    assert "[bold]a" in found.stdout


def test_migrate_says_what_it_did(tmp_path: Path) -> None:
    name = f"chdb://{tmp_path}/db"
    before = _run(migrate, ["--status"], name)
    assert isinstance(before.exception, StoreRefused)
    assert "there is no database at" in str(before.exception)
    assert not list(tmp_path.iterdir()), "who only asks makes none"
    with open_store(name) as store:
        store.command("CREATE DATABASE other")
    before = _run(migrate, ["--status"], name)
    assert (before.exit_code, before.stdout.splitlines()[0]) == (1, "missing 0001_tables")
    done = _run(migrate, [], name)
    applied = [f"applied {migration}" for migration in shipped()]
    assert done.stdout.splitlines() == [*applied, f"{name}: up to date"]
    assert len(applied) == 5
    assert "nothing to do" in _run(migrate, [], name).stdout
    after = _run(migrate, ["--status"], name)
    assert (after.exit_code, after.stdout.splitlines()[1][:18]) == (0, "applied 0002_views")


def test_dead_letters_are_listed_readably(dsn: str) -> None:
    found = _run(dlq, ["list"], dsn)
    assert found.exit_code == 0, found
    lines = found.stdout.splitlines()
    assert lines[0].split() == ["seen_at", "topic", "partition", "offset", "reason", "path", "detail", "raw"]
    assert "erp" in lines[2]
    assert "ünï\\n" in lines[2]
    assert '{"a"\\xff\\x00' in lines[3]
    assert found.stderr.startswith("2 dead letters in")


@pytest.mark.parametrize(
    ("words", "topics"),
    [
        (["--reason", "rule"], ["erp"]),
        (["--topic", "orders"], ["orders"]),
        (["--since", "2017-11-21T12:00:00Z"], ["erp"]),
        (["--since", "2018-01-01"], []),
        (["--limit", "1"], ["erp"]),
    ],
)
def test_dead_letters_can_be_chosen(dsn: str, words: list[str], topics: list[str]) -> None:
    found = json.loads(_run(dlq, ["list", "--json", *words], dsn).stdout)
    assert [row["topic"] for row in found] == topics
    assert all(base64.b64decode(row["raw"]) for row in found)


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ([], ["not json", "{} "]),  # messages with bytes, and a line break as white space
        (["--reason", "downstream"], ["a row"]),
        (["--reason", "schema"], ["{} "]),
        (["--topic", "orders"], ["not json"]),
        (["--since", "2017-11-21T12:00:00Z"], ["{} "]),
    ],
)
def test_messages_among_the_dead_letters_are_exported(tmp_path: Path, words: list[str], lines: list[str]) -> None:
    """Rows that ClickHouse refused, and letters without bytes, would be no messages where they were sent again."""
    name = f"chdb://{tmp_path}/db"
    with open_store(name) as store:
        bring_up(store)
        writer = BlockWriter(store, "run-1")
        writer.write(
            [
                DeadLetter("andon.signal_log", 0, 9, "downstream", "", "refused", "", "", b"a row", T0),
                DeadLetter("orders", 0, 1, "transport", "$", "no JSON", "", "", b"not json", T0),
                DeadLetter("orders", 0, 2, "transport", "", "2 messages have expired unread", "", "", b"", T0),
                DeadLetter("stock", 0, 1, "schema", "$.type", "is missing", "", "", b"{}\n", T0 + 86_400_000_000),
            ]
        )
        writer.flush()
    file = tmp_path / "raw.txt"
    found = _run(dlq, ["replay", "--export", str(file), *words], name)
    assert found.exit_code == 0, found
    assert file.read_text(encoding="utf-8").splitlines() == lines


def test_a_bad_time_is_wrong_usage(dsn: str) -> None:
    found = _run(dlq, ["list", "--since", "yesterday"], dsn)
    assert found.exit_code == 2
    assert "--since" in found.stderr


def test_a_table_wider_than_the_terminal_goes_down_the_page(dsn: str) -> None:
    for query, width, lines in (
        ("SELECT * FROM handoff_latency", 80, 18),
        ("SELECT kind FROM signals", 80, 3),
    ):
        with open_store(dsn, readonly=True) as store:
            answer = store.query(query, binary=True)
        out = io.StringIO()
        as_table(answer, Console(file=out, width=width, force_terminal=True, color_system=None))
        text = out.getvalue().splitlines()
        assert len(text) == lines, text
        assert max(map(len, text)) <= width
        assert all(any(name in line for line in text) for name in answer.names)
