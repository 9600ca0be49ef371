"""Ids and scopes of a case, each as its place in a list."""

from random import Random

import pytest

from operators.case_passes import _NEAR, place_of, tidy
from operators.case_state import Case, PassRecord

PASSES = 10


def _names(seed: int, different: int, count: int) -> list[str]:
    random = Random(seed)
    return [f"wms-1:{number}" if number else "" for number in random.choices(range(different), k=count)]


@pytest.mark.parametrize("different", [1, 5, _NEAR, 3 * _NEAR])
def test_a_place_says_its_text_and_a_short_list_says_it_once(different: int) -> None:
    for seed in range(20):
        texts, said = _names(seed, different, 400), [""]
        assert [said[place_of(said, text)] for text in texts] == texts
        assert different > _NEAR or len(said) == len({"", *texts})


@pytest.mark.parametrize("different", [5, 3 * _NEAR])
def test_what_passes_name_is_kept_once_and_nothing_else_is(different: int) -> None:
    for seed in range(20):
        case = Case(0, 0, 0, [""], [""], {})
        names = _names(seed, different, 300)
        for number, (start, end) in enumerate(zip(names, reversed(names), strict=True)):
            ids, scope = [place_of(case.ids, text) for text in (start, end)], place_of(case.scopes, start)
            case.passes[f"0/{number % PASSES}"] = PassRecord(0, 0, *ids, scope, scope, None, 0)
            said = _said(case)
            tidy(case)
            assert _said(case) == said
            assert len(case.ids) <= 2 * 2 * PASSES + 8
        assert len(case.ids) == len(set(case.ids))


def _said(case: Case) -> list[tuple[str, ...]]:
    return [
        (case.ids[one.start_id], case.ids[one.end_id], case.scopes[one.start_scope], case.scopes[one.end_scope])
        for one in case.passes.values()
    ]
