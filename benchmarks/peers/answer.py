"""What every contestant has to answer, and whether it did.

`a.csv`: sku, node, minute (seconds since 1970), last quantity of ecom, erp, wms (empty where none is known), delta;
`b.csv`: node, minute, picks, p95 of pick minus reservation in microseconds. Rows in any order; a peer that writes many
files puts them into a folder of that name. Numbers are compared as numbers.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

Row: TypeAlias = tuple[str, ...]

#: By output: how many of its columns are the key of a row, and which of them (and on) are numbers.
SHAPES = {"a": (3, 2), "b": (2, 1)}
_SHOWN = 3


class Verdict(NamedTuple):
    """How many rows of an answer are right, missing, wrong, or there although nothing should be."""

    right: int
    missing: int
    wrong: int
    extra: int
    first: tuple[str, ...]

    @property
    def differ(self) -> int:
        """Rows that are not as they should be."""
        return self.missing + self.wrong + self.extra


def compare(expected: Path, found: Path) -> Verdict:
    """Hold both outputs against the oracle's, row for row."""
    right = missing = wrong = extra = 0
    first: list[str] = []
    for output, (keys, _) in SHAPES.items():
        wanted, got = Counter(rows(expected, output)), Counter(rows(found, output))
        right += (wanted & got).total()
        lacking, surplus = wanted - got, got - wanted
        mine = Counter(row[:keys] for row in surplus.elements())
        theirs = Counter(row[:keys] for row in lacking.elements())
        both = (mine & theirs).total()
        wrong, missing, extra = wrong + both, missing + theirs.total() - both, extra + mine.total() - both
        first += [f"{output}: should be there: {','.join(row)}" for row in sorted(lacking)[:_SHOWN]]
        first += [f"{output}: should not: {','.join(row)}" for row in sorted(surplus)[:_SHOWN]]
    return Verdict(right, missing, wrong, extra, tuple(first))


def rows(folder: Path, output: str) -> Iterator[Row]:
    """The rows of one output, each number in one spelling."""
    path = folder / f"{output}.csv"
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    numbers = SHAPES[output][1]
    for file in files:
        if file.name.startswith(("_", ".")):
            continue  # marks that a writer of many files leaves
        with file.open(newline="", encoding="utf-8") as lines:
            for row in csv.reader(lines):
                yield (*row[:numbers], *map(_number, row[numbers:]))


def _number(text: str) -> str:
    return f"{float(text):.15g}" if text else ""
