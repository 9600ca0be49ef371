"""What is counted in the whole pipeline: deltas, demand and rates of a log, against the log itself."""

import math
from functools import cache

import msgspec
import pytest

from dataflows.process_maps import load_process_map
from operators.anomaly.settings import ModelSettings
from operators.pipeline import PipelineSettings
from operators.series_counts import LEAST_TOTAL
from operators.site_group import SiteGroup
from schemas.durations import MINUTE_US, SECOND_US, Instant
from schemas.incident_rows import SeriesScore
from schemas.rows import Row, StockWindow
from tests.counted_log import MINUTES, NODES, counted_log
from tests.harness import START_US, PurePipeline, encoded
from tests.harness import settings as small


@cache
def settings(lanes: int = 1, groups: int = 1) -> PipelineSettings:
    """Of the default map, whose cases are returns, too; windows of a minute."""
    return msgspec.structs.replace(small(lanes=lanes, groups=groups), process=load_process_map("default"))


@cache
def plain() -> list[Row]:
    return PurePipeline(counted_log(), settings(), 400).run()


def scored(metric: str, scope: str) -> dict[int, float]:
    """Value by the end of its window, in minutes from the begin."""
    return {
        (row.at_us - START_US) // MINUTE_US: row.value
        for row in plain()
        if isinstance(row, SeriesScore) and (row.metric, row.scope, row.handoff) == (metric, scope, "")
    }


def arrivals(*types: str, **fields: str) -> list[float]:
    """When events of these types came, in minutes from the begin."""
    out = []
    for messages in counted_log().values():
        for message in messages:
            body = msgspec.json.decode(message)
            if body["type"] in types and all(body.get(name) == value for name, value in fields.items()):
                out.append((Instant.parse(body["recorded_at"]) - START_US) / MINUTE_US)
    return out


def within(times: list[float], begin: float, end: float) -> int:
    return sum(begin <= at < end for at in times)


def closed() -> range:
    """Windows of a minute that are over before the log is."""
    return range(1, MINUTES)


@pytest.mark.parametrize("node", NODES)
def test_stock_deltas_are_those_of_the_windows_as_they_were_first_written(node: str) -> None:
    expected: dict[int, float] = {}
    corrected = 0
    for row in plain():
        if isinstance(row, StockWindow) and row.node == node:
            minute = (row.window_end_us - START_US) // MINUTE_US
            if row.arrival_us <= row.window_end_us + 5 * SECOND_US:
                expected[minute] = expected.get(minute, 0.0) + row.delta
            else:
                corrected += 1
    assert corrected, "late levels correct some windows"
    found = scored("stock_delta", node)
    assert {minute: pytest.approx(value) for minute, value in expected.items() if minute in closed()} == {
        minute: value for minute, value in found.items() if minute in closed()
    }
    assert max(found.values()) > 0.3


def test_demand_is_what_came_in_the_window() -> None:
    orders = arrivals("order.created")
    assert {minute: value for minute, value in scored("demand", "shop").items() if minute in closed()} == {
        minute: float(within(orders, minute - 1, minute)) for minute in closed()
    }
    picks = arrivals("task.queued", node="n1")
    found = scored("demand", "n1")
    assert {minute: found[minute] for minute in closed()} == {
        minute: float(within(picks, minute - 1, minute)) for minute in closed()
    }


@pytest.mark.parametrize(
    ("metric", "scope", "bad", "total"),
    [
        ("cancellation_rate", "shop", arrivals("order.cancelled"), arrivals("order.created")),
        ("return_rate", "shop", arrivals("return.authorized"), arrivals("order.created")),
        (
            "reject_rate",
            "n2",
            arrivals("task.rejected", node="n2"),
            arrivals("task.rejected", "task.completed", node="n2"),
        ),
    ],
)
def test_rates_are_those_of_the_last_hour(metric: str, scope: str, bad: list[float], total: list[float]) -> None:
    found = scored(metric, scope)
    expected = {}
    for minute in closed():
        of_all = within(total, minute - 60, minute)
        if of_all >= LEAST_TOTAL and within(sorted({*bad, *total}), minute - 1, minute):
            expected[minute] = within(bad, minute - 60, minute) / of_all
    assert len(expected) > MINUTES / 2
    assert {minute: value for minute, value in found.items() if minute in closed()} == expected
    assert 0.05 < math.fsum(expected.values()) / len(expected) < 0.5


@pytest.mark.parametrize(("batch", "groups", "lanes"), [(37, 3, 2)])
def test_they_do_not_depend_on_batches_groups_or_lanes(batch: int, groups: int, lanes: int) -> None:
    rows = PurePipeline(counted_log(), settings(groups=groups, lanes=lanes), batch).run()
    assert encoded(rows) == encoded(plain())


def test_they_do_not_depend_on_restarts() -> None:
    killed = PurePipeline(counted_log(), settings(groups=2), 150)
    counted = steps = 0
    while not killed.ended:
        killed.step("lane-0")
        steps += 1
        if steps % 7:
            continue
        killed.keep_and_restore()
        groups = [one for one in killed.groups.values() if isinstance(one, SiteGroup)]
        counted = max(counted, *(one.sizes()["series_counts", "series"] for one in groups))
    assert counted > 1, "a restart had something to lose"
    assert encoded(killed.rows) == encoded(plain())


def test_disabled_nothing_is_counted() -> None:
    off = msgspec.structs.replace(settings(), models=ModelSettings(enabled=False))
    pipeline = PurePipeline(counted_log(), off, 400)
    pipeline.run()
    sites = [one for one in pipeline.groups.values() if isinstance(one, SiteGroup)]
    assert {one.sizes()["series_counts", "held"] for one in sites} == {0}
