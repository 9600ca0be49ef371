"""What keeping state costs: a job of a million keys with a recovery directory and without, in turn; and its resume.

What is lost to snapshots is what an epoch costs more, over the default epoch: `(kept - bare) / epochs / epoch`. So it
does not depend on how many epochs happened to end within the run. `whole` keeps all state at each epoch: what a byte
of state costs, which the sizing model takes. Permanent ids: `snapshot.bare`, `snapshot.whole`, `snapshot.kept`,
`snapshot.resume`. The resume is timed from the flow's start, imports aside, to the first row that it writes.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from machine import BUILD, facts, headline, print_table, say, write_document
from snapshot_run import MODES, Ran

from dataflows.settings import EngineSettings

#: Runs with a recovery directory, and what the names of their shares begin with.
KEPT = {"whole": "whole_", "kept": ""}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run in turn, print the table and what is lost."""
    parser = argparse.ArgumentParser(description="What snapshots of many keys cost, and how long a resume takes.")
    parser.add_argument("--keys", type=int, default=1_000_000, metavar="N", help="half items, half open cases (1e6)")
    parser.add_argument("--events", type=int, default=1_200_000, metavar="N", help="timed messages (1200000)")
    parser.add_argument("--repeat", type=int, default=2, metavar="N", help="turns (2)")
    parser.add_argument("--json", type=Path, default=BUILD / "snapshot.json", metavar="FILE")
    asked = parser.parse_args(arguments)
    if asked.keys < 40_000:
        parser.error("--keys must be at least 40000: in each minute 10000 different items are drawn")
    machine = facts()
    print(headline(machine))
    runs: dict[str, list[Ran]] = {mode: [] for mode in MODES}
    for turn in range(asked.repeat):
        with tempfile.TemporaryDirectory(prefix="andon-snapshot-") as folder:
            for mode in MODES:
                say(f"turn {turn + 1} of {asked.repeat}: snapshot.{mode}")
                runs[mode].append(_run(folder, asked.keys, asked.events, mode))
    say("")
    epoch_s = EngineSettings().epoch.seconds
    print_table(("benchmark", "events/s", "cpu s", "epochs", "snapshot s", "MB", "peak MB", ""), _lines(runs))
    found = {"resume_s": [one.first_row_s for one in runs["resume"]]}
    print()
    for mode, prefix in KEPT.items():
        lost = [_lost(bare, kept, epoch_s) for bare, kept in zip(runs["bare"], runs[mode], strict=True)]
        found[f"{prefix}lost_share"] = [share for share, _ in lost]
        found[f"{prefix}lost_cpu_share"] = [share for _, share in lost]
        print(f"snapshot.{mode}: of throughput lost at an epoch of {epoch_s:g} s, by turns (wall; processor): ", end="")
        print("; ".join(f"{wall:.1%}, {cpu:.1%}" for wall, cpu in lost))
    write_document(asked.json, machine, {"keys": asked.keys, "runs": msgspec.to_builtins(runs), **found})
    return 0


def _lost(bare: Ran, kept: Ran, epoch_s: float) -> tuple[float, float]:
    """The share of wall time, and of the processor's, that an epoch's snapshot takes.

    Raises:
        ValueError: no epoch ended while the timer ran.
    """
    if not kept.epochs:
        raise ValueError("no epoch ended while the timer ran: use more --events")
    return (
        (kept.seconds - bare.seconds) / kept.epochs / epoch_s,
        (kept.cpu_s - bare.cpu_s) / kept.epochs / epoch_s,
    )


def _lines(runs: dict[str, list[Ran]]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for mode, some in runs.items():
        resumed = mode == "resume"
        rate = statistics.median(one.events / one.seconds for one in some)
        first_row_s = statistics.median(one.first_row_s for one in some)
        lines.append(
            (
                f"snapshot.{mode}",
                "" if resumed else f"{rate:,.0f}",
                "" if resumed else f"{statistics.median(one.cpu_s for one in some):.1f}",
                str(some[-1].epochs) if mode in KEPT else "",
                f"{some[-1].snapshot_s / max(1, some[-1].epochs):.2f}" if mode in KEPT else "",
                f"{some[-1].snapshot_bytes / 1e6:,.0f}" if mode in KEPT else "",
                f"{statistics.median(one.peak_mb for one in some):,.0f}",
                f"{first_row_s:.1f} s to the first row" if resumed else "",
            )
        )
    return lines


def _run(folder: str, keys: int, events: int, mode: str) -> Ran:
    script = Path(__file__).with_name("snapshot_run.py")
    command = (sys.executable, str(script), folder, str(keys), str(events), mode)
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Ran)


if __name__ == "__main__":
    sys.exit(main())
