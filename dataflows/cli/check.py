"""`andon check`: what is wrong with what a person wrote, all of it at once, before anything runs."""

import click

from dataflows.cli.store import config_option


@click.command()
@click.option("--map", "process_map", metavar="NAME|FILE", help="Process map (default: the settings').")
@click.option("--mapping", "mappings", multiple=True, metavar="NAME|FILE", help="A mapping; may be repeated.")
@click.option(
    "--table",
    "tables",
    multiple=True,
    metavar="FILE",
    help="A file that the mappings are for: its columns are checked, for an adapter its records; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="What was checked, and the problems, as one JSON object.")
@config_option
def check(
    process_map: str | None,
    mappings: tuple[str, ...],
    tables: tuple[str, ...],
    config: str | None,
    *,
    as_json: bool,
) -> None:
    """Lint settings (file and environment), process map and mappings, with the process maps that they name.

    Every problem has its file, line, key and value, and says what is accepted. Nothing is run, written or
    connected to. Exit code 0: all is well; 2: there are problems.
    """
    import msgspec  # noqa: PLC0415 - `andon --help` loads none of this

    from dataflows.checks import all_problems, check_all  # noqa: PLC0415 - as above

    if tables and not mappings:
        raise click.UsageError("--table needs a --mapping to hold its columns against")
    checked = list(check_all(config, process_map, mappings, tables))
    problems = all_problems(checked)
    if as_json:
        looked_at = [{"file": one.file, "what": one.what, "summary": one.summary} for one in checked]
        click.echo(msgspec.json.encode({"checked": looked_at, "problems": problems}).decode())
    else:
        for one in checked:
            if not one.problems:
                what = "" if one.what == one.file else f" {one.what}:"
                click.echo(f"{one.file}:{what} {one.summary}")
        for problem in problems:
            click.echo(str(problem))
        if problems:
            files = len({problem.file for problem in problems})
            many = "problem" if len(problems) == 1 else "problems"
            click.echo(f"{len(problems)} {many} in {files} {'place' if files == 1 else 'places'}", err=True)
    if problems:
        raise click.exceptions.Exit(2)
