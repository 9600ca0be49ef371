"""`andon report`: what happened in a period, as one HTML page."""

from pathlib import Path

import click

from dataflows.cli.store import clickhouse_option, config_option, store_from


@click.command()
@click.option("--from", "from_", metavar="TIME", help="Begin, RFC 3339 or a date (default: a day before the end).")
@click.option("--to", "to", metavar="TIME", help="End, exclusive (default: where the last work ends).")
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    default="andon-report.html",
    show_default=True,
    help="The page; replaced where it is there.",
)
@clickhouse_option
@config_option
def report(from_: str | None, to: str | None, out: str, clickhouse: str | None, config: str | None) -> None:
    """Write a page about a period: incidents, orders and money at risk, latency of handoffs by node and time.

    The page is one file that loads nothing: mail it, print it, put it anywhere.
    """
    from dataflows.cli.answers import into_file  # noqa: PLC0415 - `andon --help` loads none of this
    from dataflows.cli.progress import share_of  # noqa: PLC0415 - as above
    from dataflows.reporting.page import page  # noqa: PLC0415 - as above
    from dataflows.reporting.period import read, work_end  # noqa: PLC0415 - as above
    from schemas.durations import DAY_US, people_time  # noqa: PLC0415 - as above
    from schemas.errors import StoreRefused  # noqa: PLC0415 - as above
    from sinks.clickhouse.migrate import require_current  # noqa: PLC0415 - as above

    begin_us, end_us = _instant_us(from_, "--from"), _instant_us(to, "--to")
    target = Path(out)
    if not target.parent.is_dir():
        raise click.BadParameter(f"there is no directory {target.parent}", param_hint="--out")
    with store_from(config, clickhouse, readonly=True) as store:
        require_current(store)
        if end_us is None:
            end_us = work_end(store)
            if end_us is None:
                raise StoreRefused(f"{store.target} is empty: `andon replay` or `andon run` fills it")
        if begin_us is None:
            begin_us = end_us - DAY_US
        if begin_us >= end_us:
            words = f"{people_time(begin_us)} is not before the end, {people_time(end_us)}"
            raise click.BadParameter(words, param_hint="--from")
        with share_of("asking the database") as told:
            period = read(store, begin_us, end_us, told)
    into_file(target, page(period))
    found = period.totals
    span_words = f"{people_time(begin_us)} to {people_time(end_us)}"
    click.echo(f"{out}: {span_words}, {found.incidents:,} incidents, {found.orders:,} orders touched")


def _instant_us(given: str | None, option: str) -> int | None:
    from schemas.durations import Instant  # noqa: PLC0415 - as above

    if given is None:
        return None
    try:
        return int(Instant.parse(given))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None
