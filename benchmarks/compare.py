"""`make bench-compare BASE=REF`: did a commit make a hot path slower than the noise of this very run allows?

The tree as it stands (with what is not committed) is held against a worktree of BASE. A turn measures base, head and
base again, each in a process of its own; what the base differs by from itself is the noise (compare_verdict.py). What
has changed by less is `same`. The exit code is 1 when a path is slower.

Both trees are measured by the benchmarks of the head, so that both do the same work. Where those don't run on the base
(it lacks what they import), each tree is measured by its own, and what only one of them has, or what is not the same
work in both, is skipped and said.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from compare_verdict import ALARMS, LEAST, MIN_TURNS, Turn, Verdict, judge
from machine import BUILD, facts, headline, print_table, say, write_document

ROOT = Path(__file__).parents[1]
#: What is compared unless other ids are asked for.
HOT = (
    *("w1.decode", "w1.lane", "w1.route", "w1.dedup", "w1.handoffs", "w1.handoff_windows", "w1.stock"),
    *("w1.snapshot_cases", "w1.snapshot_items", "w1.replay.counting"),
    *("day.handoffs", "day.handoff_windows", "day.stock", "day.replay.counting"),
)
#: The processor's stands still while others run, so it goes first.
CLOCKS = ("cpu", "wall")
_SMOKE_EVENTS = 2_000
_TIMEOUT_S = 1_800

#: A benchmark as `bench.py --json` writes it.
Measured: TypeAlias = Mapping[str, Any]


class CompareError(Exception):
    """Nothing can be compared; the text says why."""


class Tree(msgspec.Struct, frozen=True):
    """A source tree, the benchmarks that measure it, and where their inputs are kept."""

    name: str
    root: Path
    harness: Path
    inputs: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print; 0 nothing slower, 1 something is, 2 nothing could be compared."""
    asked = _asked(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="andon-compare-") as made:
            return _compare(asked, Path(made))
    except CompareError as error:
        print(error, file=sys.stderr)
        return 2


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Is a hot path slower than at another commit, beyond the noise?")
    parser.add_argument("base", metavar="REF", help="commit, branch or tag to compare with")
    parser.add_argument("--pairs", type=int, default=7, metavar="N", help="turns of base, head, base (7)")
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="as bench.py; repeatable")
    parser.add_argument("--events", type=int, default=60_000, metavar="N", help="messages of W1 (60000)")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="repetitions a process; the best counts (3)")
    parser.add_argument("--json", type=Path, default=BUILD / "compare.json", metavar="FILE")
    asked = parser.parse_args(arguments)
    if asked.pairs < MIN_TURNS:
        parser.error(f"--pairs must be at least {MIN_TURNS}")
    return asked


def _compare(asked: argparse.Namespace, folder: Path) -> int:
    ids = asked.only or list(HOT)
    with _worktree(asked.base, folder / "base") as base_root:
        head = Tree("head", ROOT, ROOT, folder / "head-inputs")
        base = Tree("base", base_root, ROOT, folder / "base-inputs")
        say("does everything run? …")
        now = _run(head, ids, _SMOKE_EVENTS, 1)
        try:
            then = _run(base, ids, _SMOKE_EVENTS, 1)
            by = "both by the benchmarks of the head"
        except CompareError as error:
            base = msgspec.structs.replace(base, harness=base_root)
            then = _run(base, ids, _SMOKE_EVENTS, 1)
            by = f"each by its own benchmarks, since those of the head don't run on the base ({_last_line(error)})"
        chosen, skipped = comparable(list(then.values()), list(now.values()))
        if not chosen:
            raise CompareError("nothing to compare: " + "; ".join(f"{one}: {why}" for one, why in skipped.items()))
        turns: dict[str, list[Turn]] = {one: [] for one in chosen}
        for number in range(asked.pairs):
            say(f"turn {number + 1} of {asked.pairs}")
            taken = [
                _seconds(_run(tree, list(chosen), asked.events, asked.repeat), chosen) for tree in (base, head, base)
            ]
            for one, kept in turns.items():
                kept.append(Turn(*(seconds[one] for seconds in taken)))
        say("")
    verdicts = {one: judge(kept, len(turns)) for one, kept in turns.items()}
    machine = facts()
    _print(asked, machine, by, turns, verdicts, skipped)
    write_document(
        asked.json,
        machine,
        {
            "base": asked.base,
            "measured": by,
            "events": asked.events,
            "paths": {
                one: {"turns": msgspec.to_builtins(kept), **msgspec.to_builtins(verdicts[one])}
                for one, kept in turns.items()
            },
            "skipped": skipped,
        },
    )
    return 1 if any(verdict.word == "slower" for verdict in verdicts.values()) else 0


@contextmanager
def _worktree(ref: str, path: Path) -> Iterator[Path]:
    git = ("git", "-C", str(ROOT), "worktree")
    made = subprocess.run((*git, "add", "--detach", str(path), ref), capture_output=True, text=True, check=False)
    if made.returncode:
        raise CompareError(f"no worktree of {ref}: {made.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run((*git, "remove", "--force", str(path)), capture_output=True, check=True)


def _run(tree: Tree, ids: Sequence[str], events: int, repeat: int) -> dict[str, Measured]:
    """Run benchmarks over a tree, in a process.

    Raises:
        CompareError: they don't run there.
    """
    out = tree.inputs.with_suffix(".json")
    command = [sys.executable, str(tree.harness / "benchmarks" / "bench.py"), "--json", str(out)]
    command += ["--events", str(events), "--repeat", str(repeat), "--inputs", str(tree.inputs)]
    command += [part for one in ids for part in ("--only", one)]
    done = subprocess.run(
        command,
        cwd=tree.root,
        env=os.environ | {"PYTHONPATH": str(tree.root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    if done.returncode:
        raise CompareError(f"the benchmarks don't run on the {tree.name}:\n{done.stderr.strip()}")
    return {one["id"]: one for one in msgspec.json.decode(out.read_bytes())["results"]}


def comparable(base: Sequence[Measured], head: Sequence[Measured]) -> tuple[dict[str, str], dict[str, str]]:
    """The ids that stand for the same work in both, each with the clock to go by, and of the others why they don't."""
    then, now = ({one["id"]: one for one in some} for some in (base, head))
    chosen: dict[str, str] = {}
    skipped = dict.fromkeys(now.keys() - then.keys(), "the base has no such benchmark")
    skipped |= dict.fromkeys(then.keys() - now.keys(), "only the base has this benchmark")
    for one in [one for one in now if one in then]:
        messages = then[one]["messages"], now[one]["messages"]
        clocks = [clock for clock in CLOCKS if clock in _clocks(then[one]) and clock in _clocks(now[one])]
        if messages[0] != messages[1]:
            skipped[one] = f"not the same work: {messages[0]:,} messages in the base, {messages[1]:,} now"
        elif not clocks:
            skipped[one] = "timed by another clock in the base"
        else:
            chosen[one] = clocks[0]
    return chosen, dict(sorted(skipped.items()))


def _clocks(one: Measured) -> dict[str, Sequence[float]]:
    """Seconds by the clocks that they were taken with; benchmarks that don't say went by the wall's."""
    found = {one.get("clock", "wall"): one["seconds"]}
    return found | ({"cpu": one["cpu_s"]} if one.get("cpu_s") else {})


def _seconds(results: Mapping[str, Measured], chosen: Mapping[str, str]) -> dict[str, float]:
    """The best repetition of each, since what else runs on the machine only adds."""
    return {name: min(_clocks(results[name])[clock]) for name, clock in chosen.items()}


def _last_line(error: Exception) -> str:
    return str(error).splitlines()[-1]


def _print(
    asked: argparse.Namespace,
    machine: dict[str, object],
    by: str,
    turns: Mapping[str, Sequence[Turn]],
    verdicts: Mapping[str, Verdict],
    skipped: Mapping[str, str],
) -> None:
    print(headline(machine))
    print(f"against {asked.base}; {asked.pairs} turns of base, head, base; measured {by}\n")
    lines = [
        (
            one,
            f"{min(min(turn.base, turn.again) for turn in turns[one]) * 1e3:,.0f}",
            f"{min(turn.head for turn in turns[one]) * 1e3:,.0f}",
            f"{verdict.ratio:.3f}",
            f"{verdict.low:.3f}-{verdict.high:.3f}",
            f"{verdict.noise:.1%}",
            f"{verdict.control:.3f}",
            verdict.word,
        )
        for one, verdict in verdicts.items()
    ]
    print_table(("path", "base ms", "head ms", "ratio", "interval", "noise", "base/base", ""), lines)
    for one, why in skipped.items():
        print(f"{one}: skipped, {why}")
    print(
        f"\nratio: head over base, above 1 is slower. Equal trees would give a path called slower in at most "
        f"{ALARMS:.0%} of runs like this; below {LEAST:.0%} nothing is called."
    )


if __name__ == "__main__":
    sys.exit(main())
