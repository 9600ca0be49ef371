"""Every query of docs/cookbook.md on a simulated day: it gives rows, and they say what plain Python makes of the views
or of the events themselves.
"""

from collections.abc import Iterator

import pytest

from sinks.clickhouse.store import open_store
from tests import analyst_day, cookbook_findings, cookbook_work
from tests.cookbook_day import FACTS, RECIPES, Day
from tests.cookbook_samples import COOKBOOK, RECIPE

assert cookbook_work, cookbook_findings  # importing them lists their facts


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    folder = tmp_path_factory.mktemp("analyst")
    with open_store(analyst_day.make(folder), readonly=True) as store:
        yield Day(store, folder)


def test_there_are_at_least_twenty_and_each_is_held_against_something() -> None:
    assert len(RECIPES) >= 20
    assert set(FACTS) == set(RECIPES)


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe(title: str, day: Day) -> None:
    rows = day.ask(RECIPES[title])
    assert rows
    FACTS[title](rows, day)


def test_the_sample_of_each_recipe_has_the_columns_that_it_gives(day: Day) -> None:
    for recipe in RECIPE.finditer(COOKBOOK.read_text()):
        heading = (recipe["sample"] or "").split("\n")[1]
        assert heading.strip("| ").split(" | ") == list(day.store.query(recipe["sql"], limit=1).names), recipe["title"]
