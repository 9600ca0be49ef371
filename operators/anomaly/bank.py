"""All series of a key group as rows of shared arrays: what each model has learnt, and who judges it.

A series is a row: 52 numbers and 768 knots of its model (`operators/anomaly/layout.py`), and its marks (its rule, its
trouble, when it was last heard of). Many rows at once are what the batch path works on (`operators/anomaly/batch/`);
one row as objects is an `Entry`.
"""

import sys
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from operators.anomaly.detector import SeriesDetector
from operators.anomaly.detector_state import HEAD, filled, numbers_of, parted
from operators.anomaly.judged import TROUBLES, Entry, SeriesKey
from operators.anomaly.layout import KNOTS, NUMBERS
from operators.anomaly.season import Pool

Rows = npt.NDArray[np.intp]
#: Heard: the number of the point that was the last; `beyond` and `is_over` are the rule's.
_MARKS = np.dtype([("heard", "<i8"), ("calm", "<i4"), ("beyond", "<i4"), ("trouble", "u1"), ("is_over", "?")])
#: Rows are added so many at a time, or a 128th of what there is: what is spare stays below a per cent.
_LEAST_MORE = 4
_MORE = 128


class Bank:
    """Rows of series, found by name.

    Memory: 3.6 kB a series, its name included: 3,488 bytes of numbers, 18 of marks, the rest are the name and the
    index. `numbers`, `knots` and `marks` move in memory when a row is added: nobody keeps a view of them.
    """

    __slots__ = ("_free", "_heard", "_members", "_names", "_pool_names", "_rows", "knots", "marks", "numbers", "pools")

    def __init__(self) -> None:
        self.numbers = np.zeros((0, NUMBERS), np.float64)
        self.knots = np.zeros((0, KNOTS), np.float32)
        self.marks = np.zeros(0, _MARKS)
        self.pools: dict[str, Pool] = {}
        self._members: dict[str, int] = {}
        self._rows: dict[SeriesKey, int] = {}
        self._names: list[SeriesKey | None] = []
        self._pool_names: list[str] = []
        self._free: list[int] = []
        self._heard = 0

    def __len__(self) -> int:
        """How many series there are."""
        return len(self._rows)

    def find(self, name: SeriesKey) -> int | None:
        """The row of a series."""
        return self._rows.get(name)

    def add(self, name: SeriesKey, pool: str) -> int:
        """The row of a series that is new, as a model begins; `pool` ("" for none) is made where it is not there."""
        if not self._free:
            self._grow()
        row = self._free.pop()
        name, pool = tuple(sys.intern(word) for word in name), sys.intern(pool)  # each log entry has words of its own
        self._rows[name] = row
        self._names[row], self._pool_names[row] = name, pool
        self.numbers[row], self.knots[row], self.marks[row] = _NEW, 0.0, np.zeros((), _MARKS)
        self._join(pool)
        return row

    def hear(self, rows: Rows) -> None:
        """These, each once, were heard of, in this order."""
        self.marks["heard"][rows] = np.arange(self._heard, self._heard + len(rows))
        self._heard += len(rows)

    def replace_oldest(self, name: SeriesKey, pool: str) -> tuple[int, SeriesKey]:
        """As `add`, in the place of the series that was silent longest; its name beside the row.

        Where it was the last in the pool of the new one, the pool lives on.
        """
        self._join(pool)
        oldest = self._drop_oldest()
        row = self.add(name, pool)
        self._leave(pool)
        return row, oldest

    def names(self) -> Iterator[tuple[SeriesKey, int]]:
        """All series with their rows, in no order."""
        return iter(self._rows.items())

    def by_age(self) -> list[tuple[SeriesKey, int]]:
        """All series with their rows, the one that was silent longest first."""
        heard = self.marks["heard"].tolist()
        return sorted(self._rows.items(), key=lambda one: heard[one[1]])

    def pool_name(self, row: int) -> str:
        """The pool that a series belongs to ("" for none)."""
        return self._pool_names[row]

    def pool_of(self, row: int) -> Pool | None:
        """The pool itself."""
        return self.pools.get(self._pool_names[row])

    def entry(self, row: int, alarms_per_week: float) -> Entry:
        """A series as objects; what they learn is kept by `keep`, for which they are given up."""
        detector = SeriesDetector(alarms_per_week, self.pool_of(row), memoryview(self.knots[row]).cast("B").cast("f"))
        entry = Entry(filled(detector, self.numbers[row].tolist()))
        _, entry.calm, entry.rule.beyond, trouble, entry.rule.is_over = self.marks[row].item()
        entry.trouble = TROUBLES[trouble]
        return entry

    def keep(self, row: int, entry: Entry) -> None:
        """Take over what a series as objects has learnt."""
        self.numbers[row] = numbers_of(entry.detector)
        heard = self.marks[row]["heard"]
        trouble = TROUBLES.index(entry.trouble)
        self.marks[row] = (heard, entry.calm, entry.rule.beyond, trouble, entry.rule.is_over)

    def packed(self) -> Callable[[int], bytes]:
        """What gives the model of a row as `detector_state.pack` has it, until the bank changes."""
        numbers = self.numbers.astype("<f8", copy=False).reshape(-1).view(np.uint8).data
        knots = self.knots.astype("<f4", copy=False).reshape(-1).view(np.uint8).data
        wide, narrow = 8 * NUMBERS, 4 * KNOTS

        def model(row: int) -> bytes:
            return b"".join((HEAD, numbers[row * wide : (row + 1) * wide], knots[row * narrow : (row + 1) * narrow]))

        return model

    def unpack(self, row: int, packed: bytes) -> None:
        """Take over a packed model.

        Raises:
            StateError: the bytes are of another version or length.
        """
        numbers, knots = parted(packed)
        self.numbers[row], self.knots[row] = np.frombuffer(numbers, "<f8"), np.frombuffer(knots, "<f4")

    def _join(self, pool: str) -> None:
        """One more belongs to the pool."""
        if pool:
            self.pools.setdefault(pool, Pool())
            self._members[pool] = self._members.get(pool, 0) + 1

    def _leave(self, pool: str) -> None:
        """One less belongs to it; nobody's pool is forgotten."""
        if pool:
            self._members[pool] -= 1
            if not self._members[pool]:
                del self._members[pool], self.pools[pool]

    def _drop_oldest(self) -> SeriesKey:
        heard = self.marks["heard"].copy()
        heard[self._free] = np.iinfo(np.int64).max
        row = int(heard.argmin())
        name = self._names[row]
        assert name is not None  # only free rows have none
        del self._rows[name]
        self._names[row] = None
        self._free.append(row)
        self._leave(self._pool_names[row])
        return name

    def _grow(self) -> None:
        there = len(self._names)
        more = max(_LEAST_MORE, there // _MORE)
        for array in (self.numbers, self.knots, self.marks):
            # In place, so that there are never two of them; `refcheck` would count a profiler's reference as a view.
            array.resize((there + more, *array.shape[1:]), refcheck=False)
        self._names += [None] * more
        self._pool_names += [""] * more
        self._free = list(range(there + more - 1, there - 1, -1))


_NEW = np.array(numbers_of(SeriesDetector()))
