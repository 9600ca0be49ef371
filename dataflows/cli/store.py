"""Commands over the store: `andon sql`, `andon migrate`, and the `andon dlq` group."""

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinks.clickhouse.dsn import Target
    from sinks.clickhouse.store import Store

_NAME = "clickhouse"

clickhouse_option = click.option(
    "--clickhouse", _NAME, metavar="DSN", help="Database: chdb:///PATH or http(s)://USER@HOST:PORT/DATABASE."
)
config_option = click.option("--config", metavar="FILE", help="Settings file (default: andon.toml).")


def store_from(config: str | None, clickhouse: str | None, *, readonly: bool = False) -> "Store":
    """Open the store that options and settings name; a context manager.

    Raises:
        SettingsError: settings or DSN can't be used.
        StoreError: the store can't be reached or refuses.
    """
    from sinks.clickhouse.dsn import read_password  # noqa: PLC0415 - `andon --help` loads none of this
    from sinks.clickhouse.store import open_store  # noqa: PLC0415 - as above

    target, password_file = _target_from(config, clickhouse)
    return open_store(target, password=read_password(password_file), readonly=readonly)


def _target_from(config: str | None, clickhouse: str | None) -> "tuple[Target, str | None]":
    """The database that options and settings name, and the file of its password."""
    from dataflows.settings import load_settings  # noqa: PLC0415 - as in store_from
    from sinks.clickhouse.dsn import parse_dsn  # noqa: PLC0415 - as in store_from

    overrides: dict[str, Any] = {} if clickhouse is None else {"clickhouse": clickhouse}
    settings = load_settings(config, **overrides)
    return parse_dsn(settings.clickhouse.dsn), settings.clickhouse.password_file


@click.command()
@click.argument("query")
@click.option("--json", "form", flag_value="json", help="One JSON array of objects.")
@click.option("--csv", "form", flag_value="csv", help="CSV with a header line.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000_000),
    default=1_000,
    show_default=True,
    help="Rows the table shows at most.",
)
@clickhouse_option
@config_option
def sql(query: str, form: str | None, limit: int, clickhouse: str | None, config: str | None) -> None:
    """Run QUERY against Andon's views, read-only; `-` reads it from standard input.

    Over an embedded database (chdb://) a query can read every file that you can, and reach every address: run none that
    you would not run as a program.

    Names without a database mean Andon's: incidents, incident_orders, incident_signals, signals, handoffs,
    handoff_latency, stock_deltas, alerts, alert_decisions, alert_deliveries, silences, series_scores, model_health,
    promotion_readiness, dead_letters, late_events, duplicate_events, pipeline_health. `DESCRIBE handoffs` explains the
    columns of one.
    """
    from dataflows.cli import answers  # noqa: PLC0415 - as in store_from

    try:
        text = answers.statement(sys.stdin.read() if query == "-" else query)
        text.encode()
    except UnicodeError:
        raise click.UsageError("the query is not UTF-8 text") from None
    with store_from(config, clickhouse, readonly=True) as store:
        answers.check_that_it_reads(store.written_out(text))
        with _ended_by_ctrl_c(store):
            answer = store.query(text, limit=None if form else limit, binary=True)
    if form == "json":
        answers.as_json(answer)
    elif form == "csv":
        answers.as_csv(answer)
    else:
        answers.as_table(answer)
    click.echo(answers.footer(answer), err=True)


@contextmanager
def _ended_by_ctrl_c(store: "Store") -> "Iterator[None]":
    """Ctrl-C ends the process at once, for a query that only reads and of which nothing was printed yet.

    The interpreter would raise its exception when the embedded engine is through with the query.
    """
    from sinks.clickhouse.dsn import Embedded  # noqa: PLC0415 - as in store_from

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else it is ignored, or seen to elsewhere
    if not ours or not isinstance(store.target, Embedded):
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@click.command()
@click.option(
    "--status",
    is_flag=True,
    help="Only say what the database has and lacks; exit code 1 when it lacks something.",
)
@click.option("--roles", is_flag=True, help="The server's roles instead of the schema; for an administrator.")
@click.option("--print", "print_", is_flag=True, help="With --roles: only print the SQL, to run or keep elsewhere.")
@clickhouse_option
@config_option
def migrate(clickhouse: str | None, config: str | None, *, status: bool, roles: bool, print_: bool) -> None:
    """Bring the database's schema up to date, making the database where there is none."""
    from sinks.clickhouse import migrate as migrations  # noqa: PLC0415 - as in store_from
    from sinks.clickhouse.roles import ROLES, as_sql, migrate_roles, missing_roles  # noqa: PLC0415 - as in store_from

    if print_ and (status or not roles):
        raise click.UsageError("--print goes with --roles, and not with --status")
    if print_:
        click.echo(as_sql(_target_from(config, clickhouse)[0].database), nl=False)
        return
    series = ROLES if roles else migrations.SCHEMA
    with store_from(config, clickhouse, readonly=status and not roles) as store:
        if not status:
            done = migrate_roles(store) if roles else migrations.migrate(store)
            for migration in done:
                click.echo(f"applied {migration}")
            what = "roles of " if roles else ""
            click.echo(f"{what}{store.target}: {'up to date' if done else 'was up to date, nothing to do'}")
            return
        absent = missing_roles(store) if roles else []
        missing = migrations.pending(store, series=series)
        for entry in migrations.applied(store, series):
            click.echo(f"applied {entry.number:04}_{entry.name}  {entry.applied_at:%Y-%m-%dT%H:%M:%SZ}")
        for migration in missing:
            click.echo(f"missing {migration}")
        for role in absent:
            click.echo(f"missing role {role}")
    if missing or absent:
        raise click.exceptions.Exit(1)


@click.group()
def dlq() -> None:
    """Dead letters: what could not be used, with its raw bytes and the reason."""


@dlq.command("list")
@click.option("--reason", type=click.Choice(["transport", "schema", "rule", "downstream"]), help="Only this reason.")
@click.option("--topic", help="Only this topic (for files: the file's name).")
@click.option("--since", metavar="TIME", help="Only what arrived at or after this RFC 3339 time or date.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000_000),
    default=50,
    show_default=True,
    help="Newest first, at most this many.",
)
@click.option("--json", "json_", is_flag=True, help="One JSON array of objects; raw is base64.")
@clickhouse_option
@config_option
def dlq_list(
    reason: str | None,
    topic: str | None,
    since: str | None,
    limit: int,
    clickhouse: str | None,
    config: str | None,
    *,
    json_: bool,
) -> None:
    """List dead letters, newest first."""
    from dataflows.cli.answers import as_json, as_table, footer  # noqa: PLC0415 - as in store_from
    from sinks.clickhouse.migrate import require_current  # noqa: PLC0415 - as in store_from

    since_us = instant_us(since)
    terms = {
        "reason = {reason:String}": reason,
        "topic = {topic:String}": topic,
        "seen_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')": since_us,
    }
    chosen = " AND ".join(term for term, value in terms.items() if value is not None) or "1"
    columns = "seen_at, topic, partition, offset, reason, path, detail"
    columns += ", base64Encode(raw) AS raw" if json_ else ", substring(raw, 1, 200) AS raw"
    parameters = {"reason": reason or "", "topic": topic or "", "since": since_us or 0}
    order = "seen_at DESC, topic, partition, offset DESC"
    query = f"SELECT {columns} FROM dead_letters WHERE {chosen} ORDER BY {order}"  # noqa: S608 - made of constants
    with store_from(config, clickhouse, readonly=True) as store:
        require_current(store)
        answer = store.query(f"{query} LIMIT {limit + 1}", parameters, limit=limit, binary=True)
    if json_:
        as_json(answer)
    else:
        as_table(answer)
    click.echo(footer(answer, "dead letter"), err=True)


def instant_us(text: str | None) -> int | None:
    """The time of `--since`; None where it was left out."""
    from schemas.durations import Instant  # noqa: PLC0415 - as in store_from

    if text is None:
        return None
    try:
        return int(Instant.parse(text))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from None
