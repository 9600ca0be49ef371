"""The promises of time and state, on the pure pipeline: rows are a function of the log alone."""

import random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.anomaly.settings import ModelSettings
from schemas.durations import END_OF_TIME_US, HOUR_US
from schemas.rows import HandoffPass, HandoffWindow, StockWindow
from tests.harness import START_US, PurePipeline, encoded, final
from tests.harness import settings as pipeline_settings
from tests.logs import Fact, facts, log_of

COMMON = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@COMMON
@given(
    facts=facts(),
    batch=st.integers(1, 70),
    lanes=st.integers(1, 4),
    groups=st.integers(1, 5),
    close=st.sampled_from([-(1 << 62), END_OF_TIME_US]),
)
def test_rows_do_not_depend_on_batches_lanes_or_groups(
    facts: list[Fact], batch: int, lanes: int, groups: int, close: int
) -> None:
    log = log_of(facts, broken=True)
    plain = PurePipeline(log, pipeline_settings(close_at_us=close), 1_000).run()
    cut = PurePipeline(log, pipeline_settings(lanes=lanes, groups=groups, close_at_us=close), batch).run()
    assert encoded(cut) == encoded(plain)


@COMMON
@given(facts=facts(), batch=st.integers(1, 20), every=st.integers(1, 5), lanes=st.integers(1, 3))
def test_rows_do_not_depend_on_where_the_job_was_killed(facts: list[Fact], batch: int, every: int, lanes: int) -> None:
    log = log_of(facts, broken=True)
    plain = PurePipeline(log, pipeline_settings(lanes=lanes, groups=2), batch).run()
    killed = PurePipeline(log, pipeline_settings(lanes=lanes, groups=2), batch)
    steps = 0
    while not killed.ended:
        for lane in killed.settings.lanes:
            killed.step(lane)
            steps += 1
            if steps % every == 0:
                killed.keep_and_restore()
    assert encoded(killed.rows) == encoded(plain)


@COMMON
@given(facts=facts(), seed=st.integers(0, 1_000), slide_s=st.sampled_from([30, 60]))
def test_final_windows_do_not_depend_on_the_order_of_arrival(facts: list[Fact], seed: int, slide_s: int) -> None:
    scored = pipeline_settings(close_at_us=START_US + 3 * HOUR_US, slide_us=slide_s * 1_000_000)
    chosen = msgspec.structs.replace(scored, models=ModelSettings(enabled=False))  # scores do depend on it
    one = PurePipeline(log_of(facts), chosen, 100).run()
    delays = random.Random(seed)
    other_facts = [
        Fact(f.number, f.type, f.case, f.occurred_s, delays.randrange(0, 1_800), f.twice, f.value) for f in facts
    ]
    other = PurePipeline(log_of(other_facts), chosen, 100).run()
    for kind in (HandoffWindow, StockWindow):
        assert _values(one, kind) == _values(other, kind)
    assert _passes(one) == _passes(other)


def _values(rows: list, kind: type) -> dict[tuple[object, ...], tuple[object, ...]]:
    """Final rows without when they were written; rows of zeros are no rows (the views hide them)."""
    out = {}
    for key, row in final(rows, kind).items():
        values = tuple(getattr(row, name) for name in row.__struct_fields__ if name not in ("arrival_us", "version"))
        if isinstance(row, HandoffWindow) and not (row.started or row.completed or row.overdue or row.backlog):
            continue
        out[key] = tuple(tuple(sorted(v.items())) if isinstance(v, dict) else v for v in values)
    return out


def _passes(rows: list) -> dict[tuple[object, ...], tuple[object, ...]]:
    """Final passes; which of two repeats is called the duplicate depends on which came first, and is left out."""
    return {
        key: (row.started_at_us, row.ended_at_us, row.deadline_at_us, row.status, row.scope)
        for key, row in final(rows, HandoffPass).items()
        if row.status != "duplicate"
    }


@pytest.mark.parametrize("lanes", [1, 3])
def test_nothing_is_lost_and_nothing_counted_twice(lanes: int) -> None:
    made = [Fact(n, "order.created", n, n, 0, n % 7 == 0, n % 10) for n in range(500)]
    log = log_of(made, broken=True)
    rows = PurePipeline(log, pipeline_settings(lanes=lanes, groups=3), 37).run()
    kinds = [type(row).__name__ for row in rows]
    messages = sum(len(messages) for messages in log.values())
    health = [row for row in rows if type(row).__name__ == "Health"]
    assert sum(row.messages for row in health) == messages
    assert sum(row.events for row in health) + sum(row.dead_letters for row in health) == messages
    assert kinds.count("DeadLetter") == sum(row.dead_letters for row in health) == sum(f.value == 0 for f in made)
    assert kinds.count("DuplicateEvent") == sum(f.twice for f in made)
