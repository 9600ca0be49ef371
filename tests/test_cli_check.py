"""`andon check`: everything at once, with its place; what was checked where all is well."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dataflows.cli import run_command
from dataflows.process_maps import shipped_process_maps
from schemas.adapters.mapping import shipped_mappings
from schemas.adapters.translations import ADAPTERS

_MAPPING = """[mapping]
name = "shop"
source = "shop"
system = "oms"
process_map = "{process_map}"
[table]
time = "placed"
[[event]]
type = "order.created"
set = {{ order_id = "{{order}}", lines = [] }}
"""
_MAP = """name = "own"
[[handoff]]
name = "pick"
case = "order_id"
start = { type = "task.queued" }
end = { type = "task.completed" }
deadline = "2h"
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ANDON_CLICKHOUSE", "ANDON_PROCESS_MAP", "ANDON_CLICKHOUSE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def _write(name: str, text: str) -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def test_with_nothing_named_the_defaults_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check"]) == 0
    settings, process = capsys.readouterr().out.splitlines()
    assert settings == "settings: all defaults; database chdb:///./andon.db, process map default"
    assert process.startswith("default.toml (shipped): process map: 20 handoffs of 3 kinds of case, 20 deadlines, ")
    assert not list(Path().iterdir()), "nothing is written"


def test_where_to_answer_has_to_be_an_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _write("andon.toml", '[observe]\nlisten = "9464"\n')
    monkeypatch.setenv("ANDON_DELIVERY_LISTEN", "0.0.0.0:http")
    assert run_command(["check"]) == 2
    words = 'must be a host and a port such as "127.0.0.1:9464" or "0.0.0.0:9464"'
    assert capsys.readouterr().out.splitlines()[1:] == [
        f'andon.toml:2: observe.listen = "9464": {words}',
        f'environment: ANDON_DELIVERY_LISTEN = "0.0.0.0:http": {words}',
    ]
    _write("andon.toml", '[observe]\nlisten = ""\n')
    monkeypatch.delenv("ANDON_DELIVERY_LISTEN")
    assert run_command(["check"]) == 0


def test_every_shipped_file_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    options = [part for name in shipped_mappings() for part in ("--mapping", name)]
    assert run_command(["check", *options]) == 0
    for name in shipped_process_maps():
        assert run_command(["check", "--map", name]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for name in shipped_mappings():
        assert f"{name}.toml (shipped): mapping: " in out
    for name in shipped_process_maps():
        assert f"{name}.toml (shipped): process map: " in out


def test_every_adapter_is_well_and_reads_a_file_for_what_is_wrong_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    options = [part for name in ADAPTERS for part in ("--mapping", name)]
    assert run_command(["check", *options]) == 0
    out = capsys.readouterr().out
    for name, adapter in ADAPTERS.items():
        assert f"{name} (adapter): adapter: {adapter.title}; process map {adapter.process_map}" in out
    _write("good.jsonl", '{"headers": {"X-Shopify-Topic": "customers/update"}, "body": {}}\n')
    assert run_command(["check", "--mapping", "shopify", "--table", "good.jsonl"]) == 0
    assert (
        "good.jsonl: table: 1 record read, 1 of them made no event through shopify (adapter)" in capsys.readouterr().out
    )
    _write("bad.jsonl", '{"headers": {}, "body": {}}\n' * 30)
    assert run_command(["check", "--mapping", "shopify", "--table", "bad.jsonl", "--table", "none.jsonl"]) == 2
    lines = [line for line in capsys.readouterr().out.splitlines() if "jsonl" in line]
    assert len(lines) == 21
    assert lines[1] == "bad.jsonl, record 2: $.headers.X-Shopify-Topic: is missing"
    assert lines[20].startswith('command line: --table = "none.jsonl": none.jsonl: can\'t be read: No such file')


def test_what_is_in_files_of_ones_own_is_said_in_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    _write("andon.toml", '[process]\nmap = "own.toml"\n[engine]\nlanes = 2\nbatch = 5\n')
    _write("own.toml", _MAP)
    _write("shop.toml", _MAPPING.format(process_map="own.toml"))
    _write("orders.csv", "order,placed\n1,2026-01-01T00:00:00Z\n")
    assert run_command(["check", "--mapping", "shop.toml", "--table", "orders.csv"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "andon.toml: settings: 3 keys set; database chdb:///./andon.db, process map own.toml",
        (
            "own.toml: process map: 1 handoff of 1 kind of case, 1 deadline, 2 event types, "
            "0 impossible states, 0 exceptions"
        ),
        "shop.toml: mapping: 1 rule for 1 event type of shop, process map own.toml",
        "orders.csv: table: has every column that shop.toml names",
    ]


def test_all_problems_of_all_files_are_told_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANDON_ENGINE_BATCH", "0")
    _write(
        "andon.toml",
        '[clickhouse]\ndsn = "https://me:secret@host/andon"\npassword_file = "none"\n[engine]\nlanes = 0\n'
        '[process]\nmap = "own.toml"\n',
    )
    _write("own.toml", _MAP.replace("task.queued", "task.qeued"))
    _write("shop.toml", _MAPPING.format(process_map="owm.toml"))
    _write("bad.toml", _MAPPING.format(process_map="").replace('"oms"', '"omss"'))
    _write("orders.csv", "Order,placed\n")
    options = [part for name in ("shop.toml", "bad.toml", "olsit") for part in ("--mapping", name)]
    assert run_command(["check", *options, "--table", "orders.csv", "--table", "none.csv"]) == 2
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "shop.toml: mapping: 1 rule for 1 event type of shop, process map owm.toml"
    expected = [
        "andon.toml:5: engine.lanes = 0: must be between 1 and 1024",
        "environment: ANDON_ENGINE_BATCH = 0: must be between 1 and 1000000",
        'andon.toml:2: clickhouse.dsn = "https://me:***@host/andon": must not hold a password; ',
        'andon.toml:3: clickhouse.password_file = "none": can\'t be read: ',
        'own.toml:5: handoff[0].start.type = "task.qeued": must be a type of the contract; did you mean ',
        'shop.toml:5: mapping.process_map = "owm.toml": must be a file or a shipped process map: bpi2019, ',
        "shop.toml:10: event[0].set.order_id = \"order\": did you mean 'Order'? the table orders.csv ",
        'command line: --table = "none.csv": ',
        'bad.toml:4: mapping.system = "omss": must be one of "ecom", ',
        "bad.toml:10: event[0].set.order_id = \"order\": did you mean 'Order'? the table orders.csv ",
        "--mapping: mapping = \"olsit\": did you mean 'olist'? ",
    ]
    assert len(lines) == len(expected) + 1, out
    for line, beginning in zip(lines[1:], expected, strict=True):
        assert line.startswith(beginning)
    assert "secret" not in out
    assert err == "11 problems in 7 places\n"


def test_a_mistake_in_one_section_hides_none_in_others_nor_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    _write(
        "andon.toml",
        """[engine]
lanes = 0
process = 1
[kafka]
discover = "0s"
dead_letter_topic = "orders"
client = { "group.id" = "mine" }
bootstrap = "b:9092"
[observe]
stalled_after = "0s"
dead_letter_window = "0s"
listen = "127.0.0.1:65536"
[models]
max_series = 0
young_points = -1
[incidents]
siblings = 1
shared_least = "few"
[alerting]
receiver = "nobody"
group_interval = "0s"
[delivery]
poll = "0s"
keep = "1m"
[[delivery.receiver]]
name = "a"
type = "slak"
[[delivery.receiver]]
name = "a"
type = "standard"
url = "http://host"
""",
    )
    assert run_command(["check"]) == 2
    out, err = capsys.readouterr()
    expected = [
        "andon.toml:2: engine.lanes",
        "andon.toml:5: kafka.discover",
        "andon.toml:10: observe.stalled_after",
        "andon.toml:11: observe.dead_letter_window",
        "andon.toml:14: models.max_series",
        "andon.toml:15: models.young_points",
        "andon.toml:18: incidents.shared_least",
        "andon.toml:23: delivery.poll",
        "andon.toml:27: delivery.receiver[0].type: must be one of ",
        "andon.toml:3: engine.process",
        "andon.toml:6: kafka.dead_letter_topic",
        'andon.toml:12: observe.listen = "127.0.0.1:65536": must have a port up to 65535',
        'andon.toml:7: kafka.client."group.id" = "mine": is set by kafka.group',
        "andon.toml:24: delivery.keep",
        "andon.toml:24: delivery.keep",
        "andon.toml:24: delivery.keep",
        "andon.toml:31: delivery.receiver[1].url: must begin with https://; ",
        "andon.toml:28: delivery.receiver[1].secrets: is missing: ",
        "andon.toml:29: delivery.receiver[1].name",
        "andon.toml:17: incidents.siblings",
        "andon.toml:21: alerting.group_interval",
    ]
    lines = out.splitlines()[1:]
    assert len(lines) == len(expected), out
    for line, beginning in zip(lines, expected, strict=True):
        assert line.startswith(beginning)
    assert err == "21 problems in 1 place\n"


def test_a_table_without_its_name_hides_nothing_and_what_may_be_named_in_it_is_not_missed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _write(
        "andon.toml",
        """[alerting]
mute = ["nights"]
[[alerting.mute_time]]
name = 5
from = "25:00"
[detectors.node_groups]
airports = ["a", 5]
[[detectors.override]]
node_group = "airports"
set = { "warehouse.backlog.least" = 20 }
[[detectors.override]]
set = 5
[[delivery.receiver]]
name = 5
type = "slack"
url = "http://host"
""",
    )
    assert run_command(["check"]) == 2
    assert [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()[1:]] == [
        "alerting.mute_time[0].name = 5",
        "detectors.node_groups.airports[1] = 5",
        "detectors.override[1].set = 5",
        "delivery.receiver[0].name",
        "detectors.override[1]",
        "delivery.receiver[0].url",
        'alerting.mute_time[0] = "25:00-00:00 UTC"',
    ]


@pytest.mark.parametrize(
    ("options", "environment", "told"),
    [
        (["--map", "defualt"], {}, 'command line: --map = "defualt": must be a file or a shipped process map: '),
        ([], {"ANDON_PROCESS_MAP": "none.toml"}, 'environment: ANDON_PROCESS_MAP = "none.toml": must be a file or '),
        (["--config", "none.toml"], {}, "none.toml: settings: no such file"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_where_it_stands(
    options: list[str],
    environment: dict[str, str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run_command(["check", *options]) == 2
    out, err = capsys.readouterr()
    assert any(line.startswith(told) for line in out.splitlines()), out
    assert err == "1 problem in 1 place\n"


def test_a_file_named_twice_is_checked_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check", "--map", "olist", "--mapping", "olist"]) == 0
    assert capsys.readouterr().out.count("olist.toml (shipped): process map: ") == 1


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check", "--json", "--mapping", "olist"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["what"] for one in document["checked"]] == ["settings", "process map", "mapping", "process map"]
    assert document["problems"] == []
    _write("andon.toml", "[engine]\nlanes = 0\n")
    assert run_command(["check", "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["problems"] == [
        {"file": "andon.toml", "line": 2, "key": "engine.lanes", "value": "0", "expected": "must be between 1 and 1024"}
    ]
    assert err == ""


def test_what_no_scope_can_have_for_itself_is_refused_by_check_and_by_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    text = '[[detectors.override]]\nregion = "north"\nset = { "returns.retention" = "1d" }\n'
    config, log = _write("andon.toml", text), _write("orders.jsonl", "")
    told = (
        f'{config}:3: detectors.override[0].set."returns.retention" = "1d": '
        "is the same everywhere, whatever the scope: set retention"
    )
    assert run_command(["check", "--config", config]) == 2
    assert f"{told} under [detectors.returns]" in capsys.readouterr().out
    assert run_command(["replay", "--config", config, "--clickhouse", "chdb:///made", log]) == 2
    assert f"{told} under [detectors.returns]" in capsys.readouterr().err


def test_a_table_needs_a_mapping(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check", "--table", "orders.csv"]) == 2
    assert "--table needs a --mapping" in capsys.readouterr().err


def test_help_loads_no_more_than_it_needs() -> None:
    program = (
        "import sys; from dataflows.cli import run_command; run_command(['check', '--help']); "
        "print([name for name in ('dataflows.checks', 'operators', 'numpy') if name in sys.modules])"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=root)
    assert done.stdout.splitlines()[-1] == "[]"
