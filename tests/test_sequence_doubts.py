"""Sequence findings that follow from a wrong clock alone are withheld and counted; all others are told."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflows.flow import Stop
from dataflows.telemetry import Telemetry
from dataflows.watch import JobWatch
from operators.site_group import SiteGroup
from schemas.rows import Row
from tests.clock_logs import (
    OMS,
    SHOP,
    WMS,
    OrderLog,
    WrongClock,
    minute_of,
    orders,
    out_of_sequence,
    passes_out_of_sequence,
)
from tests.harness import PurePipeline, encoded
from tests.harness import settings as pipeline_settings

FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
JUMP = 13  # a clock's usual delay is known after ten minutes


def run(log: OrderLog) -> tuple[list[Row], dict[str, int]]:
    """The rows, and how many findings were withheld by source."""
    job = PurePipeline(log.partitions, pipeline_settings(), 1_000)
    rows = job.run()
    site = job.groups["site:0000"]
    assert isinstance(site, SiteGroup)
    return rows, dict(site.withheld)


# --- the whole way -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "clock",
    [
        WrongClock(OMS, -1_200, begin=JUMP),
        WrongClock(WMS, -600, begin=JUMP, end=20.5),  # and right again in the same minute
        WrongClock(SHOP, 240, begin=JUMP),
        WrongClock(OMS, 90),
        WrongClock(SHOP, 20, begin=JUMP),
    ],
    ids=["oms 20 min behind", "wms 10 min behind for a while", "shop 4 min ahead", "oms ahead for ever", "shop 20 s"],
)
def test_what_a_clock_alone_puts_out_of_order_is_withheld_and_counted(clock: WrongClock) -> None:
    log = orders(26, [clock])
    rows, withheld = run(log)
    assert len(log.dated) > 30
    assert not log.truly
    assert out_of_sequence(rows) == set()
    assert passes_out_of_sequence(rows) == log.dated  # a pass says what its times are
    assert withheld == {clock.source: len(log.dated)}


def test_what_was_withheld_is_reported_by_source() -> None:
    job = PurePipeline(orders(20, [WrongClock(OMS, -600, begin=JUMP)]).partitions, pipeline_settings(), 1_000)
    job.run()
    telemetry = Telemetry()
    watch = JobWatch(telemetry, Stop(), lambda: 0, 8.0)
    for group in job.groups.values():
        watch.group_kept(group, 0.0, 0)
    assert 'andon_withheld_findings{source="oms-1"} 42.0' in telemetry.render().decode()


def test_a_clock_that_was_always_behind_is_known_after_half_an_hour() -> None:
    rows, withheld = run(orders(40, [WrongClock(OMS, -90)]))
    told = {minute_of(step) for step in out_of_sequence(rows)}
    assert told == set(range(29))
    assert withheld == {OMS: 66}


def test_a_real_wrong_order_larger_than_the_offset_is_found() -> None:
    log = orders(22, [WrongClock(OMS, -600, begin=JUMP)], early_s={96: 60.0, 108: 60.0})
    assert log.truly == {("o96", "approval"), ("o108", "approval")}
    assert out_of_sequence(run(log)[0]) == log.truly


def test_a_real_wrong_order_of_right_clocks_is_told_at_once_while_another_is_wrong() -> None:
    log = orders(22, [WrongClock(WMS, -600, begin=JUMP)], early_s={100: 30.0})
    rows, _ = run(log)
    assert out_of_sequence(rows) == {("o100", "approval")}
    assert len(log.dated) > 40


def test_what_a_slow_queue_brings_late_is_no_clock_s_fault() -> None:
    queued_s = {minute: 60.0 * (minute - JUMP) for minute in range(JUMP, 22)}
    log = orders(24, early_s={102: 90.0, 114: 300.0}, queued_s=queued_s)
    assert out_of_sequence(run(log)[0]) == log.truly == {("o102", "approval"), ("o114", "approval")}


def test_a_sender_that_is_always_slow_but_not_always_as_slow_has_no_wrong_clock() -> None:
    queued_s = {minute: 90.0 + 60 * (minute // 5 % 2) for minute in range(40)}
    log = orders(40, early_s={216: 60.0}, queued_s=queued_s)
    assert out_of_sequence(run(log)[0]) == log.truly == {("o216", "approval")}


def test_a_feed_that_delays_all_messages_alike_is_no_clock_that_was_always_behind() -> None:
    """What follows an approval is known before it is: so it is late. Nothing that is true is withheld."""
    log = orders(40, early_s=dict.fromkeys(range(186, 240, 12), 60.0), queued_s=dict.fromkeys(range(40), 90.0))
    rows, withheld = run(log)
    assert out_of_sequence(rows) == log.truly != set()
    assert withheld == {}


def test_a_clock_that_was_always_behind_is_not_taken_for_a_delay_by_what_truly_ended_early() -> None:
    clock = WrongClock(OMS, -90)
    log = orders(45, [clock], early_s=dict.fromkeys(range(180, 270, 7), 20.0))
    rows, withheld = run(log)
    assert {step for step in out_of_sequence(rows) if minute_of(step) > 30} <= log.truly
    assert withheld[OMS] > 60


@FEW
@given(
    delay_s=st.integers(70, 900),
    early=st.dictionaries(st.integers(190, 260), st.integers(3, 900), max_size=5),
    seed=st.integers(0, 9),
    groups=st.integers(1, 3),
)
def test_what_is_told_of_a_feed_with_a_fixed_delay_is_what_truly_was(
    delay_s: int, early: dict[int, int], seed: int, groups: int
) -> None:
    log = orders(
        45,
        early_s={n: float(s) for n, s in early.items()},
        queued_s=dict.fromkeys(range(-20, 45), float(delay_s)),
        seed=seed,
    )
    job = PurePipeline(log.partitions, pipeline_settings(groups=groups), 1_000)
    assert out_of_sequence(job.run()) == log.truly


@FEW
@given(
    source=st.sampled_from([SHOP, OMS, WMS]),
    ahead_s=st.one_of(st.integers(5, 290), st.integers(-1_200, -240)),
    early=st.dictionaries(st.integers(90, 125), st.integers(60, 300), max_size=4),
    seed=st.integers(0, 9),
)
def test_what_is_told_is_what_truly_was_out_of_order(
    source: str, ahead_s: int, early: dict[int, int], seed: int
) -> None:
    """Of what is dated in the wrong order, that is: what a clock hides nobody sees."""
    log = orders(
        23, [WrongClock(source, ahead_s, begin=JUMP)], early_s={n: float(s) for n, s in early.items()}, seed=seed
    )
    rows, withheld = run(log)
    assert out_of_sequence(rows) == log.truly & log.dated
    assert passes_out_of_sequence(rows) == log.dated
    assert sum(withheld.values()) == len(log.dated - log.truly)


# --- a function of the log alone -----------------------------------------------------------------------------------


def wrong_clocks(seed: int) -> OrderLog:
    clocks = [WrongClock(OMS, -600, begin=JUMP, end=18), WrongClock(SHOP, 45, begin=15)]
    return orders(21, clocks, early_s={85: 20.0, 100: 700.0}, seed=seed)


@FEW
@given(seed=st.integers(0, 9), batch=st.integers(1, 90), lanes=st.integers(1, 3), groups=st.integers(1, 4))
def test_what_is_told_does_not_depend_on_batches_lanes_or_groups(
    seed: int, batch: int, lanes: int, groups: int
) -> None:
    log = wrong_clocks(seed)
    plain = PurePipeline(log.partitions, pipeline_settings(), 1_000).run()
    cut = PurePipeline(log.partitions, pipeline_settings(lanes=lanes, groups=groups), batch).run()
    assert encoded(cut) == encoded(plain)


@FEW
@given(
    seed=st.integers(0, 9),
    batch=st.integers(5, 60),
    kills=st.sets(st.integers(1, 60), max_size=5),
    lanes=st.integers(1, 2),
)
def test_what_is_told_does_not_depend_on_where_the_job_was_killed(
    seed: int, batch: int, kills: set[int], lanes: int
) -> None:
    log = wrong_clocks(seed)
    plain = PurePipeline(log.partitions, pipeline_settings(lanes=lanes, groups=2), batch)
    killed = PurePipeline(log.partitions, pipeline_settings(lanes=lanes, groups=2), batch)
    steps = 0
    while not killed.ended:
        for lane in killed.settings.lanes:
            killed.step(lane)
            steps += 1
            if steps in kills:
                killed.keep_and_restore()
    assert encoded(killed.rows) == encoded(plain.run())
    assert _withheld(killed) == _withheld(plain) != {}


def _withheld(job: PurePipeline) -> dict[str, int]:
    site = job.groups["site:0000"]
    assert isinstance(site, SiteGroup)
    return dict(site.withheld)
