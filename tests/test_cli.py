"""The command line as a person meets it: what it prints, what it refuses, and with which exit code."""

import gzip
import json
import subprocess
from pathlib import Path

import msgspec
import pytest

from dataflows.cli import run_command
from dataflows.files import check_followed
from tests.databases import migrated, rows_of
from tests.processes import COMMAND, andon, environment

ORDER = {
    "type": "order.created",
    "event_id": "1",
    "source": "oms",
    "system": "oms",
    "occurred_at": "2026-03-02T00:00:00Z",
    "order_id": "o1",
    "lines": [],
}
CLEAN = '{"breakdown_id": "c", "kind": "none", "begin": "2026-03-02T00:00:00Z", "end": "2026-03-03T00:00:00Z"}'


def line(**changes: object) -> bytes:
    return msgspec.json.encode(ORDER | changes) + b"\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["replay"], 2, "Missing argument 'SOURCE...'"),
        (["replay", "here.jsonl", "there.jsonl"], 1, "here.jsonl: no such file\nthere.jsonl: no such file"),
        (["replay", "/dev/null"], 1, "/dev/null: is no regular file (a pipe can't be read twice): save it to one"),
        (["replay", "x.csv", "--mapping", "olistt"], 2, "olist"),
        (
            ["replay", "x.jsonl", "--mapping", "shopfy"],
            2,
            "did you mean 'shopify'? must be a mapping file or a shipped",
        ),
        (
            ["replay", "x.jsonl", "--map", "defaultt"],
            2,
            "shipped: bpi2019, default, epcis, ocel, olist, online_retail, webshop",
        ),
        (["replay", "x.jsonl", "--close-at", "soon"], 2, '--close-at = soon: must be "end" or a time with zone'),
        (["replay", "x.jsonl", "--clickhouse", "mysql://x"], 2, "chdb:///"),
        (["run"], 2, "kafka.bootstrap: nothing to read: set it to the broker's host:port, or name files to follow"),
        (["run", "log.jsonl.gz"], 1, "a compressed file can't be followed"),
        (["dlq", "replay"], 1, "lacks the schema of this Andon"),
        (["run", "x.jsonl", "--clickhouse", "chdb:///./none.db"], 1, "x.jsonl: no such file"),
        (["evaluate", "--truth", "truth.jsonl", "x.jsonl"], 1, "x.jsonl: no such file"),
        (["frobnicate"], 2, "No such command 'frobnicate'"),
        (["deliver", "--outbox", "x.db", "endpoints"], 2, "--outbox before endpoints is not read"),
        (["deliver", "--config", "x.toml", "dead", "replay", "--all"], 2, "--config before dead is not read"),
        (["demo", "--seed", "x"], 2, "'x' is not a valid integer"),
    ],
)
def test_what_is_wrong_is_said_and_the_exit_code_tells_whose_it_is(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANDON_OBSERVE_LISTEN", "127.0.0.1:0")
    (tmp_path / "log.jsonl.gz").write_bytes(gzip.compress(line()))
    (tmp_path / "truth.jsonl").write_text(CLEAN)
    if arguments[:1] == ["run"] and len(arguments) > 1:
        migrated(tmp_path)
    assert run_command(arguments) == code
    said = capfd.readouterr()
    assert words in said.err
    assert not (tmp_path / "none.db").exists()
    assert "Traceback" not in said.err


@pytest.mark.parametrize("command", ["replay", "run"])
def test_a_file_is_read_once_by_whatever_names_it_is_given(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANDON_OBSERVE_LISTEN", "")
    (tmp_path / "log.jsonl").write_bytes(line())
    (tmp_path / "soft.jsonl").symlink_to("log.jsonl")
    (tmp_path / "hard.jsonl").hardlink_to("log.jsonl")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "log.jsonl").write_bytes(line())
    migrated(tmp_path)
    sources = ["log.jsonl", "copy/log.jsonl", "./log.jsonl", "log.jsonl", "soft.jsonl", "hard.jsonl", "gone.jsonl"]
    assert run_command([command, *sources]) == 1
    assert capfd.readouterr().err == (
        "andon: ./log.jsonl: is the same file as log.jsonl: its events would come twice\n"
        "log.jsonl: is named twice: its events would come twice\n"
        "soft.jsonl: is the same file as log.jsonl: its events would come twice\n"
        "hard.jsonl: is the same file as log.jsonl: its events would come twice\n"
        "gone.jsonl: no such file\n"
    )


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        (">/dev/full", 1, "andon: [Errno 28] No space left on device\n"),
        (">&-", 0, ""),
        (">out", 0, ""),
    ],
)
def test_an_output_that_takes_nothing_or_not_every_letter(
    redirection: str, code: int, said: str, tmp_path: Path
) -> None:
    """Full, closed, or of an encoding without arrows: told in a line, if at all."""
    shell = ["bash", "-c", f'"$@" {redirection}', "andon"]
    done = subprocess.run(
        [*shell, *COMMAND, "process", "graph"],
        cwd=tmp_path,
        env=environment(PYTHONIOENCODING="latin-1"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)
    if redirection == ">out":
        assert r"order.created \u2192 order.approved" in (tmp_path / "out").read_text("latin-1")


def test_what_the_system_refuses_is_told_without_a_trace(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("timestamp,value\n", encoding="utf-8")
    assert run_command(["score", str(tmp_path / "a.csv"), "--out", str(tmp_path / "a.csv" / "out")]) == 1
    assert capfd.readouterr().err.startswith("andon: [Errno 20] Not a directory")


def test_every_problem_of_the_settings_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "andon.toml").write_text('[engine]\nlanes = 0\n\n[time]\nwindow_grace = "soon"\nmax_passt = "1d"\n')
    monkeypatch.setenv("ANDON_STOCK_MARGIN_UNITS", "many")
    monkeypatch.setenv("ANDON_ENGIN_LANES", "2")
    assert run_command(["replay", "x.jsonl"]) == 2
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 5
    assert any(one.startswith("andon.toml:2: engine.lanes = 0: ") for one in errors)
    assert any(one.startswith('andon.toml:5: time.window_grace = "soon": must be a duration') for one in errors)
    assert any("max_past" in one and one.startswith("andon.toml:6: time.max_passt") for one in errors)
    assert any("margin_units" in one.lower() and "many" in one for one in errors)
    assert any(one.startswith("environment: ANDON_ENGIN_LANES: names no setting") for one in errors)


def test_an_empty_file_a_file_of_rubbish_and_a_broken_gzip(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"\n\n")
    (tmp_path / "rubbish.jsonl").write_bytes(bytes(range(256)) * 40)
    done = andon("replay", "empty.jsonl", "rubbish.jsonl", "--json", cwd=tmp_path)
    summary = json.loads(done.stdout)
    assert summary["events"] == 0
    assert summary["messages"] == summary["dead_letters"] == 41
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(line() * 5_000)[:-40])
    broken = andon("replay", "cut.jsonl.gz", cwd=tmp_path, check=False)
    assert broken.returncode == 1
    assert "cut.jsonl.gz: can't be read on after line" in broken.stderr
    assert "Traceback" not in broken.stderr


def test_an_array_of_events_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    one = line().strip()
    whole = json.dumps([json.loads(one)] * 2, indent=2).encode()
    arrays = {
        "line.json": b"[%b,%b]" % (one, one),
        "blank.json": b"\n  [%b]\n\n \n" % one,
        "none.json": b"[]\n",
        "commas.json": b"[%b,\n%b]\n" % (one, one),
        "brackets.json": b"[\n%b,\n%b\n]\n" % (one, one),
        "indented.json": whole,
        "marked.json": b"\xef\xbb\xbf" + whole,
        "cut.json": b"[%b,%b" % (one, one[:-3]),
    }
    for name, text in arrays.items():
        (tmp_path / name).write_bytes(text)
    (tmp_path / "packed.json.gz").write_bytes(gzip.compress(whole))
    names = sorted([*arrays, "packed.json.gz"])
    refused = andon("replay", *names, cwd=tmp_path, check=False)
    assert refused.returncode == 1
    assert [told.split(": ", 1)[0] for told in refused.stderr.removeprefix("andon: ").splitlines()] == names
    assert refused.stderr.count(": is one JSON array; one object a line is wanted") == len(names)
    assert not (tmp_path / "andon.db" / "metadata" / "andon").exists()


def test_an_array_that_has_no_end_of_line_is_refused_where_files_are_followed(tmp_path: Path) -> None:
    """It was waited for without end: a last line is read when it is complete."""
    one = line().strip()
    arrays = {
        "blank.json": b"\n\n[%b]" % one,
        "cut.json": b"[%b,%b" % (one, one[:-3]),
        "line.json": b"[%b,%b]" % (one, one),
    }
    for name, text in arrays.items():
        (tmp_path / name).write_bytes(text)
    (tmp_path / "log.jsonl").write_bytes(one)
    refused = andon("run", *arrays, "log.jsonl", cwd=tmp_path, check=False)
    assert refused.returncode == 1
    assert [told.split(": ", 1)[0] for told in refused.stderr.removeprefix("andon: ").splitlines()] == [*arrays]
    assert refused.stderr.count(": is one JSON array; one object a line is wanted") == len(arrays)
    assert not (tmp_path / "andon.db").exists()
    (tmp_path / "told.json").write_bytes(b"[%b]\n" % one)  # a dead letter says it, and the next line may be a message
    check_followed([str(tmp_path / "told.json"), str(tmp_path / "log.jsonl")])


def test_a_file_whose_first_line_is_an_array_or_broken_is_read(tmp_path: Path) -> None:
    one, bad = line().strip(), b'[{"event_id": "1", '
    for name, first in {"array.jsonl": b"[%b]" % one, "broken.jsonl": bad, "log.jsonl": b"[INFO] started"}.items():
        (tmp_path / name).write_bytes(b"%b\n%b\n" % (first, one))
        made = json.loads(andon("replay", name, "--json", "--clickhouse", f"chdb:///./{name}.db", cwd=tmp_path).stdout)
        assert (made["events"], made["dead_letters"]) == (1, 1), name


def test_dead_letters_are_listed_exported_and_replayed(tmp_path: Path) -> None:
    early = {"occurred_at": "2026-01-01T00:00:00Z", "recorded_at": "2026-03-02T00:00:00Z"}
    (tmp_path / "log.jsonl").write_bytes(b"not json\n" + line(event_id="3", order_id="o3", **early))
    andon("replay", "log.jsonl", cwd=tmp_path)
    listed = json.loads(andon("dlq", "list", "--json", cwd=tmp_path).stdout)
    assert {(row["offset"], row["reason"]) for row in listed} == {(1, "transport"), (2, "rule")}
    said = andon("dlq", "replay", "--reason", "rule", "--max-past", "90d", "--json", cwd=tmp_path)
    assert json.loads(said.stdout) == {"messages": 1, "events": 1, "dead_letters": 0, "duplicates": 0}
    cases = rows_of("SELECT uniqExact(case_id) AS n FROM handoffs", cwd=tmp_path)
    assert cases == [{"n": 1}]
    andon("dlq", "replay", "--max-past", "90d", cwd=tmp_path)  # what was replayed is no other input
    andon("dlq", "replay", "--export", "raw.txt", cwd=tmp_path)
    assert (tmp_path / "raw.txt").read_bytes() == b"not json\n" + line(event_id="3", order_id="o3", **early)
    andon("dlq", "replay", "--export", "raw.txt", "--since", "2030-01-01", cwd=tmp_path)
    assert (tmp_path / "raw.txt").read_bytes() == b""


def test_dead_letters_are_not_replayed_over_what_is_known_of_other_messages(tmp_path: Path) -> None:
    """Alone they know no stock and no other orders, and what they give took the place of windows that were right."""
    level = {
        "type": "inventory.level",
        "source": "wms-1",
        "system": "wms",
        "sku": "LAMP",
        "node": "dc-01",
        "on_hand": 5,
    }
    adjusted = level | {"type": "inventory.adjusted", "delta": -1, "reason": "sale"}
    early = {"event_id": "2", "occurred_at": "2026-03-02T00:00:30Z", "recorded_at": "2026-03-02T00:10:00Z"}
    (tmp_path / "inventory.jsonl").write_bytes(line(**level) + line(**adjusted, **early))
    (tmp_path / "andon.toml").write_text('[time]\nmax_past = "1m"\n', encoding="utf-8")
    andon("replay", "inventory.jsonl", "--close-at", "end", cwd=tmp_path)
    known = "SELECT * EXCEPT arrival FROM stock_deltas"
    before = rows_of(known, cwd=tmp_path)
    assert [row["on_hand"] for row in before] == [{"wms": 5.0}]
    done = andon("dlq", "replay", "--max-past", "30d", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "the database has 1 events of other messages" in done.stderr
    assert "--export FILE" in done.stderr
    assert rows_of(known, cwd=tmp_path) == before
    # what it says instead: together with the others
    andon("dlq", "replay", "--export", "refused.jsonl", cwd=tmp_path)
    (tmp_path / "andon.toml").write_text("", encoding="utf-8")
    andon("replay", "--fresh", "inventory.jsonl", "refused.jsonl", "--close-at", "end", cwd=tmp_path)
    assert [row["on_hand"] for row in rows_of(known, cwd=tmp_path)] == [{"wms": 4.0}]


def test_rows_that_clickhouse_refused_are_no_messages(tmp_path: Path) -> None:
    done = andon("dlq", "replay", "--reason", "downstream", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "rows that ClickHouse refused, no messages" in done.stderr


def test_dead_letters_of_several_topics_are_replayed_as_the_files_would_be(tmp_path: Path) -> None:
    """In order of arrival: one topic after the other, all of the second would come after the end of the first."""
    minutes = [f"{number:02}" for number in range(60)]
    created = [
        line(
            event_id=f"c{n}",
            order_id=f"o{n}",
            occurred_at=f"2026-01-01T00:{n}:00Z",
            recorded_at=f"2026-03-02T00:{n}:00Z",
        )
        for n in minutes
    ]
    approved = [
        line(
            event_id=f"a{n}",
            type="order.approved",
            order_id=f"o{n}",
            occurred_at=f"2026-01-01T00:{n}:30Z",
            recorded_at=f"2026-03-02T00:{n}:30Z",
        )
        for n in minutes
    ]
    (tmp_path / "created.jsonl").write_bytes(b"".join(created))
    (tmp_path / "approved.jsonl").write_bytes(b"".join(approved))
    files, known = ("created.jsonl", "approved.jsonl"), "SELECT kind, case_id, found_at FROM signals ORDER BY ALL"
    andon("replay", *files, cwd=tmp_path)
    andon("dlq", "replay", "--max-past", "90d", cwd=tmp_path)
    found = rows_of(known, cwd=tmp_path)
    (tmp_path / "andon.toml").write_text('[time]\nmax_past = "90d"\n', encoding="utf-8")
    andon("replay", "--fresh", *files, cwd=tmp_path)
    assert found
    assert found == rows_of(known, cwd=tmp_path)


def test_a_file_that_can_not_be_exported_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(b"not json\n")
    andon("replay", "log.jsonl", cwd=tmp_path)
    done = andon("dlq", "replay", "--export", "none/raw.txt", cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (1, "andon: none/raw.txt: can't be written: No such file or directory\n")


def test_files_are_merged_by_arrival_and_a_bad_clock_bends_nobodys_time(tmp_path: Path) -> None:
    created = b"".join(
        line(event_id=f"c{n}", order_id=f"o{n}", occurred_at=f"2026-03-02T00:{n:02}:00Z") for n in range(60)
    )
    approved = b"".join(
        line(event_id=f"a{n}", type="order.approved", order_id=f"o{n}", occurred_at=f"2026-03-02T00:{n:02}:30Z")
        for n in range(60)
    )
    stray = line(event_id="x", order_id="ox", occurred_at="2087-01-01T00:00:00Z")
    lines = created.splitlines(keepends=True)
    (tmp_path / "created.jsonl.gz").write_bytes(gzip.compress(b"".join([*lines[:30], stray, *lines[30:]])))
    (tmp_path / "approved.jsonl").write_bytes(approved)
    andon("replay", "created.jsonl.gz", "approved.jsonl", cwd=tmp_path)
    rows = rows_of(
        "SELECT status, count() AS n FROM handoffs WHERE handoff = 'order_approval' GROUP BY status", cwd=tmp_path
    )
    assert rows == [{"status": "done", "n": 60}]
    assert rows_of("SELECT reason, offset FROM dead_letters", cwd=tmp_path) == [{"reason": "rule", "offset": 31}]
    last = rows_of("SELECT max(window_end) AS last FROM handoff_latency", cwd=tmp_path)[0]["last"]
    assert str(last).startswith("2026-03-02T00:")


def test_the_demo_finds_what_it_injects(tmp_path: Path) -> None:
    found = json.loads(andon("demo", "--json", cwd=tmp_path).stdout)
    kinds = {one["kind"]: one for one in found["verdicts"]}
    assert set(kinds) == {"feed_stopped", "queue_saturation", "posting_interface_down"}
    assert all(one["right_kind"] and one["right_scope"] for one in kinds.values())
    saturation = kinds["queue_saturation"]
    assert saturation["orders"] > 300
    assert saturation["recall"] >= 0.9
    assert saturation["precision"] >= 0.9
    down = kinds["posting_interface_down"]
    assert down["orders"] > 100
    assert down["recall"] == down["precision"] == 1.0
    assert not found["false"]
    database = "chdb:///./demo-out/andon.db"
    shown = andon("sql", "SELECT DISTINCT kind FROM signals", "--clickhouse", database, cwd=tmp_path)
    assert "posting_failed" in shown.stdout


def test_reading_anew_with_another_map_can_begin_with_empty_tables(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(line())
    own = tmp_path / "own.toml"
    own.write_text(
        'name = "own"\n[[handoff]]\nname = "mine"\ncase = "order_id"\n'
        'start = {type = "order.created"}\nend = {type = "order.approved"}\n'
    )
    andon("replay", "log.jsonl", cwd=tmp_path)
    andon("replay", "log.jsonl", "--map", str(own), "--fresh", cwd=tmp_path)
    assert rows_of("SELECT DISTINCT handoff FROM handoffs", cwd=tmp_path) == [{"handoff": "mine"}]
    misspelt = andon("replay", "lock.jsonl", "--fresh", cwd=tmp_path, check=False)
    assert misspelt.returncode == 1
    assert "lock.jsonl: no such file" in misspelt.stderr
    (tmp_path / "no.jsonl.gz").write_bytes(line())
    no_gzip = andon("replay", "no.jsonl.gz", "--fresh", cwd=tmp_path, check=False)
    assert "no.jsonl.gz: can't be read: Not a gzipped file" in no_gzip.stderr
    assert rows_of("SELECT DISTINCT handoff FROM handoffs", cwd=tmp_path) == [{"handoff": "mine"}]
    (tmp_path / "state").mkdir()
    refused = andon("replay", "log.jsonl", "--fresh", "--recovery", "state", cwd=tmp_path, check=False)
    assert refused.returncode == 2
    assert "--fresh: the state in state goes on from rows that this would delete" in refused.stderr


def test_a_replay_goes_on_in_the_minute_in_which_its_file_had_ended(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(line())
    andon("replay", "log.jsonl", "--recovery", "state", cwd=tmp_path)
    with log.open("ab") as file:
        file.write(line(event_id="2", order_id="o2", occurred_at="2026-03-02T00:00:30Z"))
    grown = andon("replay", "log.jsonl", "--recovery", "state", cwd=tmp_path).stdout
    assert grown.startswith("Read 2 messages that arrived from 2026-03-02 00:00Z to 2026-03-02 00:01Z: 2 events")


def test_a_table_or_mapping_that_was_changed_does_not_go_on_from_what_was_read_before(tmp_path: Path) -> None:
    rows = "order,t\no1,2026-03-02\n"
    (tmp_path / "t.csv").write_text(rows)
    (tmp_path / "m.toml").write_text(
        '[mapping]\nname = "m"\nsource = "s"\nsystem = "oms"\n[table]\ntime = "t"\nzone = "UTC"\n'
        '[[event]]\ntype = "order.approved"\n[event.set]\norder_id = "{order}"\n'
    )
    replay = ("replay", "t.csv", "--mapping", "m.toml", "--recovery", "state")
    andon(*replay, cwd=tmp_path)
    with (tmp_path / "m.toml").open("a") as file:
        file.write("# why\n")
    andon(*replay, cwd=tmp_path)
    (tmp_path / "t.csv").write_text(rows.replace("o1", "o2"))
    refused = andon(*replay, cwd=tmp_path, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("andon: t.csv is not as it was when the state in state was kept")
    (tmp_path / "t.csv").write_text(rows)
    with (tmp_path / "m.toml").open("a") as file:
        file.write('reason = "paid"\n')
    refused = andon(*replay, cwd=tmp_path, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("andon: m.toml is not as it was when the state in state was kept")


def test_an_input_that_breaks_off_is_told_without_a_trace_of_the_engine(tmp_path: Path) -> None:
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(line() * 5_000)[:-40])
    broken = andon("replay", "cut.jsonl.gz", cwd=tmp_path, check=False)
    assert [one for one in broken.stderr.splitlines() if one] == [broken.stderr.strip()]
    assert broken.stderr.startswith("andon: cut.jsonl.gz: can't be read on after line")
