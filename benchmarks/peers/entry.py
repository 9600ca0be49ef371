"""The common command line of every contestant: where the input is, where rows go, and what it took.

Only the standard library and Python 3.11 may be used here: each peer runs it in an environment of its own.
A contestant prints one line of JSON, `{"events", "seconds", "cpu_s", "note"}`: the work alone, without the start of the
interpreter and imports. Rows go to `a.csv` and `b.csv` of `--out` (answer.py says what is in them).
"""

import argparse
import csv
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TOPICS = ("inventory", "reservations", "fulfillment")
SYSTEMS = ("ecom", "erp", "wms")
MINUTE_S = 60
SECOND_US = 1_000_000
#: How far out of order events come, and copies of them.
DISORDER_S, COPIES_S = 5, 10
#: The longest time from reservation to pick.
LONGEST_S = 600


@dataclass
class Entry:
    """One run of a contestant."""

    inputs: Path
    out: Path
    messages: int
    bootstrap: str
    topics: tuple[str, ...]
    variant: str
    seconds: float = 0.0
    cpu_s: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def arrival(self) -> Path:
        """All messages in order of arrival."""
        return self.inputs / "arrival.jsonl"

    @property
    def files(self) -> tuple[str, ...]:
        """A file for each topic."""
        return tuple(str(self.inputs / f"{topic}.jsonl") for topic in TOPICS)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """What is measured."""
        began, cpu_s = time.perf_counter(), time.process_time()
        yield
        self.seconds += time.perf_counter() - began
        self.cpu_s += time.process_time() - cpu_s

    def write(self, output: str, rows: Iterable[Sequence[object]]) -> None:
        """Rows as they are compared, into `a.csv` or `b.csv`."""
        with (self.out / f"{output}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)

    def done(self) -> None:
        """Say what it took."""
        said = {"events": self.messages, "seconds": self.seconds, "cpu_s": self.cpu_s, "note": "; ".join(self.notes)}
        print(json.dumps(said), flush=True)


def entry() -> Entry:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=Path, required=True, help="the folder of a W1")
    parser.add_argument("--out", type=Path, required=True, help="an empty folder")
    parser.add_argument("--variant", default="", help="which of the contestant's ways")
    parser.add_argument("--bootstrap", default="", help="the broker, where it reads from one")
    parser.add_argument("--prefix", default="", help="what the names of the topics begin with")
    asked = parser.parse_args()
    return Entry(
        inputs=asked.inputs,
        out=asked.out,
        messages=int((asked.inputs / "done").read_text(encoding="utf-8")),
        bootstrap=asked.bootstrap,
        topics=tuple(asked.prefix + topic for topic in TOPICS),
        variant=asked.variant,
    )


def p95(ordered: Sequence[int]) -> int:
    """The nearest-rank 95th percentile of sorted samples, in whole numbers."""
    return ordered[(19 * len(ordered) + 19) // 20 - 1]


def spread(quantities: Iterable[float | None]) -> float:
    """The delta: the largest known quantity less the smallest."""
    known = [quantity for quantity in quantities if quantity is not None]
    return max(known) - min(known)
