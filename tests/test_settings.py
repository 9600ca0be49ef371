"""Settings: file, environment and options in their order; every problem at once, where it was written."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from dataflows.checks import check_settings
from dataflows.settings import ClickHouseSettings, Settings, load_settings, read_settings, setting_fields, variable_of
from operators.incidents.settings import IncidentSettings, find_problems
from schemas.durations import MINUTE_US, SECOND_US, Duration, Length, people_duration
from schemas.errors import SettingsError
from tests import thresholds

_GUIDE = Path("docs/settings.md").read_text(encoding="utf-8")
_ROWS = {
    found[1]: (found[2], found[3])
    for found in re.finditer(r"^\| `(\w+\.\w+)` \| ([^|]+) \| ([^|]+) \|", _GUIDE, re.MULTILINE)
}


def _file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "my.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def _told(config: str | None, environment: dict[str, str], **overrides: object) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(config, environment, **overrides)
    return [str(problem) for problem in caught.value.problems]


def test_without_anything_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {}) == Settings()


def test_the_default_file_is_read_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("andon.toml").write_text("\ufeff[engine]\nlanes = 3\n", encoding="utf-8")
    assert load_settings(None, {}).engine.lanes == 3


def test_environment_is_over_the_file_and_options_are_over_both(tmp_path: Path) -> None:
    config = _file(tmp_path, '[time]\nmax_past = "1d"\nmax_future = "1m"\n[clickhouse]\ndsn = "chdb:///a"\n')
    environment = {"ANDON_TIME_MAX_PAST": "2d", "ANDON_CLICKHOUSE": "chdb:///b", "HOME": "/", "ANDON_TEST_X": "1"}
    settings = load_settings(config, environment, clickhouse="chdb:///c", engine__lanes=None)
    assert settings.time.max_past == 2 * 86_400 * SECOND_US
    assert settings.time.max_future == MINUTE_US
    assert settings.clickhouse.dsn == "chdb:///c"
    assert load_settings(config, environment).clickhouse.dsn == "chdb:///b"


def test_every_setting_has_a_variable_that_sets_it_and_what_only_begins_like_one_is_refused() -> None:
    """`ANDON_CLICKHOUSE_PASSWORD_FILE` was passed over in silence: it begins as the variable of the password does."""
    for section, key in setting_fields():
        variable = variable_of(section, key.encode_name)
        origins = read_settings(None, {variable: "[]"}).origins
        assert origins == {f"{section}.{key.encode_name}": ("environment", variable)}
    both = {"ANDON_CLICKHOUSE_PASSWORD_FILE": "/run/secret", "ANDON_CLICKHOUSE_PASSWORD": "x"}
    assert load_settings(None, both).clickhouse == ClickHouseSettings(password_file="/run/secret")  # noqa: S106 - a path
    (refused,) = _told(None, {"ANDON_CLICKHOUSE_PASSWORD_FLIE": "/run/secret"})
    assert refused.endswith("did you mean 'ANDON_CLICKHOUSE_PASSWORD_FILE'?")


def test_two_variables_that_name_two_databases_are_refused() -> None:
    both = {"ANDON_CLICKHOUSE": "chdb:///b", "ANDON_CLICKHOUSE_DSN": "chdb:///c"}
    words = "environment: ANDON_CLICKHOUSE: names another database than ANDON_CLICKHOUSE_DSN: set one of the two"
    assert _told(None, both) == [words]
    both["ANDON_CLICKHOUSE"] = both["ANDON_CLICKHOUSE_DSN"]
    assert load_settings(None, both).clickhouse.dsn == "chdb:///c"


def test_a_dsn_that_is_none_is_told_where_it_was_written(tmp_path: Path) -> None:
    config = _file(tmp_path, '[clickhouse]\nblock_rows = 7\ndsn = "chdb:/x?a=1"\n')
    dsn = '"chdb:/x?***": must be "chdb:///PATH"'
    for environment, clickhouse, place in (
        ({}, None, f"{config}:3: clickhouse.dsn"),
        ({"ANDON_CLICKHOUSE": "chdb:/x?a=1"}, None, "environment: ANDON_CLICKHOUSE"),
        ({"ANDON_CLICKHOUSE": "chdb:///b"}, "chdb:/x?a=1", "command line: --clickhouse"),
    ):
        (problem,) = _told(config, environment, clickhouse=clickhouse)
        assert problem.startswith(f"{place} = {dsn}")


def test_variables_take_every_kind_of_value() -> None:
    settings = load_settings(
        None,
        {
            "ANDON_ENGINE_LANES": "7",
            "ANDON_SOURCE_FILES": '["a", "b"]',
            "ANDON_STOCK_MARGIN_SHARE": "0.5",
            "ANDON_STOCK_SAFETY_STOCK_BY_NODE": "{ dc-01 = 5 }",
            "ANDON_STOCK_INBOUND_HORIZON": "1d",
            "ANDON_PROCESS_MAP": "olist",
        },
        clickhouse="chdb:///x",
    )
    assert (settings.engine.lanes, settings.source.files, settings.process.map) == (7, ["a", "b"], "olist")
    assert settings.stock.safety_stock_by_node == {"dc-01": 5.0}
    assert settings.stock.inbound_horizon == Duration.parse("1d")


def test_every_problem_is_told_at_once_where_it_was_written(tmp_path: Path) -> None:
    config = _file(
        tmp_path,
        '[engine]\nlanes = 0\nbatch = "many"\n\n[time]\nwindow_grace = "5 sec"\n[stock]\n'
        'book = [\n  "wms",\n  "wsm",\n]\n'
        '[tiem]\nx = 1\n[source]\nfiles = "a"\n[process]\nmap = "x"\n',
    )
    environment = {"ANDON_ENGINE_EPOCH": "soon", "ANDON_TIEM_X": "1", "ANDON_PROCESS_MAP": "y"}
    assert _told(config, environment, stock__currency=5) == [
        (
            "environment: ANDON_TIEM_X: names no setting; a name is ANDON_SECTION_KEY, as in ANDON_TIME_MAX_PAST; "
            "did you mean 'ANDON_TIME_MAX_PAST'?"
        ),
        f"{config}:2: engine.lanes = 0: must be between 1 and 1024",
        f'{config}:3: engine.batch = "many": must be a whole number between 1 and 1000000',
        (
            'environment: ANDON_ENGINE_EPOCH = "soon": must be a duration such as "90s", "15m", "1h30m" or "2d", '
            "longer than 0"
        ),
        (
            f'{config}:6: time.window_grace = "5 sec": must be a duration such as "90s", "15m", "1h30m" or "2d", '
            "up to 24 h"
        ),
        (
            f'{config}:10: stock.book[1] = "wsm": must be one of "ecom", "pos", "marketplace", "oms", "wms", "tms", '
            '"erp", "crm", "supplier", "middleware"; did you mean \'wms\'?'
        ),
        "command line: --currency = 5: must be a text of three capital letters",
        f"{config}:12: tiem: unknown key; did you mean 'time'?",
        f'{config}:15: source.files = "a": must be a list',
    ]


def test_what_does_not_go_together_is_told_at_its_key_beside_all_else(tmp_path: Path) -> None:
    config = _file(
        tmp_path,
        '[engine]\nlanes = 0\nprocess = 4\nprocesses = ["a:1", "b:1", "a:1"]\n'
        '[kafka]\nbuffer = 1\nstart = "timestamp"\ntopics = ["orders", "dead", "orders"]\ndead_letter_topic = "dead"\n'
        "[stock]\nmargin_units = -1\nmargin_share = nan\n"
        "[[detectors.override]]\nset = {}\n",
    )
    assert _told(config, {}) == [
        f"{config}:2: engine.lanes = 0: must be between 1 and 1024",
        f"{config}:6: kafka.buffer = 1: must be between 100 and 10000000",
        f"{config}:11: stock.margin_units = -1: must be between 0 and 1000000000",
        f"{config}:12: stock.margin_share = nan: must be between 0 and 1",
        f'{config}:4: engine.processes[2] = "a:1": is there twice: each process needs an address of its own',
        f"{config}:3: engine.process = 4: must be less than the number of processes (3)",
        f'{config}:7: kafka.start = "timestamp": needs start_at, the time to start from',
        f'{config}:8: kafka.topics[2] = "orders": is there twice',
        f'{config}:9: kafka.dead_letter_topic = "dead": must not be one of topics: each dead letter would make another',
        (
            f"{config}:13: detectors.override[0]: must name at least one of region, node_group, node, channel, "
            "carrier, supplier, interface"
        ),
    ]


def test_what_is_held_against_a_value_that_is_wrong_itself_is_not_told(tmp_path: Path) -> None:
    config = _file(
        tmp_path,
        '[engine]\nprocess = 1\nprocesses = ["a", "b:1"]\n'
        '[kafka]\nstart = "timestamp"\nstart_at = "soon"\ntopics = ["a b"]\ndead_letter_topic = "orders"\n'
        '[detectors]\nnode_groups = 5\n[[detectors.override]]\nnode_group = "north"\n',
    )
    assert [one.partition(" = ")[0].partition(": ")[2] for one in _told(config, {})] == [
        "engine.processes[0]",
        "kafka.start_at",
        "kafka.topics[0]",
        "detectors.node_groups",
        "detectors.override[0].set: is missing and has no default",
    ]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        *(
            (key, '"0s"', "must be longer than 0")
            for key in (
                "time.max_past",
                "engine.epoch",
                "engine.stop_within",
                "source.poll",
                "kafka.discover",
                "observe.stalled_after",
                "observe.dead_letter_window",
                "stock.window",
                "detectors.order_retention",
            )
        ),
        ("time.window_grace", '"25h"', "must be up to 24 h"),
        ("kafka.group", '"a\tb"', "must be without control characters"),
        ("models.rate_span", '"59s"', "must be of 60 s or more"),
        ("time.max_future", '"365251d"', 'must be at most "365250d" (a thousand years)'),
        ("engine.epoch", '"' + "9" * 400 + 'd"', 'must be at most "365250d" (a thousand years)'),
        ("kafka.topics", "[]", "must be of at least 1 entry"),
        ("kafka.start_at", '"2026-01-01"', 'is for start = "timestamp"'),
        ("stock.book", "[]", "must be of at least 1 entry"),
        ("stock.margin_units", "inf", "must be between 0 and 1000000000"),
        ("stock.margin_share", "1.5", "must be between 0 and 1"),
        ("stock.safety_stock", "-1", "must be between 0 and 1000000000"),
        ("stock.currency", '"Euro"', "must be of three capital letters"),
        ("models.alarms_per_week", "0", "must be at most 10080 and more than 0"),
        ("models.alarms_per_week", "inf", "must be at most 10080 and more than 0"),
        ("models.max_series", "0", "must be at least 1"),
        ("models.young_points", "-1", "must be at least 0"),
        ("models.calm_points", "-1", "must be at least 0"),
        ("delivery.outbox", '""', "must be at least 1 character long"),
    ],
)
def test_values_that_the_type_takes_and_the_job_could_not_live_with(
    tmp_path: Path, key: str, value: str, words: str
) -> None:
    section, _, name = key.partition(".")
    (told,) = _told(_file(tmp_path, f"[{section}]\n{name} = {value}\n"), {})
    assert told.startswith(f"{tmp_path / 'my.toml'}:2: {key} = ")
    assert told.endswith(f": {words}")
    read = read_settings(None, {variable_of(section, name): value.strip('"')})
    assert [one.expected for one in read.problems] == [words], "the same from the environment"


@pytest.mark.parametrize("port", ["0", "65536", "99999", "123456"])
def test_a_port_that_none_can_be(tmp_path: Path, port: str) -> None:
    config = _file(tmp_path, f'[engine]\nprocesses = ["a:{port}"]\n[kafka]\nbootstrap = "b:9092,a:{port}"\n')
    assert [one.partition(" = ")[0] for one in _told(config, {})] == [
        f"{config}:2: engine.processes[0]",
        f"{config}:4: kafka.bootstrap",
    ]
    settings = load_settings(_file(tmp_path, '[engine]\nprocesses = ["a:65535", "a:1", "a:60000", "a:9092"]\n'), {})
    assert len(settings.engine.processes) == 4


@pytest.mark.parametrize("name", ["^orders.*", "my orders", "orders\n", "", ".", "..", "ordres-ä", "o" * 250])
def test_a_name_that_no_topic_can_have_is_told_and_not_waited_for(tmp_path: Path, name: str) -> None:
    quoted = json.dumps(name)
    config = _file(tmp_path, f"[kafka]\ntopics = [{quoted}]\ndead_letter_topic = {quoted}\n")
    told = [one.partition(" = ")[0] for one in _told(config, {})]
    dead = [f"{config}:3: kafka.dead_letter_topic"] if name else []  # empty: none
    assert told == [f"{config}:2: kafka.topics[0]", *dead]


@pytest.mark.parametrize(
    "bootstrap",
    ["http://kafka:9092", "kafka:port", "kafka:9092;other:9092", "kafka:9092 other:9092", ":9092", " ", ","],
)
def test_an_address_of_which_the_client_library_would_make_no_broker_is_told(tmp_path: Path, bootstrap: str) -> None:
    config = _file(tmp_path, f'[kafka]\nbootstrap = "{bootstrap}"\n')
    expected = "must be in the form host:port, several separated by commas"
    assert _told(config, {}) == [f'{config}:2: kafka.bootstrap = "{bootstrap}": {expected}']


@pytest.mark.parametrize(
    "bootstrap", ["", "kafka-1:9092,kafka_2.example.com:9092, [::1]:9092", "kafka,", "sasl_ssl://kafka:9092"]
)
def test_addresses_and_names_that_the_client_library_takes(tmp_path: Path, bootstrap: str) -> None:
    topics = ["eu.orders_v2-1", "...", "o" * 249]
    config = _file(tmp_path, f'[kafka]\nbootstrap = "{bootstrap}"\ntopics = {topics}\ndead_letter_topic = ""\n')
    read = load_settings(config, {}).kafka
    assert (read.bootstrap, list(read.topics)) == (bootstrap, topics)


def test_processes_are_addresses_each_of_its_own(tmp_path: Path) -> None:
    config = _file(tmp_path, '[engine]\nprocesses = ["pod-0.pods:4000", "[::1]:4000", "pod-1", "b:port", "c:1"]\n')
    assert _told(config, {}) == [
        f'{config}:2: engine.processes[2] = "pod-1": must be in the form host:port',
        f'{config}:2: engine.processes[3] = "b:port": must be in the form host:port',
    ]


def test_a_section_that_is_no_table(tmp_path: Path) -> None:
    config = _file(tmp_path, "engine = 3\n")
    assert _told(config, {"ANDON_ENGINE_LANES": "4"}) == [f"{config}:1: engine = 3: must be a table"]


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.toml")
    assert _told(missing, {}) == [f"{missing}: settings: no such file"]
    broken = _file(tmp_path, "[engine]\nlanes = \n")
    assert _told(broken, {"ANDON_ENGINE_LANES": "0"}) == [
        f"{broken}:2: TOML syntax: Invalid value",
        "environment: ANDON_ENGINE_LANES = 0: must be between 1 and 1024",
    ]
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'[process]\nmap = "K\xf6ln"\n')
    (told,) = _told(str(latin), {})
    assert "can't be read as UTF-8 text" in told
    (told,) = _told(str(tmp_path), {})
    assert "can't be read" in told


def test_what_is_set_can_be_read_although_something_is_wrong(tmp_path: Path) -> None:
    config = _file(tmp_path, '[engine]\nlanes = 0\n[process]\nmap = "mine"\n')
    read = read_settings(config, {})
    assert read.value is None
    assert read.setting("process", "map") == "mine"
    assert str(read.problem("process", "map", "must exist")) == f'{config}:4: process.map = "mine": must exist'
    read = read_settings(config, {"ANDON_PROCESS_MAP": "theirs"})
    assert str(read.problem("process", "map", "must exist")) == 'environment: ANDON_PROCESS_MAP = "theirs": must exist'
    assert read.setting("engine", "batch") is None


_ODD_VALUES = ("5", "-1", "true", "nan", '""', '"x"', '"\\u0000"', "[]", "[1]", "[{}]", "{}", "{ x = 1 }", "12:00:00")


@pytest.mark.parametrize("value", _ODD_VALUES)
def test_whatever_stands_at_every_key_is_told_in_words(tmp_path: Path, value: str) -> None:
    sections: dict[str, list[str]] = {}
    for section, field in setting_fields():
        sections.setdefault(section, []).append(f"{field.encode_name} = {value}\n")
    whole = "".join(f"[{section}]\n{''.join(lines)}" for section, lines in sections.items())
    told = check_settings(read_settings(_file(tmp_path, whole), {})).problems
    assert {one.key.partition(".")[0] for one in told} > {"clickhouse", "engine", "kafka", "stock", "delivery"}


@pytest.mark.parametrize("value", ['"\\u0000"', '"0s"'])
def test_whatever_stands_at_one_key_is_told_at_that_or_at_what_does_not_go_with_it(tmp_path: Path, value: str) -> None:
    for section, field in setting_fields():
        config = _file(tmp_path, f"[{section}]\n{field.encode_name} = {value}\n")
        told = check_settings(read_settings(config, {})).problems
        assert {one.key.partition(".")[0] for one in told} <= {section}


# --- the guide ---------------------------------------------------------------------------------------------


def test_every_key_has_its_row_in_the_guide_and_no_other_does() -> None:
    assert list(_ROWS) == [f"{section}.{field.encode_name}" for section, field in setting_fields()]


@pytest.mark.parametrize("key", [f"{section}.{field.encode_name}" for section, field in setting_fields()])
def test_the_guide_has_the_defaults_and_the_limits(key: str) -> None:
    section, _, name = key.partition(".")
    accepted, shown = _ROWS[key]
    record = type(getattr(Settings(), section))
    field = next(field for field in msgspec.structs.fields(record) if field.encode_name == name)
    default = getattr(getattr(Settings(), section), field.name)
    written = None if shown == "none" else tomllib.loads(f"value = {shown.strip('`')}")["value"]
    if isinstance(default, msgspec.Struct):
        assert written == {}, "a table of its own"
    elif isinstance(default, Duration):
        assert isinstance(written, str)
        assert Duration.parse(written) == default, people_duration(default)
    else:
        assert written == (list(default) if isinstance(default, tuple) else default)
    for meta in getattr(field.type, "__metadata__", ()):
        if isinstance(meta, Length):
            words = {
                "longer than 0": "longer than 0",
                "of 60 s or more": "of a minute or more",
                "up to 24 h": "up to 1d",
            }
            assert words[str(meta)] in accepted
            continue
        limits = [limit for limit in (meta.ge, meta.le) if limit is not None]
        assert limits == [int(number) for number in re.findall(r"\d+", accepted)]


def test_every_threshold_is_on_its_page() -> None:
    shown = Path("docs/detectors/thresholds.md").read_text(encoding="utf-8")
    assert shown == thresholds.page(), "python -m tests.thresholds > docs/detectors/thresholds.md"


def test_the_guide_has_the_limits_of_incidents() -> None:
    """They are no part of the types: who refuses a value says what is accepted."""
    beyond = {
        field.name: Duration(10**18) if isinstance(field.default, Duration) else -1
        for field in msgspec.structs.fields(IncidentSettings)
        if isinstance(field.default, int | float)
    }
    told = {one.key: one.expected for one in find_problems(msgspec.structs.replace(IncidentSettings(), **beyond))}
    assert len(told) == len(beyond)
    for key, expected in told.items():
        least, most = re.findall(r"[\d.]+[mhd]?", _ROWS[key][0].replace("up to", "0m to"))
        shown = [
            f"{float(one):g}" if one[-1].isdigit() else people_duration(Duration.parse(one)) for one in (least, most)
        ]
        assert expected == f"must be between {shown[0]} and {shown[1]}", key


def test_the_examples_of_the_guide_can_be_read(tmp_path: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", _GUIDE, re.DOTALL)
    assert examples
    for example in examples:
        load_settings(_file(tmp_path, example), {})


def test_every_variable_is_one_of_a_setting() -> None:
    known = {variable_of(section, field.encode_name) for section, field in setting_fields()}
    named = set(re.findall(r"\bANDON_[A-Z_]*[A-Z]\b", _GUIDE))
    assert named - known == {
        "ANDON_SECTION_KEY",
        "ANDON_CLICKHOUSE",
        "ANDON_CLICKHOUSE_PASSWORD",
        "ANDON_KAFKA_SECRET_SASL_PASSWORD",
    }


def test_reading_settings_loads_none_of_the_code_that_keeps_stock() -> None:
    """Every command that reads settings would wait for it."""
    code = "import dataflows.settings, sys; print('operators.stock' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
