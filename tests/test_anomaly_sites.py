"""Sites in the pipeline: series of one window joined, judged once, and a function of the points alone."""

import gc
import random
import tracemalloc
from functools import cache

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.anomaly.point import Point
from operators.anomaly.settings import ModelSettings
from operators.anomaly.vector import YOUNG
from operators.process_map import Handoff
from operators.series_points import WindowPoint
from operators.series_scores import SeriesScores, SeriesScoresState
from operators.series_sites import site_parts
from schemas.durations import MINUTE_US, SECOND_US
from schemas.incident_rows import ModelHealth, SeriesScore
from schemas.rows import Row, Signal
from tests.harness import START_US, small_map
from tests.parted_site import STEP_US, log, tick

CHOSEN = ModelSettings(young_points=50, alarms_per_week=5.0)
HANDOFFS = small_map().handoff


def scores(handoffs: list[Handoff] = HANDOFFS, models: ModelSettings = CHOSEN) -> SeriesScores:
    return SeriesScores(models, handoffs, STEP_US)


def sites(rows: list[Row]) -> list[SeriesScore]:
    return [row for row in rows if isinstance(row, SeriesScore) and row.metric == "site"]


def told(rows: list[Row], at_us: int) -> list[Signal]:
    return [row for row in rows if isinstance(row, Signal) and row.closed_at_us == at_us]


def test_a_site_has_all_series_that_are_scoped_alike() -> None:
    parts = site_parts(HANDOFFS)
    assert set(parts) == {"channel", "node"}
    assert {handoff for metric, handoff in parts["node"] if metric == "backlog"} == {"allocation", "pick"}
    counted = {metric for metric, handoff in parts["node"] if not handoff}
    assert counted == {"demand", "stock_delta", "reject_rate"}
    assert parts["node"]["completed", "pick"] == "down"


def test_what_does_not_go_together_is_told_with_what_it_is_made_of() -> None:
    points = log(1500, apart=True)
    rows = scores().update(points)
    at_us = points[-1].point.at_us
    (signal,) = told(rows, at_us)
    assert (signal.kind, signal.scope, signal.handoff, signal.method) == ("unusual_site", {"node": "n1"}, "", "model")
    assert len(signal.evidence) >= 2
    assert all("% " in one and "(pick) " in one and ", expected " in one for one in signal.evidence)
    assert signal.evidence[0] in signal.explanation
    assert {one.split("% ")[1].split(" (pick)")[0] for one in signal.evidence[:2]} == {"waiting", "completed"}
    (row,) = [row for row in sites(rows) if row.at_us == at_us]
    assert (row.alarm, row.scope_by, row.scope) == ("spike", "node", "n1")
    assert row.upper is not None
    assert row.value > row.upper > row.expected > 0
    assert row.score == signal.score


def test_each_series_by_itself_says_nothing_of_it() -> None:
    points = log(1500, apart=True)
    rows = scores([]).update(points)
    assert told(rows, points[-1].point.at_us) == []
    assert sites(rows) == []


def test_what_a_series_tells_by_itself_is_not_told_twice() -> None:
    points = log(1500, apart=True)
    last = points[-1]
    backlog = next(one for one in points[-3:] if one.point.series[0] == "backlog")
    far = msgspec.structs.replace(backlog, point=msgspec.structs.replace(backlog.point, value=500.0))
    rows = scores().update([*points[:-3], far, *[one for one in points[-3:] if one is not backlog]])
    assert [one.kind for one in told(rows, last.point.at_us)] == ["unusual_backlog"]
    assert sites(rows)[-1].score == 0.0


def test_every_tick_of_a_site_is_scored_once_and_counted() -> None:
    models = scores()
    points = log(YOUNG + 50)
    rows = models.update(points)
    judged = sites(rows)
    assert len({row.at_us for row in judged}) == len(judged)
    assert YOUNG < len(judged) <= YOUNG + 50, "before series have a band they have no part"
    health = [*rows, *models.advance(points[-1].arrival_us + MINUTE_US)]
    counted = [row for row in health if isinstance(row, ModelHealth) and row.model == "vectors"]
    assert sum(row.points for row in counted) == len(judged)
    assert {row.metric for row in counted} == {"site/node"}
    assert [counted[0].state, counted[-1].state] == ["young", "healthy"]


def test_missing_windows_are_ordinary_and_not_waited_for() -> None:
    noise = random.Random(1)
    points = [*log(600), *tick(600, 0.0, noise=noise, leave_out="p95_s")]
    judged = sites(scores().update(points))
    assert judged[-1].at_us == points[-1].point.at_us
    assert judged[-1].value < 2.0
    alone = [*log(600), tick(600, 0.0, noise=noise)[0]]
    assert sites(scores().update(alone))[-1].at_us < alone[-1].point.at_us, "one series is no vector"


def test_late_parts_change_nothing() -> None:
    """Corrections give no points (`window_points`); what comes at a later tick about an earlier window stands alone."""
    points = log(600)
    late = msgspec.structs.replace(points[-1], arrival_us=points[-1].arrival_us + STEP_US)
    together = sites(scores().update(points))
    apart = sites(scores().update([*points[:-1], late]))
    assert [row.at_us for row in apart] == [row.at_us for row in together]
    assert apart[:-1] == together[:-1]
    assert apart[-1] != together[-1]


TICKS = 240


@cache
def two_nodes() -> tuple[list[list[WindowPoint]], bytes, SeriesScoresState]:
    """Ticks of two nodes; the rows that they give at once, and the state then."""
    noise = random.Random(9)
    ticks = [
        sorted(
            [*tick(number, load, node="n1", noise=noise), *tick(number, -load, node="n2", noise=noise)],
            key=lambda point: point.point.series,
        )
        for number, load in enumerate(noise.gauss(0, 1) for _ in range(TICKS))
    ]
    whole = scores()
    rows = whole.update([point for one in ticks for point in one])
    assert len(sites(rows)) > TICKS
    return ticks, msgspec.msgpack.encode(rows), whole.snapshot()


@given(cuts=st.sets(st.integers(0, TICKS), max_size=5))
@settings(max_examples=8, deadline=None)
def test_rows_do_not_depend_on_cuts_or_restarts(cuts: set[int]) -> None:
    ticks, expected, state = two_nodes()
    models, said = scores(), []
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), TICKS], strict=True):
        said += models.update([point for one in ticks[begin:end] for point in one])
        kept = msgspec.msgpack.encode(models.snapshot())
        models = scores()
        models.restore(msgspec.msgpack.decode(kept, type=SeriesScoresState))
    assert msgspec.msgpack.encode(said) == expected
    assert models.snapshot() == state
    assert models.sizes() == {"series": 6, "sites": 2}


def test_a_snapshot_from_before_there_were_sites_is_read() -> None:
    models = scores()
    models.update(log(300))
    now = models.snapshot()
    old = msgspec.msgpack.decode(msgspec.msgpack.encode((1, now.minute_us, now.models)), type=SeriesScoresState)
    resumed = scores()
    resumed.restore(old)
    assert resumed.sizes() == {"series": 3, "sites": 0}


def test_the_kill_switch_of_vectors_leaves_the_series() -> None:
    points = log(600)
    off = scores(models=msgspec.structs.replace(CHOSEN, vectors=False)).update(points)
    assert sites(off) == []
    on = [row for row in scores().update(points) if isinstance(row, SeriesScore) and row.metric != "site"]
    assert [row for row in off if isinstance(row, SeriesScore)] == on


@pytest.mark.parametrize("metrics", [8, 35])
def test_series_and_their_sites_keep_to_four_kilobytes_a_series(metrics: int) -> None:
    handoffs = [msgspec.structs.replace(HANDOFFS[-1], name=f"h{number}") for number in range(metrics // 4)]
    models = scores(handoffs)
    noise = random.Random(2)
    for number in range(150):
        at_us = START_US + (number + 1) * STEP_US
        points = [
            Point((metric, one.name, "node", "n1"), metric, at_us, 50 + noise.gauss(0, 9), "up", 1.0)
            for one in handoffs
            for metric in ("backlog", "completed", "oldest_age_s", "p95_s")
        ]
        points.sort(key=lambda point: point.series)
        models.update([WindowPoint(at_us + SECOND_US, at_us - STEP_US, point) for point in points])
    sizes = models.sizes()
    assert sizes == {"series": 4 * len(handoffs), "sites": 1}
    pools = 4 * 2100  # shared by all nodes
    assert (len(msgspec.msgpack.encode(models.snapshot())) - pools) / sizes["series"] <= 4096


def test_in_memory_too_a_series_takes_four_kilobytes_at_most() -> None:
    """Rows, names, index, pools and the site's vectors, of nodes that have 32 series each."""
    handoffs = [msgspec.structs.replace(HANDOFFS[-1], name=f"h{number}") for number in range(8)]
    nodes, ticks = 150, 6
    gc.collect()
    tracemalloc.start()
    try:
        models = scores(handoffs)
        for number in range(ticks):
            at_us = START_US + (number + 1) * STEP_US
            points = [
                Point((metric, one.name, "node", f"n{node}"), f"{metric}/{one.name}", at_us, number + 0.5)
                for metric in ("backlog", "completed", "oldest_age_s", "p95_s")
                for one in handoffs
                for node in range(nodes)
            ]
            models.update([WindowPoint(at_us + SECOND_US, at_us - STEP_US, point) for point in points])
            del points
        models.snapshot()
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert models.sizes() == {"series": nodes * 4 * len(handoffs), "sites": nodes}
    assert size / models.sizes()["series"] <= 4096
