"""Every query of docs/cookbook.md on a simulated day: it gives rows, and they say what plain Python makes of the views
or of the events themselves.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from schemas.incident_rows import Incident, IncidentOrder
from schemas.rows import StockWindow
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import open_store
from sinks.clickhouse.writer import BlockWriter
from tests import analyst_day, cookbook_findings, cookbook_work
from tests.clickhouse_rows import ONE_OF_EACH
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


def test_money_of_two_currencies_is_not_added_up(tmp_path: Path) -> None:
    held = next(row for row in ONE_OF_EACH if isinstance(row, Incident))
    order = next(row for row in ONE_OF_EACH if isinstance(row, IncidentOrder))
    stock = next(row for row in ONE_OF_EACH if isinstance(row, StockWindow))
    rows = [
        msgspec.structs.replace(held, value_at_risk=100.0, currency="EUR"),
        msgspec.structs.replace(order, order_id="o-1", value=100.0, margin=40.0, currency="EUR"),
        msgspec.structs.replace(order, order_id="o-2", value=90.0, margin=1000.0, currency="CHF"),
        msgspec.structs.replace(stock, sku="s-1", value_at_risk=10.0, currency="EUR"),
        msgspec.structs.replace(stock, sku="s-2", value_at_risk=9.0, currency="CHF"),
        msgspec.structs.replace(stock, sku="s-3", value_at_risk=None, currency=""),
    ]
    with open_store(f"chdb://{tmp_path}/db") as store:
        migrate(store)
        writer = BlockWriter(store, "run-1")
        writer.write(rows)
        writer.flush()
        day = Day(store, tmp_path)
        (node,), (incident,) = (
            day.ask(next(sql for title, sql in RECIPES.items() if title.startswith(begin)))
            for begin in ("Inventory accuracy", "Recompute an incident from what")
        )
    assert node["value_apart"] == {"EUR": 10.0, "CHF": 9.0}
    assert incident["value"] == 100.0
    of_money = (1 - 0.6 * (1 - math.exp(-100 / 10_000))) * (1 - 0.3 * (1 - math.exp(-40 / 3_000)))
    of_the_rest = (1 - 0.4 * (1 - math.exp(-1 / 100))) * (1 - 0.4 * 0.5)  # a customer; a severity that is not known
    assert incident["score_recomputed"] == pytest.approx(1 - of_money * of_the_rest, abs=1e-4)


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe(title: str, day: Day) -> None:
    rows = day.ask(RECIPES[title])
    assert rows
    FACTS[title](rows, day)


def test_the_sample_of_each_recipe_has_the_columns_that_it_gives(day: Day) -> None:
    for recipe in RECIPE.finditer(COOKBOOK.read_text()):
        heading = (recipe["sample"] or "").split("\n")[1]
        assert heading.strip("| ").split(" | ") == list(day.store.query(recipe["sql"], limit=1).names), recipe["title"]
