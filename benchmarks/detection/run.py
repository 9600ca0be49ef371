"""`make bench-detection`: every breakdown with several seeds, and days on which nothing is broken.

Each run is a simulated day of a 40-node retailer (of the simulator, or with `--other` of the second generator, which
was written from the contract alone) through `andon evaluate`, in a process of its own. The clean days come in one log,
so that what is usual is learnt as it would be. On the days of `--pairs` two things break, which must stay two
incidents. Prints a table by kind; `--json FILE` keeps everything, `--write` puts the table and the plots into
docs/detection.md (`--again FILE --write` does so with what an earlier run kept).
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from machine import facts
from report import PAIRS, by_kind, put_into_docs, show
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

ROOT = Path(__file__).resolve().parent.parent.parent
#: What there is to tell again.
_KEPT = {"generator", "kinds", "machine", "runs", "seconds", "workers"}


class Run:
    """One log to be made, and what came of it."""

    def __init__(self, name: str, kind: str, seed: int, make: list[str]) -> None:
        self.name, self.kind, self.seed, self.make = name, kind, seed, make
        self.result: dict[str, Any] = {}
        self.seconds = 0.0

    def execute(self) -> None:
        """Make the log, evaluate it, throw it away."""
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="andon-detection-") as place:
            self._call([*self.make, "--out", place])
            logs = sorted(str(path) for path in Path(place).glob("*.jsonl") if path.name != "truth.jsonl")
            said = self._call([_andon(), "evaluate", "--truth", f"{place}/truth.jsonl", "--json", *logs])
            truths = (Path(place) / "truth.jsonl").read_text(encoding="utf-8").splitlines()
        truth = [
            {name: one[name] for name in ("breakdown_id", "kind", "begin", "end")} for one in map(json.loads, truths)
        ]
        self.seconds = time.perf_counter() - began
        self.result = {**json.loads(said), "truth": truth}

    def _call(self, command: list[str]) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(command)}\n{done.stderr[-2000:]}")
        return done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all that was asked for; 0 whatever the figures are."""
    asked = _asked(arguments)
    if asked.again:
        return _told(asked, asked.again, Console())
    began = time.perf_counter()
    runs = _other_runs(asked) if asked.other else _own_runs(asked)
    console = Console()
    waiting = [*sorted(runs, key=lambda run: (not run.name.startswith("clean"), run.seed))]
    try:
        with Progress(
            *Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        ) as bar:
            task = bar.add_task("runs", total=len(runs))
            with ThreadPoolExecutor(asked.workers) as pool:
                try:
                    for done in as_completed([pool.submit(run.execute) for run in waiting]):
                        done.result()
                        bar.advance(task)
                        _keep(asked, runs, time.perf_counter() - began)
                finally:
                    pool.shutdown(wait=False, cancel_futures=True)
    except KeyboardInterrupt:
        console.print("interrupted: of what is done")
    return _told(asked, _keep(asked, runs, time.perf_counter() - began), console)


def _kept(file: str) -> dict[str, Any]:
    """What an earlier run kept in `file`."""
    try:
        kept = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{file} can't be read as what --json keeps: {error}") from error
    missing = sorted(_KEPT - set(kept if isinstance(kept, dict) else ()))
    if missing:
        words = f"{file} has no {' and no '.join(missing)}: not what this version keeps; run it anew"
        raise argparse.ArgumentTypeError(words)
    return kept


def _told(asked: argparse.Namespace, report: dict[str, Any], console: Console) -> int:
    show(report, console)
    if asked.write:
        put_into_docs(report, ROOT / "docs")
    return 0


def _keep(asked: argparse.Namespace, all_runs: Sequence[Run], seconds: float) -> dict[str, Any]:
    """The report on what is done, in `--json` as well: it can be looked at while others go on."""
    runs = [run for run in all_runs if run.result]
    report: dict[str, Any] = {
        "generator": "other" if asked.other else "own",
        "machine": facts(),
        "workers": asked.workers,
        "seconds": round(seconds),
        "runs": [
            {"name": run.name, "kind": run.kind, "seed": run.seed, "seconds": round(run.seconds, 1), **run.result}
            for run in runs
        ],
    }
    report["kinds"] = by_kind(report["runs"])
    if asked.json:
        Path(asked.json).parent.mkdir(parents=True, exist_ok=True)
        Path(asked.json).write_text(json.dumps(report, indent=1), encoding="utf-8")
    return report


def _own_runs(asked: argparse.Namespace) -> list[Run]:
    kinds = asked.kind or _lines(
        [sys.executable, "-c", "from scenarios.breakdowns.registry import KINDS\nprint(*KINDS, sep=chr(10))"]
    )
    simulate = [_andon(), "simulate", "--preset", "forty"]
    runs = [
        Run(f"{kind} {seed}", kind, seed, [*simulate, "--seed", str(seed), "--breakdown", kind])
        for kind in kinds
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds)
    ]
    for first, second in _pairs(kinds, asked.pairs, asked.first_seed):
        both = ["--breakdown", first, "--breakdown", second]
        runs.append(Run(f"{first} + {second}", PAIRS, asked.first_seed, [*simulate, "--seed", "77", *both]))
    if asked.clean_days:
        hours = str(24 * asked.clean_days)
        runs.append(Run("clean", "none", 1, [*simulate, "--seed", "1001", "--hours", hours]))
    runs += [Run(name, "none", 2, [*simulate, "--seed", "1002", "--hazard", name]) for name in asked.hazard]
    if asked.chain_days:
        chain = [_andon(), "simulate", "--preset", "chain", "--seed", "1003", "--hours", str(24 * asked.chain_days)]
        runs.append(Run("clean chain", "none", 3, chain))
    return runs


def _pairs(kinds: Sequence[str], count: int, seed: int) -> list[tuple[str, str]]:
    """So many pairs of different kinds, drawn without a repeat; every kind is drawn before one is drawn again."""
    drawn, bag = list[tuple[str, str]](), list[str]()
    chance = random.Random(seed)
    while len(drawn) < min(count, len(kinds) * (len(kinds) - 1) // 2):
        if len(bag) < 2:
            bag = chance.sample(list(kinds), len(kinds))
        pair = bag.pop(), bag.pop()
        if pair not in drawn and pair[::-1] not in drawn:
            drawn.append(pair)
    return drawn


def _other_runs(asked: argparse.Namespace) -> list[Run]:
    generate = [sys.executable, str(Path(__file__).parent / "other" / "generate.py")]
    kinds = asked.kind or [kind for kind in _lines([*generate, "--list"]) if not kind.startswith("none")]
    runs = [
        Run(f"{kind} {seed}", kind, seed, [*generate, "--seed", str(seed), "--kind", kind])
        for kind in kinds
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds)
    ]
    if asked.clean_days:
        days = ["--seed", "1001", "--kind", "none", "--days", str(asked.clean_days)]
        runs.append(Run("clean", "none", 1, [*generate, *days]))
    clean = [*generate, "--seed", "1002", "--kind", "none"]
    runs += [Run(name, "none", 2, [*clean, "--hazard", name]) for name in asked.hazard]
    return runs


def _lines(command: list[str]) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _andon() -> str:
    return str(Path(sys.executable).parent / "andon")


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10, metavar="N", help="days of each breakdown (10)")
    parser.add_argument("--first-seed", type=int, default=1, metavar="N")
    parser.add_argument("--kind", action="append", metavar="KIND", help="only these; may be repeated")
    parser.add_argument("--clean-days", type=int, default=14, metavar="N", help="in one log (14)")
    parser.add_argument("--chain-days", type=int, default=3, metavar="N", help="clean days of 600 stores (3)")
    parser.add_argument("--pairs", type=int, default=0, metavar="N", help="days with two kinds at once (0)")
    parser.add_argument(
        "--hazard", action="append", default=[], metavar="KIND", help="a day with this; may be repeated"
    )
    parser.add_argument("--other", action="store_true", help="the second generator")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--again", type=_kept, metavar="FILE", help="run nothing: tell what an earlier --json kept")
    parser.add_argument("--write", action="store_true", help="into docs/detection.md and docs/detection/*.svg")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
