"""`andon rescale`: another number of pods for the job in Kubernetes, or all of them begun again together."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from dataflows.cli.numbers import FiniteRange

if TYPE_CHECKING:
    from dataflows.rescale_cluster import Kubectl
    from dataflows.rescale_plan import Check, Step


@click.command()
@click.option("--to", type=click.IntRange(1, 1024), required=True, metavar="N", help="So many pods.")
@click.option("--apply", "applied", is_flag=True, help="Do the steps; without it they are printed.")
@click.option("--namespace", metavar="NAME", help="The job's (default: that of kubectl's context).")
@click.option("--context", metavar="NAME", help="Of kubectl's configuration (default: the current one).")
@click.option("--statefulset", default="andon", show_default=True, metavar="NAME", help="The job.")
@click.option("--kubectl", "program", default="kubectl", show_default=True, metavar="PATH", help="How to run kubectl.")
@click.option(
    "--within",
    type=FiniteRange(1, 604_800),
    default=1800.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a step may wait.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def rescale(
    to: int,
    *,
    applied: bool,
    namespace: str | None,
    context: str | None,
    statefulset: str,
    program: str,
    within: float,
    as_json: bool,
) -> None:
    """Give the job in Kubernetes N pods: stop it at a snapshot, deal its state to N volumes, start it again.

    Looks at the job first, and changes nothing: pods ready, processes healthy, the state whole, lanes and groups
    enough. Then it prints the steps, or does them (--apply) and looks at what came of them: all pods ready, gone on
    from the state that was kept, the lag falling. Each step can be repeated; after a failure the same command goes on,
    and `--to` with the number before goes back. With the number that there is, all pods begin again together, from the
    StatefulSet as it stands: that is how settings and versions are changed.

    Exit code 0: done, or can be done; 1: it can't, or a step has failed, and the words say how things are.
    """
    from dataflows.rescale_cluster import Kubectl, read_job  # noqa: PLC0415 - `andon --help` loads none of this
    from dataflows.rescale_plan import overlay_words, tidying  # noqa: PLC0415 - as above
    from dataflows.rescale_run import StepFailed, carry_out, look, plan  # noqa: PLC0415 - as above

    kubectl = Kubectl(program, context, namespace)
    job = read_job(kubectl, statefulset)
    seen = look(kubectl, job, to)
    planned = plan(kubectl, job, to) if seen.good else []
    report = _Report(kubectl, quiet=as_json)
    for check in seen.checks:
        report.looked(check)
    after: Sequence[Check] = ()
    failed = "" if seen.good else "the checks before the rescale"
    if seen.good and not applied:
        report.print_plan(planned, tidying(job), overlay_words(job, to))
    elif seen.good:
        try:
            after = carry_out(kubectl, job, to, seen, planned, within, report)
        except StepFailed as error:
            failed = str(error)
        else:
            report.say(f"\nThe job runs with {to} pods. {overlay_words(job, to)}")
    if as_json:
        report.print_json(job.begun_from or job.replicas, to, seen.checks, planned, after, failed, applied=applied)
    elif failed and seen.good:
        click.echo(f"\nandon: {failed}", err=True)
    elif failed:
        click.echo("\nandon: not rescaled, and nothing changed: see what is marked above", err=True)
    if failed:
        raise click.exceptions.Exit(1)


class _Report:
    """What a person sees; nothing where JSON is asked for."""

    def __init__(self, kubectl: "Kubectl", *, quiet: bool) -> None:
        self._kubectl, self._quiet = kubectl, quiet

    def say(self, words: str) -> None:
        """Print, for a person."""
        if not self._quiet:
            click.echo(words)

    def looked(self, check: "Check") -> None:
        """One thing that was looked at."""
        self.say(f"  {'ok ' if check.ok else 'NOT'}  {check.name}: {check.words}")

    def began(self, step: "Step") -> None:
        """A step begins: its commands, as they are run."""
        self.say(f"\n{step.title}")
        for command in step.commands:
            self.say(f"  {shlex.join(self._kubectl.line(*command.arguments))}")

    def waits(self, words: str) -> None:
        """It waits, and this is how it stands."""
        self.say(f"  … {words}")

    def print_plan(self, steps: "Sequence[Step]", last: "Step", written_down: str) -> None:
        """The steps as a person can paste them into a shell."""
        for number, step in enumerate(steps, start=1):
            self._print_step(f"{number}. {step.title}", step)
        self._print_step(f"{len(steps) + 1}. When all pods are ready and the lag falls: {last.title.lower()}", last)
        self.say("\n" + "\n".join(f"# {line}" for line in written_down.splitlines()))
        self.say("# `--apply` does all of it, and looks at the job after the last step.")

    def _print_step(self, title: str, step: "Step") -> None:
        from dataflows.rescale_run import shown_command  # noqa: PLC0415 - as in the command

        self.say(f"\n# {title}")
        for command in step.commands:
            self.say(shown_command(self._kubectl, command.arguments, command.given))
        if step.wait:
            self.say(shown_command(self._kubectl, step.wait))

    def print_json(
        self,
        before: int,
        to: int,
        checks: "Sequence[Check]",
        steps: "Sequence[Step]",
        after: "Sequence[Check]",
        failed: str,
        *,
        applied: bool,
    ) -> None:
        """All of it for a machine."""
        import msgspec  # noqa: PLC0415 - as in the command

        told = {
            "from": before,
            "to": to,
            "before": checks,
            "steps": [
                {
                    "title": step.title,
                    "commands": [
                        {"command": self._kubectl.line(*one.arguments), "given": one.given} for one in step.commands
                    ],
                    "wait": self._kubectl.line(*step.wait) if step.wait else [],
                }
                for step in steps
            ],
            "applied": applied and not failed,
            "after": after,
            "failed": failed,
        }
        click.echo(msgspec.json.encode(told).decode())
