"""`andon deliver`: alerts to their receivers, and what could not be delivered."""

from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from dataflows.cli.store import clickhouse_option, config_option

if TYPE_CHECKING:
    from sinks.webhooks.outbox import Outbox
    from sinks.webhooks.settings import DeliverySettings

outbox_option = click.option("--outbox", metavar="FILE", help="The outbox (default: the settings').")


@click.group(invoke_without_command=True)
@click.option("--drain", is_flag=True, help="Deliver what can be delivered now, then end.")
@outbox_option
@clickhouse_option
@config_option
@click.pass_context
def deliver(
    context: click.Context, outbox: str | None, clickhouse: str | None, config: str | None, *, drain: bool
) -> None:
    """Deliver alerts to the receivers of the settings until SIGTERM or Ctrl-C.

    A process of its own beside `andon run`: new alerts come from ClickHouse into a durable outbox, go out in the order
    of their group, are tried again until they are taken or given up, and each attempt is on record. Killed, it goes on
    where it was: what it had under way is sent again under the same idempotency key. Metrics and its health are
    answered over HTTP at `delivery.listen`.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context, context.invoked_subcommand)
        return
    from dataflows.delivery import run_delivery  # noqa: PLC0415 - `andon --help` loads none of this
    from dataflows.logs import setup  # noqa: PLC0415 - as above
    from dataflows.settings import load_settings  # noqa: PLC0415 - as above

    settings = load_settings(config, clickhouse=clickhouse, delivery__outbox=outbox)
    setup(settings.observe.log, settings.observe.level)
    run_delivery(settings.delivery, settings.clickhouse.dsn, settings.clickhouse.password_file, drain=drain)


def _refuse_options(context: click.Context, command: str) -> None:
    """Refuse what stands before a command, which would take the outbox and the settings that it has itself."""
    for one in context.command.params:
        if one.name is not None and context.get_parameter_source(one.name) is ParameterSource.COMMANDLINE:
            words = f"{one.opts[0]} before {command} is not read: options stand behind the command's name"
            raise click.UsageError(words)


@deliver.command("endpoints")
@click.option("--json", "as_json", is_flag=True, help="One JSON array of objects.")
@outbox_option
@config_option
def endpoints(outbox: str | None, config: str | None, *, as_json: bool) -> None:
    """Show how each endpoint stands: what waits, since when, what was delivered and given up, what is disabled."""
    from schemas.durations import rfc3339  # noqa: PLC0415 - as above

    settings, box = _outbox(config, outbox)
    with box:
        counts, disabled = box.figures.counts(), box.disabled()
        names = list(dict.fromkeys([*(one.name for one in settings.receiver), *counts, *disabled]))
        rows: list[tuple[object, ...]] = []
        for name in names:
            since_us = box.figures.oldest_waiting_us(name)
            states = counts.get(name, {})
            why = disabled[name][1] if name in disabled else ""
            numbers = (states.get(state, 0) for state in ("waiting", "delivered", "dead"))
            waits = None if since_us is None else rfc3339(since_us)
            rows.append((name, "disabled" if name in disabled else "enabled", *numbers, waits, why))
    columns = ("receiver", "state", "waiting", "delivered", "dead", "oldest_waiting", "why")
    _show(columns, rows, as_json=as_json)


@deliver.command("enable")
@click.argument("receiver")
@outbox_option
@config_option
def enable(receiver: str, outbox: str | None, config: str | None) -> None:
    """Send to RECEIVER again after its endpoint had said that it was gone (HTTP 410)."""
    _, box = _outbox(config, outbox)
    with box:
        if not box.enable(receiver):
            raise click.ClickException(f"{receiver} is not disabled; `andon deliver endpoints` lists them")
    click.echo(f"{receiver} is enabled; what waits for it goes out now")


@deliver.group("dead")
def dead() -> None:
    """Alerts that could not be delivered."""


@dead.command("list")
@click.option("--receiver", help="Only of this receiver.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000_000),
    default=50,
    show_default=True,
    help="Newest first, at most this many.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON array of objects.")
@outbox_option
@config_option
def dead_list(receiver: str | None, limit: int, outbox: str | None, config: str | None, *, as_json: bool) -> None:
    """List alerts that were given up, newest first, and why."""
    from schemas.durations import rfc3339  # noqa: PLC0415 - as above

    _, box = _outbox(config, outbox)
    with box:
        found = box.dead(receiver, limit)
    columns = ("given_up_at", "receiver", "alert_id", "action", "sequence", "attempts", "http_status", "detail")
    rows: list[tuple[object, ...]] = [
        (
            rfc3339(one.given_up_at_us),
            *(one.receiver, one.alert_id, one.action, one.sequence, one.attempts, one.http_status, one.detail),
        )
        for one in found
    ]
    _show(columns, rows, as_json=as_json)


@dead.command("replay")
@click.argument("alert_ids", nargs=-1, metavar="[ALERT_ID...]")
@click.option("--receiver", help="Those of this receiver.")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@outbox_option
@config_option
def dead_replay(
    alert_ids: tuple[str, ...], receiver: str | None, outbox: str | None, config: str | None, *, everything: bool
) -> None:
    """Let alerts that were given up wait for delivery again.

    They go out in the order of their group. One that is older than what its receiver was told of the group since is
    given up again: told now, it would say what is no longer so.
    """
    import time  # noqa: PLC0415 - as above

    if not alert_ids and receiver is None and not everything:
        raise click.UsageError("say which: ALERT_ID..., --receiver NAME or --all")
    _, box = _outbox(config, outbox)
    with box:
        count = box.replay(time.time_ns() // 1_000, alert_ids=alert_ids or None, receiver=receiver)
    click.echo(f"{count:,} alert{'' if count == 1 else 's'} will be delivered again")
    missing = len(set(alert_ids)) - count
    if missing > 0:
        click.echo(f"{missing:,} of those named: no dead letter, see `andon deliver dead list`", err=True)
    if missing > 0 or not count:
        raise click.exceptions.Exit(1)


def _outbox(config: str | None, outbox: str | None) -> "tuple[DeliverySettings, Outbox]":
    """The settings and the outbox that options and settings name; it has to be there."""
    from pathlib import Path  # noqa: PLC0415 - as above

    from dataflows.settings import load_settings  # noqa: PLC0415 - as above
    from schemas.errors import StateError  # noqa: PLC0415 - as above
    from sinks.webhooks.outbox import Outbox  # noqa: PLC0415 - as above

    settings = load_settings(config, delivery__outbox=outbox).delivery
    if not Path(settings.outbox).is_file():
        raise StateError(f"there is no outbox {settings.outbox} yet: `andon deliver` makes it")
    return settings, Outbox(settings.outbox)


def _show(columns: tuple[str, ...], rows: list[tuple[object, ...]], *, as_json: bool) -> None:
    from dataflows.cli import answers  # noqa: PLC0415 - as above
    from sinks.clickhouse.store import Answer  # noqa: PLC0415 - as above

    numbers = {"waiting", "delivered", "dead", "sequence", "attempts", "http_status"}
    answer = Answer(columns, tuple("UInt64" if name in numbers else "String" for name in columns), list(rows), 0.0)
    (answers.as_json if as_json else answers.as_table)(answer)
