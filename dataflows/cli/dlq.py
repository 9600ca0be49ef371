"""`andon dlq`: list dead letters, and replay them once what was wrong is mended."""

import sys
from pathlib import Path

import click

from dataflows.cli.store import clickhouse_option, config_option, dlq, instant_us


@dlq.command("replay")
@click.option("--topic", help="Only of this topic (a file's name).")
@click.option("--reason", type=click.Choice(["transport", "schema", "rule", "downstream"]), help="Only of this class.")
@click.option("--since", metavar="TIME", help="Only what arrived at or after this RFC 3339 time or date.")
@click.option("--map", "process_map", metavar="NAME|FILE", help="Process map (default: the settings').")
@click.option("--export", metavar="FILE", help="Write the raw messages to FILE, a line each, and do nothing else.")
@click.option("--max-past", metavar="DURATION", help="Believe event times up to this much before their arrival.")
@click.option("--json", "as_json", is_flag=True, help="The outcome as JSON.")
@clickhouse_option
@config_option
def replay(
    topic: str | None,
    reason: str | None,
    since: str | None,
    process_map: str | None,
    export: str | None,
    max_past: str | None,
    clickhouse: str | None,
    config: str | None,
    *,
    as_json: bool,
) -> None:
    """Bring dead letters back: --export them, to be sent or read again; or read them here, where nothing else was.

    Without --export their raw messages are read as canonical events, alone, as `andon replay` would. A database that
    has events of other messages refuses that, since they are judged together or wrongly: send what was exported to
    its topic again, or replay it together with the other files. One that is still not usable is a dead letter again,
    under the topic `dlq-replay.jsonl`; the original stays on record.

    Rows of a table that a mapping refused are exported as JSON objects of the row's cells, to look at: mend the table
    and replay it. Records that an adapter refused (webhooks, EPCIS) are exported as they were received: replay the
    file together with the others, with the same --mapping. Rows that ClickHouse refused (downstream) are no messages;
    they are exported only where --reason asks for them.
    """
    import msgspec  # noqa: PLC0415 - `andon --help` loads none of this

    from dataflows.cli.store import store_from  # noqa: PLC0415 - as above
    from dataflows.dead_letters import Chosen, export_raw, replay_dead_letters  # noqa: PLC0415 - as above
    from dataflows.job import process_map_of  # noqa: PLC0415 - as above
    from dataflows.settings import load_settings  # noqa: PLC0415 - as above
    from sinks.clickhouse.migrate import require_current  # noqa: PLC0415 - as above

    if reason == "downstream" and export is None:
        words = "these are rows that ClickHouse refused, no messages; what they were made of has to be read again"
        raise click.BadParameter(words, param_hint="--reason")
    chosen = Chosen(topic=topic or "", reason=reason or "", since_us=instant_us(since) or 0)
    settings = load_settings(config, clickhouse=clickhouse, time__max_past=max_past)
    with store_from(config, clickhouse, readonly=export is not None) as store:
        require_current(store)
        if export is not None:
            count = export_raw(store, Path(export), chosen)
            click.echo(f"{count:,} raw messages written to {export}")
            return
        outcome = replay_dead_letters(store, settings, process_map_of(settings, None, process_map), chosen)
    if as_json:
        sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
    else:
        click.echo(
            f"{outcome.messages:,} dead letters read again: {outcome.events:,} are events now, "
            f"{outcome.dead_letters:,} are still not usable, {outcome.duplicates:,} had come otherwise"
        )


__all__ = ["dlq"]
