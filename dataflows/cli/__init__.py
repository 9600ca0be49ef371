"""The command line. Commands are loaded when they are called, so that `andon --help` answers at once."""

import os
import sys
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path

import click

#: Command → where it lives. The text is what `andon --help` says of it.
_COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "dataflows.cli.demo:demo",
        "Simulate a retailer's day, run everything over it, show what was found.",
    ),
    "replay": ("dataflows.cli.replay:replay", "Read files: canonical events, or tables through a mapping."),
    "run": ("dataflows.cli.run:run", "Read Kafka (or follow files) until stopped: the job that is left running."),
    "deliver": ("dataflows.cli.deliver:deliver", "Deliver alerts to their receivers: the process beside the job."),
    "status": ("dataflows.cli.status:status", "Show what a running job is doing."),
    "rescale": ("dataflows.cli.rescale:rescale", "Give the job in Kubernetes another number of pods."),
    "check": ("dataflows.cli.check:check", "Lint settings, process map and mappings: all problems at once."),
    "migrate": ("dataflows.cli.store:migrate", "Bring the database's schema up to date."),
    "sql": ("dataflows.cli.store:sql", "Query the views."),
    "report": ("dataflows.cli.report:report", "Write a page about a period: incidents, money at risk, latencies."),
    "dlq": ("dataflows.cli.dlq:dlq", "List and replay dead letters."),
    "evaluate": ("dataflows.cli.evaluate:evaluate", "Hold what was found against what is known to have been broken."),
    "silence": ("dataflows.cli.silence:silence", "Silence alerts for a while; list silences, end one."),
    "ack": ("dataflows.cli.silence:ack", "Say that somebody sees to an incident."),
    "unack": ("dataflows.cli.silence:unack", "Take an acknowledgement back."),
    "score": ("dataflows.cli.score:score", "Score series in files with the anomaly model, strictly online."),
    "explain": ("dataflows.cli.explain:explain", "Explain a signal: its reason, and its series as a picture."),
    "process": ("dataflows.cli.process:process", "Show the process map."),
    "schema": ("dataflows.cli.schema:schema", "Export the contract as JSON Schema and AsyncAPI."),
    "simulate": ("dataflows.cli.simulate:simulate", "Simulate a retailer with breakdowns, into files or Kafka."),
}


class _Commands(click.Group):
    """A group whose members are imported only when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="andon", prog_name="andon")
def andon() -> None:
    """See where an omnichannel retailer's work breaks down between its systems."""


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 failed, 2 wrong usage or settings."""
    _bear_any_output()
    code = run_command(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:
        code = code or 1
        if not isinstance(error, BrokenPipeError):
            click.echo(f"andon: can't write to standard output: {error}", err=True)
        # What can't be written stays buffered, and the interpreter would try, and complain, once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _bear_any_output() -> None:
    """An output that is closed takes everything, and what one's encoding lacks is written as an escape."""
    for name in ("stdout", "stderr"):
        stream: TextIOWrapper | None = getattr(sys, name)
        if stream is None:
            closed = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open as long as we run
            setattr(sys, name, closed)
        else:
            stream.reconfigure(errors="backslashreplace")


def run_command(arguments: list[str]) -> int:
    """Run a command line and give its exit code; our own errors, and the system's, are printed, not traced."""
    from schemas.errors import AndonError, SettingsError  # noqa: PLC0415 - loaded after --help has answered

    try:
        code = andon.main(arguments, prog_name="andon", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("stopped", err=True)
        return 1
    except SettingsError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        return 2
    except AndonError as error:
        click.echo(f"andon: {error}", err=True)
        return 1
    except OSError as error:  # a full disk, a file that may not be written; click itself sees to a reader that left
        click.echo(f"andon: {error}", err=True)
        return 1
    return code if isinstance(code, int) else 0
