"""`andon dlq`: list dead letters, and replay them once what was wrong is mended."""

import sys
from pathlib import Path

import click

from dataflows.cli.store import clickhouse_option, config_option, dlq


@dlq.command("replay")
@click.option("--topic", help="Only of this topic (a file's name).")
@click.option("--reason", type=click.Choice(["transport", "schema", "rule", "downstream"]), help="Only of this class.")
@click.option("--map", "process_map", metavar="NAME|FILE", help="Process map (default: the settings').")
@click.option("--export", metavar="FILE", help="Write the raw messages to FILE, a line each, and do nothing else.")
@click.option("--max-past", metavar="DURATION", help="Believe event times up to this much before their arrival.")
@click.option("--json", "as_json", is_flag=True, help="The outcome as JSON.")
@clickhouse_option
@config_option
def replay(
    topic: str | None,
    reason: str | None,
    process_map: str | None,
    export: str | None,
    max_past: str | None,
    clickhouse: str | None,
    config: str | None,
    *,
    as_json: bool,
) -> None:
    """Read dead letters again, as `andon replay` would, and write what they give.

    Their raw messages are read as canonical events. One that is still not usable is a dead letter again, under the
    topic `dlq-replay.jsonl`; the original stays on record. Rows of a table that a mapping refused are JSON objects
    of the row's cells: --export them, mend them, and replay the file through the mapping. Records that an adapter
    refused (webhooks, EPCIS) are exported as they were received: replay the file with the same --mapping.
    """
    import msgspec  # noqa: PLC0415 - `andon --help` loads none of this

    from dataflows.cli.store import store_from  # noqa: PLC0415 - as above
    from dataflows.dead_letters import export_raw, replay_dead_letters  # noqa: PLC0415 - as above
    from dataflows.job import process_map_of  # noqa: PLC0415 - as above
    from dataflows.settings import load_settings  # noqa: PLC0415 - as above
    from sinks.clickhouse.migrate import require_current  # noqa: PLC0415 - as above

    settings = load_settings(config, clickhouse=clickhouse, time__max_past=max_past)
    with store_from(config, clickhouse, readonly=export is not None) as store:
        require_current(store)
        if export is not None:
            count = export_raw(store, Path(export), topic=topic, reason=reason)
            click.echo(f"{count:,} raw messages written to {export}")
            return
        outcome = replay_dead_letters(
            store, settings, process_map_of(settings, None, process_map), topic=topic, reason=reason
        )
    if as_json:
        sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
    else:
        click.echo(
            f"{outcome.messages:,} dead letters read again: {outcome.events:,} are events now, "
            f"{outcome.dead_letters:,} are still not usable, {outcome.duplicates:,} had come otherwise"
        )


__all__ = ["dlq"]
