"""`andon silence`, `andon ack`, `andon unack`: what people tell a running job about its alerts.

Each is an event of the topic `controls`, so that a replay knows of it when the live job did.
"""

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from dataflows.cli.store import clickhouse_option, config_option, store_from

if TYPE_CHECKING:
    from schemas.events import EventBase

_Event = TypeVar("_Event", bound="EventBase")
_Command = TypeVar("_Command", bound=Callable[..., None])
_SOURCE = "andon-cli"
_HOLDS = "`andon silence list` shows what holds"
_CHECK_S = 3
_STANDS = "SELECT status, summary FROM incidents WHERE incident_id = {id:String}"
_LIST = """
SELECT
    silence_id, incident_id, matchers, starts_at, if(toYear(ends_at) >= 2200, NULL, ends_at) AS ends_at,
    multiIf(ends_at <= now64(6), 'ended', starts_at > now64(6), 'pending', 'active') AS state,
    created_by, comment, expired_by
FROM silences WHERE {all:Bool} OR state != 'ended'
ORDER BY state, silences.ends_at DESC, silence_id
"""


def _named(context: click.Context, option: click.Parameter, by: str | None) -> str:
    """Who says so: whoever reads of it later has to know whom to ask."""
    del option
    if by is not None and by.strip():
        return by.strip()
    unset = " ($USER is not set)" if by is None else ""
    raise click.UsageError(f"nobody is named{unset}: say with --by WHO who says so", ctx=context)


def _who(*, needs_comment: bool) -> Callable[[_Command], _Command]:
    """Options of everything that somebody says: who, why, and where it is written to."""
    needed = click.option("--comment", required=True, help="Why.")
    comment = needed if needs_comment else click.option("--comment", default="", help="Why.")

    def add(command: _Command) -> _Command:
        for option in (
            config_option,
            click.option("--json", "as_json", is_flag=True, help="The event as one JSON object."),
            click.option("--topic", default="controls", show_default=True, help="The topic that it is written to."),
            click.option("--to", "file", metavar="FILE", help="Append to FILE, which the job follows, not to a topic."),
            comment,
            click.option("--by", envvar="USER", callback=_named, metavar="WHO", help="Who says so (default: $USER)."),
        ):
            command = option(command)
        return command

    return add


@click.group()
def silence() -> None:
    """Silences: what is not to be told for a while."""


@silence.command("add")
@click.argument("matchers", nargs=-1, required=True, metavar="MATCHER…")
@click.option("--for", "for_", required=True, metavar="DURATION", help="How long, from its beginning on: 2h, 1d.")
@click.option("--from", "from_", metavar="TIME", help="When it begins, RFC 3339 (default: at once).")
@click.option("--id", "silence_id", metavar="ID", help="Replace the silence of this id.")
@_who(needs_comment=True)
def add(
    matchers: tuple[str, ...],
    for_: str,
    from_: str | None,
    silence_id: str | None,
    by: str,
    comment: str,
    file: str | None,
    topic: str,
    config: str | None,
    *,
    as_json: bool,
) -> None:
    """Tell nobody of incidents that every MATCHER fits.

    Matchers are written as Alertmanager's: kind=oversell, 'node=~"store-.*"', region!=north. Labels are kind, severity,
    priority, incident, and what the incident's scope has: node, sku, region, channel, carrier, supplier, interface,
    queue, ….
    """
    from datetime import UTC, timedelta  # noqa: PLC0415 - `andon --help` loads none of this
    from uuid import uuid4  # noqa: PLC0415 - as above

    from operators.alerting.matchers import all_fit, parse_matcher  # noqa: PLC0415 - as above
    from schemas.durations import rfc3339, to_us  # noqa: PLC0415 - as above
    from schemas.events import SilenceCreated  # noqa: PLC0415 - as above

    parsed = []
    for matcher in matchers:
        try:
            parsed.append(parse_matcher(matcher))
        except ValueError as error:
            raise click.BadParameter(f"{matcher!r}: {error}", param_hint="MATCHER") from None
    if all_fit(parsed, {}):
        words = "at least one has to ask for a label that is there, or everything would be silenced"
        raise click.BadParameter(words, param_hint="MATCHER")
    begins = _now() if from_ is None else _instant(from_, "--from")
    try:
        ends = (begins + timedelta(microseconds=_duration(for_, "--for"))).astimezone(UTC)
    except OverflowError:
        raise click.BadParameter("it ends too late to be said: after the year 9999", param_hint="--for") from None
    event = _said(
        SilenceCreated,
        silence_id=silence_id or str(uuid4()),
        matchers=[str(matcher) for matcher in parsed],
        starts_at=None if from_ is None else begins,
        ends_at=ends,
        created_by=by,
        comment=comment,
    )
    if event.ends_at <= _now():
        raise click.BadParameter("it would have ended already", param_hint="--for")
    _send(event, event.silence_id, file, topic, config)
    until = rfc3339(to_us(event.ends_at))
    _say(event, f"silence {event.silence_id} until {until}: {', '.join(event.matchers)}", as_json=as_json)


@silence.command("expire")
@click.argument("silence_id", metavar="ID")
@_who(needs_comment=False)
def expire(
    silence_id: str, by: str, comment: str, file: str | None, topic: str, config: str | None, *, as_json: bool
) -> None:
    """End a silence now."""
    from schemas.events import SilenceExpired  # noqa: PLC0415 - as above

    event = _said(
        SilenceExpired,
        silence_id=silence_id,
        created_by=by,
        comment=comment or None,
    )
    _send(event, silence_id, file, topic, config)
    _say(event, f"told the job to end silence {silence_id}; {_HOLDS}", as_json=as_json)


@silence.command("list")
@click.option("--all", "all_", is_flag=True, help="Those that have ended, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array of objects.")
@clickhouse_option
@config_option
def list_(clickhouse: str | None, config: str | None, *, all_: bool, as_json: bool) -> None:
    """List silences and acknowledgements as the job knows them; what it refused has ended, and says why."""
    from dataflows.cli import answers  # noqa: PLC0415 - as above
    from sinks.clickhouse.migrate import require_current  # noqa: PLC0415 - as above

    with store_from(config, clickhouse, readonly=True) as store:
        require_current(store)
        answer = store.query(_LIST, {"all": all_}, binary=True)
    if as_json:
        answers.as_json(answer)
    else:
        answers.as_table(answer)
    click.echo(answers.footer(answer, "silence"), err=True)


@click.command()
@click.argument("incident_id")
@click.option("--for", "for_", metavar="DURATION", help="How long (default: until it is resolved or becomes worse).")
@_who(needs_comment=False)
def ack(
    incident_id: str,
    for_: str | None,
    by: str,
    comment: str,
    file: str | None,
    topic: str,
    config: str | None,
    *,
    as_json: bool,
) -> None:
    """Say that somebody sees to an incident: it is not told again until it is resolved or its priority rises.

    Where the settings name a database server, an INCIDENT_ID that is not open there is refused at once.
    """
    from datetime import timedelta  # noqa: PLC0415 - as above

    from schemas.durations import rfc3339, to_us  # noqa: PLC0415 - as above
    from schemas.events import IncidentAcknowledged  # noqa: PLC0415 - as above

    until = None if for_ is None else _now() + timedelta(microseconds=_duration(for_, "--for"))
    event = _said(
        IncidentAcknowledged,
        incident_id=incident_id,
        created_by=by,
        comment=comment or None,
        until=until,
    )
    if file is None:
        _refuse_what_is_not_open(incident_id, config)
    _send(event, incident_id, file, topic, config)
    said = "" if until is None else f" until {rfc3339(to_us(until))}"
    _say(event, f"told the job that {by} sees to incident {incident_id}{said}; {_HOLDS}", as_json=as_json)


@click.command()
@click.argument("incident_id")
@_who(needs_comment=False)
def unack(
    incident_id: str, by: str, comment: str, file: str | None, topic: str, config: str | None, *, as_json: bool
) -> None:
    """Take an acknowledgement back: the incident is told again."""
    from schemas.events import IncidentUnacknowledged  # noqa: PLC0415 - as above

    event = _said(
        IncidentUnacknowledged,
        incident_id=incident_id,
        created_by=by,
        comment=comment or None,
    )
    _send(event, incident_id, file, topic, config)
    _say(event, f"told the job that nobody sees to incident {incident_id} any more; {_HOLDS}", as_json=as_json)


def _said(kind: "Callable[..., _Event]", **fields: object) -> "_Event":
    """An event of this moment, under an id of its own."""
    from uuid import uuid4  # noqa: PLC0415 - as above

    return kind(event_id=str(uuid4()), source=_SOURCE, system="andon", occurred_at=_now(), **fields)


def _send(event: "EventBase", about: str, file: str | None, topic: str, config: str | None) -> None:
    """Write the event where the job reads it, once it is sure that the job could read it.

    Raises:
        SettingsError: settings can't be used, or the job does not read the topic.
        SourceError: the broker does not take it, or the file can't be written.
    """
    import msgspec  # noqa: PLC0415 - as above

    from schemas.decode import EventDecoder, Fault  # noqa: PLC0415 - as above
    from schemas.errors import SettingsError  # noqa: PLC0415 - as above

    if file is not None:
        event = msgspec.structs.replace(event, recorded_at=_now())
    message = msgspec.json.encode(event)
    (read,) = EventDecoder().decode([message])
    if isinstance(read, Fault):
        raise click.UsageError(f"{read.path.removeprefix('$.')}: {read.detail}")
    if file is not None:
        _append(Path(file), message)
        return
    from dataflows.kafka.controls import send_control  # noqa: PLC0415 - as above
    from dataflows.settings import read_settings  # noqa: PLC0415 - as above

    settings = read_settings(config)
    if settings.value is None:
        raise SettingsError(settings.problems)
    if not settings.value.kafka.bootstrap:
        words = "no broker is set; a job that follows files is told with --to FILE, one of its files"
        raise SettingsError([settings.problem("kafka", "bootstrap", words)])
    if topic not in settings.value.kafka.topics:
        words = f"must name {topic}, or the job never reads it (--topic names another one)"
        raise SettingsError([settings.problem("kafka", "topics", words)])
    send_control(settings.value.kafka, topic, about, message)


def _refuse_what_is_not_open(incident_id: str, config: str | None) -> None:
    """Refuse an id that the job would refuse, whose answer nobody waits for here.

    An embedded database is the job's alone. One that does not answer in time holds nobody up: that is said.
    """
    from dataflows.printable import printable  # noqa: PLC0415 - as above
    from dataflows.settings import read_settings  # noqa: PLC0415 - as above
    from schemas.errors import SettingsError, StoreError  # noqa: PLC0415 - as above
    from sinks.clickhouse.dsn import Embedded, parse_dsn, read_password  # noqa: PLC0415 - as above
    from sinks.clickhouse.store import open_store  # noqa: PLC0415 - as above

    settings = read_settings(config).value
    if settings is None:  # told with the rest when it is sent
        return
    try:
        target = parse_dsn(settings.clickhouse.dsn)
        if isinstance(target, Embedded):
            return
        password = read_password(settings.clickhouse.password_file)
        with open_store(
            target, password=password, readonly=True, connect_timeout_s=_CHECK_S, answer_timeout_s=_CHECK_S
        ) as store:
            found = store.query(_STANDS, {"id": incident_id}).rows
    except (SettingsError, StoreError) as error:
        click.echo(f"andon: not checked whether incident {incident_id} is open: {error}", err=True)
        return
    if not found:
        raise click.ClickException(f"there is no incident {incident_id} in {target}; nothing was sent")
    status, summary = found[0]
    if status == "resolved":
        raise click.ClickException(f"incident {incident_id} is over; nothing was sent: {printable(summary)}")


def _append(path: Path, message: bytes) -> None:
    """Add a line in one write, on a line of its own whatever the last one is."""
    from schemas.errors import SourceError  # noqa: PLC0415 - as above

    try:
        with path.open("a+b", buffering=0) as file:
            file.seek(0, 2)
            broken = False
            if file.tell():
                file.seek(-1, 2)
                broken = file.read(1) != b"\n"
            file.write((b"\n" if broken else b"") + message + b"\n")
    except OSError as error:
        raise SourceError(f"{path}: can't be written: {error.strerror}") from error


def _say(event: "EventBase", words: str, *, as_json: bool) -> None:
    import msgspec  # noqa: PLC0415 - as above

    sys.stdout.write((msgspec.json.encode(event).decode() if as_json else words) + "\n")


def _now() -> datetime:
    from datetime import UTC  # noqa: PLC0415 - as above

    return datetime.now(UTC)


def _duration(text: str, option: str) -> int:
    from schemas.durations import DAY_US, Duration  # noqa: PLC0415 - as above

    try:
        length = Duration.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None
    if not 0 < length <= 3_660 * DAY_US:
        raise click.BadParameter("must be more than 0 and at most ten years", param_hint=option)
    return int(length)


def _instant(text: str, option: str) -> datetime:
    from schemas.durations import Instant, from_us  # noqa: PLC0415 - as above

    try:
        return from_us(Instant.parse(text))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None
