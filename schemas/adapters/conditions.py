"""The filters of a mapping: `when` as a test of a row, compiled once."""

import re
from collections.abc import Callable, Iterable
from typing import TypeAlias

from schemas.adapters.fields import Reader, read_number
from schemas.adapters.mapping import Condition, Scalar, When
from schemas.adapters.text import Cells, CellText

Test: TypeAlias = Callable[[Cells], bool]
_CellTest: TypeAlias = Callable[[str], bool]


def compile_when(
    when: When,
    when_any: Iterable[When],
    place: Callable[[str], CellText],
    normaliser: Callable[[str], Reader],
) -> Test | None:
    """Whether a row has all of `when` and all of at least one of `when_any`; None when every row has."""
    alternatives = [test for test in (_all_of(one, place, normaliser) for one in when_any) if test is not None]
    every = _all_of(when, place, normaliser)
    if not alternatives:
        return every
    if every is None:
        return lambda cells: any(test(cells) for test in alternatives)
    return lambda cells: every(cells) and any(test(cells) for test in alternatives)


def _all_of(when: When, place: Callable[[str], CellText], normaliser: Callable[[str], Reader]) -> Test | None:
    tests = [(place(column), cell_test(condition, normaliser(column))) for column, condition in when.items()]
    if not tests:
        return None
    if len(tests) == 1:
        get, test = tests[0]
        return lambda cells: test(get(cells))
    return lambda cells: all(test(get(cells)) for get, test in tests)


def cell_test(condition: Scalar | list[str] | Condition, normalise: Reader) -> _CellTest:
    """The test of one cell. A number is compared as a number, a text as it is; an empty cell is "" to it."""
    if isinstance(condition, bool):
        wanted = str(condition).lower()
        return lambda text: text.lower() == wanted
    if isinstance(condition, int | float):
        return _compare(normalise, lambda number: number == condition)
    if isinstance(condition, str):
        return lambda text: text == condition
    if isinstance(condition, list):
        accepted = frozenset(condition)
        return lambda text: text in accepted
    tests = list(_parts(condition, normalise))
    if len(tests) == 1:
        return tests[0]
    return lambda text: all(test(text) for test in tests)


def _parts(condition: Condition, normalise: Reader) -> Iterable[_CellTest]:
    if condition.one_of is not None:
        yield cell_test(condition.one_of, normalise)
    if condition.matches is not None:
        search = re.compile(condition.matches).search
        yield lambda text: search(text) is not None
    if condition.startswith is not None:
        head = condition.startswith
        yield lambda text: text.startswith(head)
    if condition.endswith is not None:
        tail = condition.endswith
        yield lambda text: text.endswith(tail)
    if condition.contains is not None:
        part = condition.contains
        yield lambda text: part in text
    if condition.present is not None:
        present = condition.present
        yield lambda text: (text != "") is present
    yield from _comparisons(condition, normalise)
    if condition.negated is not None:
        inner = cell_test(condition.negated, normalise)
        yield lambda text: not inner(text)


def _comparisons(condition: Condition, normalise: Reader) -> Iterable[_CellTest]:
    lt, le, eq, ge, gt = condition.lt, condition.le, condition.eq, condition.ge, condition.gt
    if lt is not None:
        yield _compare(normalise, lambda number: number < lt)
    if le is not None:
        yield _compare(normalise, lambda number: number <= le)
    if eq is not None:
        yield _compare(normalise, lambda number: number == eq)
    if ge is not None:
        yield _compare(normalise, lambda number: number >= ge)
    if gt is not None:
        yield _compare(normalise, lambda number: number > gt)


def _compare(normalise: Reader, holds: Callable[[float], bool]) -> _CellTest:
    """A comparison of numbers; a cell that is no number does not hold."""
    known: dict[str, bool] = {}

    def test(text: str) -> bool:
        answer = known.get(text)
        if answer is None:
            try:
                answer = holds(read_number(normalise(text)))
            except ValueError:
                answer = False
            if len(known) >= 65_536:
                known.clear()
            known[text] = answer
        return answer

    return test
