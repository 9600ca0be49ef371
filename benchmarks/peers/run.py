"""`make bench-peers`: Andon and its peers on the same work, W1, each in a process of its own, several times in turn.

All run once, then all again; every answer is held against an independent oracle's, row for row. What is compared, how
each is written and what is fair: docs/peers.md. The exit code is 1 where a contestant failed, or Andon's answer was
wrong.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from broker import FilledBroker, filled_broker
from contestants import ANDON, CONTESTANTS, Contestant
from environments import NotInstalledError, prepare
from one_run import FailedError, Run, TooSlowError, oracle, run_once
from table import Result, table

from benchmarks.inputs import w1, w1_folder
from benchmarks.machine import facts

#: What a contestant that does not come to an end gets instead.
_SHARE = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for, print the table; Ctrl-C ends it with what there is so far."""
    asked = _asked(arguments)
    names = [one.name for one in CONTESTANTS]
    unknown = sorted(set(asked.only) - set(names))
    if unknown:
        print(f"no such contestant: {', '.join(unknown)}; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    chosen = [one for one in CONTESTANTS if not asked.only or one.name in asked.only]
    results = [Result(one) for one in chosen]
    with tempfile.TemporaryDirectory(prefix="andon-peers-") as made, ExitStack() as open_now:
        course = Course(asked.inputs or Path(made), asked.events, asked.limit, open_now)
        course.prepare(results)
        interrupted = False
        try:
            for turn in range(asked.turns):
                for number, result in enumerate(results, 1):
                    _say(f"turn {turn + 1} of {asked.turns}, {number} of {len(results)}: {result.contestant.name}")
                    course.take(result)
        except KeyboardInterrupt:
            interrupted = True
    _say("interrupted: what there is so far" if interrupted else "")
    machine = facts()
    print(table(results, machine))
    if asked.json is not None:
        document = {"machine": machine, "events": asked.events, "results": [one.document() for one in results]}
        asked.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if interrupted:
        return 130
    bad = [one for one in results if one.failure or (one.contestant.name.startswith(ANDON) and one.differ)]
    return 1 if bad else 0


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Andon and its peers on the same work.")
    parser.add_argument("--events", type=int, default=1_000_000, metavar="N", help="events of W1")
    parser.add_argument("--turns", type=int, default=3, metavar="N", help="how often all of them run, in turn")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="run only this one; repeatable")
    parser.add_argument("--limit", type=float, default=300.0, metavar="S", help="longest run; then a tenth is run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="results and machine facts")
    parser.add_argument("--inputs", type=Path, metavar="DIR", help="keep the inputs here, and use them again")
    return parser.parse_args(arguments)


class Course:
    """The work in both sizes, the oracle's answers, the broker; what runs on them."""

    def __init__(self, folder: Path, events: int, limit_s: float, open_now: ExitStack) -> None:
        self._folder, self._events, self._limit_s, self._open_now = folder, events, limit_s, open_now
        self._broker: FilledBroker | None = None
        self._ready: set[int] = set()

    def prepare(self, results: Sequence[Result]) -> None:
        """Everything that belongs in no timer."""
        for peer in sorted({one.contestant.peer for one in results} - {""}):
            _say(f"the environment of {peer}")
            try:
                prepare(peer)
            except NotInstalledError as error:
                for result in results:
                    if result.contestant.peer == peer:
                        result.unavailable = str(error)
        self._work(self._events)
        if any(one.contestant.broker and not one.unavailable for one in results):
            _say("the broker")
            self._broker = self._open_now.enter_context(filled_broker())
            self._broker.fill(w1_folder(self._folder, self._events))

    def take(self, result: Result) -> None:
        """One run of a contestant; with a tenth of the events where all were too many."""
        if result.unavailable or result.failure:
            return
        try:
            if not result.shortened:
                try:
                    result.add(self._run(result.contestant, self._events))
                except TooSlowError:
                    result.shortened = True
            if result.shortened:
                result.add(self._run(result.contestant, self._events // _SHARE))
        except TooSlowError:
            result.failure = f"not at its end within {self._limit_s:g} s, with a tenth of the events either"
        except FailedError as error:
            result.failure = str(error)

    def _run(self, contestant: Contestant, events: int) -> Run:
        work = self._work(events)
        where: tuple[str, ...] = ()
        if contestant.broker:
            assert self._broker is not None
            where = ("--prefix", self._broker.fill(work), "--bootstrap", self._broker.bootstrap)
        with tempfile.TemporaryDirectory(prefix="andon-peer-") as out:
            return run_once(contestant, work, Path(out), where, self._limit_s)

    def _work(self, events: int) -> Path:
        """A W1 of so many events, with the oracle's answer beside it."""
        if events not in self._ready:
            _say(f"the input, {events:,} events, and the oracle's answer")
            w1(self._folder, events)
            oracle(w1_folder(self._folder, events))
            self._ready.add(events)
        return w1_folder(self._folder, events)


def _say(text: str) -> None:
    """Progress, on one line where there is a terminal."""
    end = "\r" if sys.stderr.isatty() else "\n"
    if text or end == "\r":
        print(text.ljust(70), end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
