"""What the database of the analyst's day holds, for oracles of the cookbook's queries, and where these are listed."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from sinks.clickhouse.store import Store
from tests.cookbook_samples import COOKBOOK, RECIPE

RECIPES = {found["title"]: found["sql"] for found in RECIPE.finditer(COOKBOOK.read_text())}

Rows = list[dict[str, Any]]
JUDGED = ("done", "late", "overdue")


class Day:
    """What the database holds, and the events that it was made of, for oracles."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self._folder = folder
        self._views: dict[str, Rows] = {}

    def ask(self, sql: str) -> Rows:
        answer = self.store.query(sql)
        return [dict(zip(answer.names, row, strict=True)) for row in answer.rows]

    def view(self, name: str) -> Rows:
        if name not in self._views:
            self._views[name] = self.ask(f"SELECT * FROM {name}")
        return self._views[name]

    def passes(self, handoff: str, *statuses: str) -> Rows:
        found = (row for row in self.view("handoffs") if row["handoff"] == handoff)
        return [row for row in found if not statuses or row["status"] in statuses]

    def events(self, topic: str) -> Rows:
        lines = (self._folder / "events" / f"{topic}.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    @cached_property
    def incidents(self) -> dict[str, dict[str, Any]]:
        return {row["incident_id"]: row for row in self.view("incidents") if row["signals"]}

    def last_stock(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The last row of each item."""
        ordered = sorted(self.view("stock_deltas"), key=lambda row: row["window_start"])
        return {(row["node"], row["sku"]): row for row in ordered}


FACTS: dict[str, Callable[[Rows, Day], None]] = {}


def fact(title: str) -> Callable[[Callable[[Rows, Day], None]], Callable[[Rows, Day], None]]:
    def add(check: Callable[[Rows, Day], None]) -> Callable[[Rows, Day], None]:
        FACTS[next(name for name in RECIPES if name.startswith(title))] = check
        return check

    return add


def truth(day: Day) -> Rows:
    return day.events("truth")


def moment(event: dict[str, Any], field: str = "occurred_at") -> datetime:
    return datetime.fromisoformat(event[field]).astimezone(UTC)


def near(q: float, samples: Iterable[float], found: float, rounded: float) -> bool:
    """Whether `found` is a quantile of samples, by whichever of the usual definitions, rounded or within an error."""
    ordered = sorted(samples)
    place = round(q * (len(ordered) - 1))
    around = ordered[max(0, place - 1) : place + 2]
    return min(around) - rounded <= found <= max(around) + rounded
