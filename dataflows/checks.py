"""What `andon check` looks at: settings, process maps, mappings and tables, without running anything.

Each check gives a `Checked`: what was looked at, in one line where all is well, and every problem where not.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from dataflows.kafka.client import check_client
from dataflows.process_maps import load_process_map, shipped_process_maps
from dataflows.reporting.words import count
from dataflows.settings import ReadSettings, read_settings
from dataflows.status import split_address
from operators.alerting.lint import find_problems as find_alert_problems
from operators.incidents.settings import find_problems as find_incident_problems
from operators.process_map import ProcessMap
from schemas.adapters.mapping import Mapping
from schemas.adapters.rules import types_of
from schemas.adapters.tabular import EVENTS_PER_ROW, RefusedRow, find_column_problems
from schemas.adapters.translations import Translation, find_translation, open_source
from schemas.errors import SettingsError, SourceError
from schemas.problems import Problem, did_you_mean
from schemas.toml_lines import KeyPath, line_of
from sinks.clickhouse.dsn import read_password
from sinks.webhooks.lint import find_problems

#: Of a file's refused records, so many are told.
_RECORDS_TOLD = 20


class Checked(msgspec.Struct, frozen=True):
    """One thing that was looked at; `summary` says what is in it, and is empty where it has problems."""

    file: str
    what: str
    summary: str
    problems: tuple[Problem, ...] = ()


def check_all(
    config: str | None, process_map: str | None, mappings: Sequence[str], tables: Sequence[str]
) -> Iterator[Checked]:
    """Check all that is named, and what those name: each file once, none kept back by another's problems.

    Args:
        config: the settings file; by default `andon.toml` where there is one.
        process_map: the process map, by default the settings' one.
        mappings: mappings by name or file; the process map that one names is checked, too.
        tables: files whose columns are held against each of the mappings; an adapter reads all of their records.
    """
    settings = read_settings(config)
    yield check_settings(settings)
    seen: set[str] = set()
    if process_map is not None:
        yield from _once(seen, process_map, Problem("command line", "--map", f'"{process_map}"', ""))
    else:
        named = settings.setting("process", "map")
        named = named if isinstance(named, str) else "default"
        yield from _once(seen, named, settings.problem("process", "map", ""))
    for name in mappings:
        read = find_translation(name)
        mapping = read.left
        if mapping is None:
            yield Checked(name, "mapping", "", read.problems)
            continue
        yield Checked(mapping.file, "mapping", "", read.problems) if read.problems else _check_mapping(mapping)
        if mapping.process_map:
            path = ("mapping", "process_map")
            shown = f'"{mapping.process_map}"'
            line = line_of(mapping.text, path) if isinstance(mapping, Mapping) else 0
            yield from _once(seen, mapping.process_map, Problem(mapping.file, ".".join(path), shown, "", line))
        for table in tables:
            yield _check_table(mapping, read.problems, read.wrong, table)


def check_settings(settings: ReadSettings) -> Checked:
    """The settings, the database's address and the password file among them. Nothing is connected to."""
    problems = [*settings.problems]
    password_file = settings.setting("clickhouse", "password_file")
    try:
        if isinstance(password_file, str):
            read_password(password_file)
    except SettingsError as error:
        problems += (_of_password(problem, settings) for problem in error.problems)
    problems += _of_addresses(settings)
    problems += (settings.placed(problem) for problem in settings.mended.unaffected(_beyond_types(settings)))
    if settings.value is None or problems:
        return Checked(settings.file, "settings", "", tuple(problems))
    keys = sum(len(section) for section in settings.document.values())
    said = f"{count(keys, 'key')} set" if keys else "all defaults"
    database, process = settings.value.clickhouse.dsn, settings.value.process.map
    kafka = settings.value.kafka
    broker = f"; broker {kafka.bootstrap}, {count(len(kafka.topics), 'topic')}" if kafka.bootstrap else ""
    return Checked(settings.file, "settings", f"{said}; database {database}, process map {process}{broker}")


def _beyond_types(settings: ReadSettings) -> Iterator[Problem]:
    """What is wrong with values that have the right types, as far as they can be looked at."""
    value, file, text = settings.mended.value, settings.file, settings.text
    try:
        check_client(value.kafka)
    except SettingsError as error:
        yield from (_of_kafka(problem, settings) for problem in error.problems)
    yield from find_problems(value.delivery, file=file, text=text, untyped=_untyped(settings.mended.wrong))
    yield from find_incident_problems(value.incidents, file, text)
    receivers = [one.name for one in value.delivery.receiver] or None  # without any nothing is delivered
    if any(path[:2] == ("delivery", "receiver") for path in settings.mended.wrong):
        receivers = None  # not all of their names are known
    yield from find_alert_problems(value.alerting, file, text, receivers)


def _untyped(wrong: Iterable[KeyPath]) -> set[int]:
    """The numbers of the receivers whose type has a mistake in it or is missing."""
    of_receivers = (path[2:] for path in wrong if path[:2] == ("delivery", "receiver"))
    return {path[0] for path in of_receivers if path[1:] == ("type",) and isinstance(path[0], int)}


def _of_addresses(settings: ReadSettings) -> Iterator[Problem]:
    """Where the job and the delivery are to answer, and can't."""
    for section in ("observe", "delivery"):
        listen = settings.setting(section, "listen")
        try:
            if isinstance(listen, str) and listen:
                split_address(listen)
        except ValueError as error:
            yield settings.problem(section, "listen", str(error))


def _of_kafka(problem: Problem, settings: ReadSettings) -> Problem:
    """A problem with a property of the client library, at its place in the file."""
    line = line_of(settings.text, ("kafka", "client", problem.key.removeprefix('client."').removesuffix('"')))
    return msgspec.structs.replace(problem, file=settings.file, key=f"kafka.{problem.key}", line=line)


def _of_password(problem: Problem, settings: ReadSettings) -> Problem:
    """A problem with the file of the password, at the place that names it."""
    return settings.problem("clickhouse", "password_file", problem.expected)


def _once(seen: set[str], name: str, where: Problem) -> Iterator[Checked]:
    """Check a process map unless that was done; `where` is the place that names it."""
    if name in seen:
        return
    seen.add(name)
    if name not in shipped_process_maps() and not Path(name).exists():
        shipped = shipped_process_maps()
        expected = f"must be a file or a shipped process map: {', '.join(shipped)}"
        expected += did_you_mean(name, shipped)
        problem = msgspec.structs.replace(where, value=f'"{name}"', expected=expected)
        yield Checked(where.file, "process map", "", (problem,))
        return
    try:
        process = load_process_map(name)
    except SettingsError as error:
        yield Checked(name, "process map", "", error.problems)
        return
    file = f"{name}.toml (shipped)" if name in shipped_process_maps() else name
    yield Checked(file, "process map", _map_words(process))


def _map_words(process: ProcessMap) -> str:
    handoffs = process.handoff
    due = sum(one.deadline is not None or one.deadline_at is not None for one in handoffs)
    patterns = [pattern for one in handoffs for pattern in (one.start, one.end, *one.abandoned_by)]
    patterns += [pattern for rule in process.forbidden for pattern in (rule.event, rule.after)]
    patterns += [rule.event for rule in process.exception]
    cases = {one.case for one in handoffs}
    parts = [
        f"{count(len(handoffs), 'handoff')} of {count(len(cases), 'kind')} of case",
        f"{count(due, 'deadline')}",
        f"{count(len({pattern.type for pattern in patterns}), 'event type')}",
        f"{count(len(process.forbidden), 'impossible state')}",
        f"{count(len(process.exception), 'exception')}",
    ]
    return ", ".join(parts)


def _check_mapping(mapping: Translation) -> Checked:
    if not isinstance(mapping, Mapping):
        return Checked(mapping.file, "adapter", f"{mapping.title}; process map {mapping.process_map}")
    declared = mapping.declared
    types = {name for rule in declared.event for name in types_of(declared, rule)}
    rules = count(len(declared.event), "rule")
    words = f"{rules} for {count(len(types), 'event type')} of {mapping.source}"
    return Checked(mapping.file, "mapping", f"{words}, process map {mapping.process_map or 'of the settings'}")


def _check_table(mapping: Translation, known: Iterable[Problem], wrong: Iterable[KeyPath], table: str) -> Checked:
    """A file of what is left of a mapping that has the problems `known`, and mistakes at `wrong`; or of an adapter."""
    try:
        if isinstance(mapping, Mapping):
            if any(problem.key.startswith("table") for problem in known):
                return Checked(table, "table", f"is not looked at: [table] of {mapping.file} has problems")
            problems = find_column_problems(mapping, wrong, table)
            return Checked(table, "table", f"has every column that {mapping.file} names", problems)
        source = open_source(mapping, table)
        refused = list(islice((one for one in source.messages() if isinstance(one, RefusedRow)), _RECORDS_TOLD))
    except SettingsError as error:
        return Checked(table, "table", "", error.problems)
    except SourceError as error:
        return Checked(table, "table", "", (Problem("command line", "--table", f'"{table}"', str(error)),))
    problems = tuple(
        Problem(f"{table}, record {one.offset // EVENTS_PER_ROW}", one.path, "", one.detail) for one in refused
    )
    read = f"{count(source.rows_read, 'record')} read, {source.rows_skipped} of them made no event"
    return Checked(table, "table", "" if problems else f"{read} through {mapping.file}", problems)


def all_problems(checked: Iterable[Checked]) -> list[Problem]:
    """The problems of all, each once."""
    return list(dict.fromkeys(problem for one in checked for problem in one.problems))
