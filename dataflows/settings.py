"""All settings, resolved once: a TOML file, `ANDON_…` environment on top, the command line over both.

`ANDON_TIME_WINDOW_GRACE=10s` sets `window_grace` of `[time]`; `ANDON_CLICKHOUSE` is short for
`ANDON_CLICKHOUSE_DSN`. Unknown keys and variables are refused, all problems at once. docs/settings.md lists
every key.
"""

import os
import tomllib
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from operators.alerting.settings import AlertSettings
from operators.anomaly.settings import ModelSettings
from operators.detectors.policy import find_problems as find_override_problems
from operators.detectors.settings import DetectorSettings
from operators.incidents.settings import IncidentSettings
from operators.lane_state import TimeRules
from operators.stock_settings import StockSettings
from operators.windows import WindowSettings
from schemas.accepted import as_toml, plain
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US, Duration, Instant, Lasting, Length, rfc3339
from schemas.errors import SettingsError
from schemas.events import TOPICS
from schemas.mended import Mended, mended
from schemas.problems import Problem, declare_document, did_you_mean, parse_toml, path_text
from schemas.toml_lines import KeyPath, line_of
from sinks.clickhouse.dsn import PASSWORD_VARIABLE, parse_dsn
from sinks.webhooks.settings import DeliverySettings

DEFAULT_FILE = "andon.toml"
#: Variables that are ours but no settings: secrets, and what tests and benchmarks read.
KAFKA_VARIABLES = "ANDON_KAFKA_SECRET_"
_OTHERS = frozenset({PASSWORD_VARIABLE, "ANDON_SHARED_DATA"})
_OTHERS_BEGIN = (KAFKA_VARIABLES, "ANDON_SECRET_", "ANDON_TEST_")

_DSN, _DSN_FOR_SHORT = "ANDON_CLICKHOUSE_DSN", "ANDON_CLICKHOUSE"


#: What Kafka takes as a topic's name: no pattern (`^orders.*`) is one, and it would be waited for without end.
_TOPIC = r"(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}$(?!\n)"
_TOPIC_WORDS = "made of 1 to 249 letters (a-z, A-Z), digits, dots, underscores and hyphens"
#: The client library takes a text up to its first NUL, and ends the process where that leaves nothing.
_PRINTABLE = r"^[^\x00-\x1f\x7f]*$(?!\n)"
_HOST = r"([^\s\x00-\x1f\x7f,:/\[\]]+|\[[^\s,/\[\]]+\])"
#: What the client library can make a broker of; the rest it passes over.
_PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_BROKER = rf"((?i:PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)://)?{_HOST}(:{_PORT})?"


#: Where below its section a value stands that doesn't go together with others, the value, and what is accepted.
Misfit: TypeAlias = tuple[KeyPath, object, str]


class ClickHouseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where rows go.

    The password comes from `password_file` or `ANDON_CLICKHOUSE_PASSWORD`, never from the DSN.
    """

    dsn: str = "chdb:///./andon.db"
    password_file: str | None = None
    block_rows: Annotated[int, Meta(ge=1, le=1_000_000)] = 50_000
    block_age: Duration = Duration(SECOND_US // 2)


class TimeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long things wait, and which times are believed."""

    window_grace: Annotated[Duration, Length(0, DAY_US)] = Duration(5 * SECOND_US)
    window_retention: Duration = Duration(DAY_US)
    max_future: Duration = Duration(5 * MINUTE_US)
    max_past: Lasting = Duration(30 * DAY_US)
    dedup_horizon: Duration = Duration(HOUR_US)
    idle_grace: Duration = Duration(2 * SECOND_US)
    idle_grace_appended: Duration = Duration(SECOND_US // 2)

    def rules(self) -> TimeRules:
        """As lanes take them."""
        return TimeRules(self.max_future, self.max_past)


class EngineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the work is cut.

    `lanes` and the numbers of groups can't be changed under a kept recovery directory.
    """

    lanes: Annotated[int, Meta(ge=1, le=1024)] = 1
    case_groups: Annotated[int, Meta(ge=1, le=4096)] = 8
    item_groups: Annotated[int, Meta(ge=1, le=4096)] = 8
    site_groups: Annotated[int, Meta(ge=1, le=4096)] = 4
    batch: Annotated[int, Meta(ge=1, le=1_000_000)] = 8_192
    epoch: Lasting = Duration(30 * SECOND_US)
    ahead: Annotated[int, Meta(ge=1)] = 50_000
    increments_from: Annotated[int, Meta(ge=0)] = 2_048
    dedup_max_ids: Annotated[int, Meta(ge=1)] = 1_000_000
    recovery: str = ""
    processes: list[Annotated[str, Meta(pattern=rf"^{_HOST}:{_PORT}$(?!\n)", description="in the form host:port")]] = []
    process: Annotated[int, Meta(ge=0)] = 0
    stop_within: Lasting = Duration(8 * SECOND_US)

    def misfits(self) -> Iterator[Misfit]:
        """Which values don't go together with others.

        A process that is none of those listed, and one that is listed twice, which would be waited for without end.
        """
        for index, address in enumerate(self.processes):
            if address in self.processes[:index]:
                yield ("processes", index), address, "is there twice: each process needs an address of its own"
        if self.process and self.process >= len(self.processes):
            yield ("process",), self.process, f"must be less than the number of processes ({len(self.processes)})"


class ProcessSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which process map: the name of a shipped one, or a file."""

    map: str = "default"


class SourceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `andon run` reads: files of canonical JSON lines that grow."""

    files: list[str] = []
    poll: Lasting = Duration(SECOND_US // 2)


class KafkaSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The broker `andon run` reads.

    `client` holds properties of the client library, passed on as they are; a secret among them comes from a file
    (`"sasl.password.file"`) or the environment, never from here.
    """

    bootstrap: Annotated[
        str,
        Meta(
            pattern=rf"^({_BROKER}(, *{_BROKER})*,?)?$(?!\n)",
            description="in the form host:port, several separated by commas",
        ),
    ] = ""
    topics: Annotated[
        tuple[Annotated[str, Meta(pattern=f"^{_TOPIC}", description=_TOPIC_WORDS)], ...], Meta(min_length=1)
    ] = tuple(TOPICS)
    group: Annotated[str, Meta(pattern=_PRINTABLE, description="without control characters")] = "andon"
    start: Literal["earliest", "latest", "stored", "timestamp"] = "earliest"
    start_at: Instant | None = None
    on_expired: Literal["stop", "earliest"] = "stop"
    dead_letter_topic: Annotated[str, Meta(pattern=f"^$(?!\\n)|^{_TOPIC}", description=_TOPIC_WORDS)] = ""
    discover: Lasting = Duration(5 * SECOND_US)
    buffer: Annotated[int, Meta(ge=100, le=10_000_000)] = 20_000
    client: dict[str, str | int | bool] = {}

    def misfits(self) -> Iterator[Misfit]:
        """Which values don't go together with others.

        A start by time without the time, a topic twice, and dead letters that would be read again.
        """
        if self.start == "timestamp" and self.start_at is None:
            yield ("start",), self.start, "needs start_at, the time to start from"
        if self.start != "timestamp" and self.start_at is not None:
            yield ("start_at",), rfc3339(self.start_at), 'is for start = "timestamp"'
        for index, topic in enumerate(self.topics):
            if topic in self.topics[:index]:
                yield ("topics", index), topic, "is there twice"
        if self.dead_letter_topic in self.topics:
            expected = "must not be one of topics: each dead letter would make another"
            yield ("dead_letter_topic",), self.dead_letter_topic, expected


class ObserveSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the job is seen from outside.

    The job counts as stalled without progress for `stalled_after`, and as unhealthy when more than `dead_letter_share`
    of the messages of `dead_letter_window` are dead letters.
    """

    listen: str = "127.0.0.1:9464"
    stalled_after: Lasting = Duration(MINUTE_US)
    dead_letter_share: Annotated[float, Meta(ge=0, le=1)] = 0.05
    dead_letter_window: Lasting = Duration(5 * MINUTE_US)
    log: Literal["auto", "text", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be set."""

    clickhouse: ClickHouseSettings = ClickHouseSettings()
    time: TimeSettings = TimeSettings()
    engine: EngineSettings = EngineSettings()
    process: ProcessSettings = ProcessSettings()
    source: SourceSettings = SourceSettings()
    kafka: KafkaSettings = KafkaSettings()
    observe: ObserveSettings = ObserveSettings()
    stock: StockSettings = StockSettings()
    detectors: DetectorSettings = DetectorSettings()
    incidents: IncidentSettings = IncidentSettings()
    models: ModelSettings = ModelSettings()
    alerting: AlertSettings = AlertSettings()
    delivery: DeliverySettings = DeliverySettings()

    def windows(self, size: Duration, slide: Duration | None = None) -> WindowSettings:
        """Windows of `size` with the common grace and retention."""
        return WindowSettings(size, slide or size, self.time.window_grace, self.time.window_retention)


class ReadSettings(msgspec.Struct, frozen=True):
    """What came of reading settings: the document with everything on top, and the settings if usable.

    `mended` is what can be looked at where they are not: the settings without what is wrong in them. `origins` says
    where a key was set that is not from the file: `{"engine.lanes": ("environment", "ANDON_ENGINE_LANES")}`.
    """

    file: str
    text: str
    document: dict[str, Any]
    origins: dict[str, tuple[str, str]]
    value: Settings | None
    mended: Mended[Settings]
    problems: tuple[Problem, ...]

    def setting(self, section: str, key: str) -> object:
        """What is set, whether it is usable or not; None where nothing is."""
        return _section(self.document, section).get(key)

    def problem(self, section: str, key: str, expected: str) -> Problem:
        """A problem with a setting that shows only when it is used."""
        value = self.setting(section, key)
        shown = "" if value is None else as_toml(value)
        line = line_of(self.text, (section, key))
        return self.placed(Problem(self.file, f"{section}.{key}", shown, expected, line))

    def placed(self, problem: Problem) -> Problem:
        """`problem` where the value was written: in the file, a variable or an option."""
        return _placed(problem, self.origins)


def load_settings(
    config: str | None = None, environment: Mapping[str, str] | None = None, **overrides: object
) -> Settings:
    """Read the settings file, put the environment and `overrides` on top.

    Args:
        config: the file; by default `andon.toml` where there is one.
        environment: variables, by default those of the process.
        overrides: `section__key=value`, None meaning not given; `clickhouse=DSN` for short.

    Raises:
        SettingsError: with every problem found.
    """
    read = read_settings(config, environment, **overrides)
    if read.value is None:
        raise SettingsError(read.problems)
    return read.value


def read_settings(
    config: str | None = None, environment: Mapping[str, str] | None = None, **overrides: object
) -> ReadSettings:
    """As `load_settings`, for one who wants to look on where something is wrong."""
    document, text, file, broken = _read_file(config)
    origins: dict[str, tuple[str, str]] = {}
    variables = os.environ if environment is None else environment
    problems = [*broken, *_put_environment(document, variables, origins)]
    for name, value in overrides.items():
        if value is not None:
            section, _, key = ("clickhouse__dsn" if name == "clickhouse" else name).partition("__")
            _section(document, section)[key] = value
            option = key if "__" in name else name
            origins[f"{section}.{key}"] = ("command line", f"--{option.replace('_', '-')}")
    declared = declare_document(document, Settings, file, text)
    left = mended(document, Settings, declared.wrong)
    detectors = left.value.detectors
    beside = [
        *_of_database(document, file, text),
        *_misfits(left.value, file, text),
        *find_override_problems(detectors, detectors.override, detectors.node_groups, file, text),
    ]
    found = [*declared.problems, *left.unaffected(beside)]
    problems += [_placed(_masked(problem), origins) for problem in found]
    value = None if problems else declared.value
    return ReadSettings(file, text, document, origins, value, left, tuple(problems))


def _misfits(settings: Settings, file: str, text: str) -> Iterator[Problem]:
    """Values that are well by themselves, and don't go together."""
    for name, section in (("engine", settings.engine), ("kafka", settings.kafka)):
        for path, value, expected in section.misfits():
            where = (name, *path)
            yield Problem(file, path_text(where), as_toml(value), expected, line_of(text, where))


def _of_database(document: dict[str, Any], file: str, text: str) -> Iterator[Problem]:
    """A DSN that is none: said here, where it is known what set it."""
    dsn = _section(document, "clickhouse").get("dsn")
    try:
        if isinstance(dsn, str):
            parse_dsn(dsn)
    except SettingsError as error:
        for problem in error.problems:
            line = line_of(text, ("clickhouse", "dsn"))
            yield msgspec.structs.replace(problem, file=file, key="clickhouse.dsn", line=line)


def _masked(problem: Problem) -> Problem:
    """`problem` without the value, where that may be a secret that somebody has put in a wrong place."""
    may_be_secret = problem.key.startswith(("kafka.client", "delivery.receiver"))
    return msgspec.structs.replace(problem, value="") if may_be_secret else problem


def _placed(problem: Problem, origins: Mapping[str, tuple[str, str]]) -> Problem:
    """`problem`, with the variable or option that the value is from, where it is not from the file."""
    for key, (source, name) in origins.items():
        if problem.key == key or problem.key.startswith((f"{key}.", f"{key}[")):
            rest = problem.key.removeprefix(key)
            return msgspec.structs.replace(problem, file=source, key=name + rest, line=0)
    return problem


def _read_file(config: str | None) -> tuple[dict[str, Any], str, str, Sequence[Problem]]:
    path = Path(config or DEFAULT_FILE)
    if config is None and not path.exists():
        return {}, "", "settings", ()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        words = "no such file" if missing else f"can't be read as UTF-8 text: {error}"
        return {}, "", str(path), [Problem(str(path), "settings", "", words)]
    document, problems = parse_toml(text, str(path))
    return document, text, str(path), problems


def _put_environment(
    document: dict[str, Any], environment: Mapping[str, str], origins: dict[str, tuple[str, str]]
) -> Iterable[Problem]:
    known = {variable_of(section, key.encode_name): (section, key) for section, key in setting_fields()}
    known[_DSN_FOR_SHORT] = known[_DSN]
    if len({environment[name] for name in (_DSN, _DSN_FOR_SHORT) if name in environment}) > 1:
        yield Problem("environment", _DSN_FOR_SHORT, "", f"names another database than {_DSN}: set one of the two")
    for name in sorted(environment):
        if not name.startswith("ANDON_") or name in _OTHERS or name.startswith(_OTHERS_BEGIN):
            continue
        if name not in known:
            words = "names no setting; a name is ANDON_SECTION_KEY, as in ANDON_TIME_MAX_PAST"
            yield Problem("environment", name, "", words + did_you_mean(name, list(known)))
            continue
        section, key = known[name]
        _section(document, section)[key.encode_name] = _value(environment[name], key.type)
        origins[f"{section}.{key.encode_name}"] = ("environment", name)


def setting_fields() -> Iterator[tuple[str, msgspec.structs.FieldInfo]]:
    """Every setting: the section it is in, and its field."""
    for section in msgspec.structs.fields(Settings):
        for key in msgspec.structs.fields(section.type):
            yield section.name, key


def variable_of(section: str, key: str) -> str:
    """The environment variable of a setting."""
    return f"ANDON_{section}_{key}".upper()


def _section(document: dict[str, Any], name: str) -> dict[str, Any]:
    section = document.setdefault(name, {})
    return section if isinstance(section, dict) else {}


def _value(text: str, kind: Any) -> object:  # noqa: ANN401 - a type expression
    """The text of a variable as the setting's type wants it: as it is for text, else as a TOML value."""
    branches = [plain(one) for one in (get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,))]
    if any(one in (str, Duration, Instant) or get_origin(one) is Literal for one in branches):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
