"""What a process knows of itself: numbers that add up, progress, readiness, and input that can't be used."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from dataflows.input_limit import InputLimit
from dataflows.status import ProcessStatus, Series, quantile
from dataflows.telemetry import REQUIRED, Telemetry
from schemas import metrics
from schemas.metric import Metric
from schemas.metrics import JOB_METRICS


class Clock:
    """Time that goes on when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_772_431_200.0 + self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telemetry(clock: Clock) -> Telemetry:
    return Telemetry(3, clock, clock.wall)


def samples(telemetry: Telemetry) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample that a Prometheus would read: (name, label values in order of label name) → value."""
    text = telemetry.render().decode()
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def status(telemetry: Telemetry) -> ProcessStatus:
    return msgspec.convert(telemetry.status(), ProcessStatus)


def series(telemetry: Telemetry, metric: Metric, *labels: str) -> Series:
    (found,) = [one for one in status(telemetry).metrics[metric.name] if tuple(one.labels.values()) == labels]
    return found


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_counters_grow_by_label(telemetry: Telemetry) -> None:
    telemetry.count(metrics.MESSAGES, 5, "orders")
    telemetry.count(metrics.MESSAGES, 7, "orders")
    telemetry.count(metrics.MESSAGES, 1, "erp")
    telemetry.count(metrics.WRITE_RETRIES)
    telemetry.count_many(metrics.EVENTS, {"order.created": 3, "sale.recorded": 2})
    telemetry.count_many(metrics.EVENTS, {"order.created": 1})
    found = samples(telemetry)
    assert found["andon_messages_total", ("orders",)] == 12
    assert found["andon_messages_total", ("erp",)] == 1
    assert found["andon_write_retries_total", ()] == 1
    assert found["andon_events_total", ("order.created",)] == 4
    assert found["andon_events_total", ("sale.recorded",)] == 2


def test_what_has_no_labels_is_there_from_the_beginning(telemetry: Telemetry) -> None:
    found = samples(telemetry)
    assert found["andon_duplicates_total", ()] == 0
    assert found["andon_epoch_seconds_count", ()] == 0
    assert ("andon_store_up", ()) not in found, "nobody knows yet"


def test_gauges_stand_at_their_last_value_and_can_be_dropped(telemetry: Telemetry) -> None:
    telemetry.set(metrics.LAG_MESSAGES, 5, "orders", 0)
    telemetry.set(metrics.LAG_MESSAGES, 9, "orders", "0")
    telemetry.set(metrics.LAG_MESSAGES, 4, "orders", 1)
    telemetry.set(metrics.LAG_MESSAGES, 3, "erp", 0)
    assert samples(telemetry)["andon_lag_messages", ("0", "orders")] == 9
    telemetry.drop(metrics.LAG_MESSAGES, "orders", 1)
    assert ("andon_lag_messages", ("1", "orders")) not in samples(telemetry)
    telemetry.drop(metrics.LAG_MESSAGES, "orders")
    left = {labels for name, labels in samples(telemetry) if name == "andon_lag_messages"}
    assert left == {("0", "erp")}
    telemetry.drop(metrics.LAG_MESSAGES)
    telemetry.drop(metrics.LAG_MESSAGES, "never seen")
    assert not [name for name, _ in samples(telemetry) if name == "andon_lag_messages"]


def test_shares_of_a_sum_replace_each_other_source_by_source(telemetry: Telemetry) -> None:
    telemetry.share(metrics.STATE_ENTRIES, "case:0000", {("handoffs", "cases"): 5, ("dedup", "ids"): 10})
    telemetry.share(metrics.STATE_ENTRIES, "case:0001", {("handoffs", "cases"): 2})
    telemetry.share(metrics.STATE_ENTRIES, "case:0000", {("handoffs", "cases"): 1})
    found = samples(telemetry)
    assert found["andon_state_entries", ("handoffs", "cases")] == 3
    assert found["andon_state_entries", ("dedup", "ids")] == 0


@pytest.mark.parametrize(
    ("tell", "words"),
    [
        (lambda t: t.set(metrics.MESSAGES, 1, "orders"), "andon_messages_total is a counter, not a gauge"),
        (lambda t: t.count(metrics.STORE_UP), "andon_store_up is a gauge, not a counter"),
        (lambda t: t.observe(metrics.STORE_UP, 1), "not a histogram"),
        (lambda t: t.observe_many(metrics.MESSAGES, [1.0], "orders"), "not a histogram"),
        (lambda t: t.drop(metrics.MESSAGES), "not a gauge"),
        (lambda t: t.share(metrics.MESSAGES, "x", {("orders",): 1}), "not a gauge"),
        (lambda t: t.count(metrics.MESSAGES), r"has the labels \(topic\); got 0"),
        (lambda t: t.count(metrics.MESSAGES, 1, "a", "b"), r"has the labels \(topic\); got 2"),
        (lambda t: t.count_many(metrics.WRITE_RETRIES, {"a": 1}), r"has the labels \(\); got 1"),
        (lambda t: t.set(metrics.STORE_UP, 1, "a"), "got 1"),
        (lambda t: t.drop(metrics.LAG_SECONDS, "a", "b", "c"), "got 3"),
        (lambda t: t.share(metrics.STATE_ENTRIES, "x", {("handoffs",): 1}), "got 1"),
        (lambda t: t.observe(metrics.END_TO_END, 1.0), r"has the labels \(table\); got 0"),
        (lambda t: t.count(metrics.MESSAGES, -1, "orders"), "only grows; got -1"),
        (lambda t: t.observe(metrics.EPOCH_SECONDS, float("nan")), "was given nan"),
        (lambda t: t.observe_many(metrics.EPOCH_SECONDS, [1.0, float("nan")]), "not a finite number"),
        (lambda t: t.observe_many(metrics.EPOCH_SECONDS, [float("inf")]), "not a finite number"),
        (lambda t: t.count(Metric("andon_own_total", "counter", (), "x", "y")), "not in the catalogue"),
        (lambda t: t.observe(Metric("andon_own", "histogram", (), "x", "y", (1.0,)), 1.0), "not in the catalogue"),
    ],
)
def test_a_mistake_of_the_program_is_refused_and_leaves_nothing(
    telemetry: Telemetry, tell: Callable[[Telemetry], None], words: str
) -> None:
    before = samples(telemetry)
    with pytest.raises(ValueError, match=words):
        tell(telemetry)
    process = ("process_",)
    assert {k: v for k, v in samples(telemetry).items() if not k[0].startswith(process)} == {
        k: v for k, v in before.items() if not k[0].startswith(process)
    }


# --- histograms -------------------------------------------------------------------------------------------------------

BOUNDS = metrics.END_TO_END.buckets
VALUES = st.one_of(st.sampled_from(BOUNDS), st.floats(-5, 5_000, allow_nan=False), st.integers(0, 4_000).map(float))


def buckets(telemetry: Telemetry, metric: Metric, *labels: str) -> list[float]:
    found = samples(telemetry)
    bounds = [*map(repr, metric.buckets), "+Inf"]
    return [
        found[
            f"{metric.name}_bucket",
            tuple(v for _, v in sorted(zip((*metric.labels, "le"), (*labels, bound), strict=True))),
        ]
        for bound in bounds
    ]


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(VALUES, max_size=30), max_size=5))
def test_many_at_once_one_by_one_and_counted_by_hand_are_the_same(batches: list[list[float]]) -> None:
    many, single = Telemetry(), Telemetry()
    for batch in batches:
        many.observe_many(metrics.END_TO_END, batch, "signal_log")
        for value in batch:
            single.observe(metrics.END_TO_END, value, "signal_log")
    every = [max(value, 0.0) for batch in batches for value in batch]
    if not every:
        assert status(many).metrics[metrics.END_TO_END.name] == []
        return
    by_hand = [sum(value <= bound for value in every) for bound in (*BOUNDS, float("inf"))]
    for telemetry in (many, single):
        assert buckets(telemetry, metrics.END_TO_END, "signal_log") == by_hand
        found = samples(telemetry)
        assert found["andon_end_to_end_seconds_count", ("signal_log",)] == len(every)
        assert found["andon_end_to_end_seconds_sum", ("signal_log",)] == pytest.approx(sum(every))
        assert series(telemetry, metrics.END_TO_END, "signal_log").last == every[-1]


def test_arrays_are_taken_as_lists_are(telemetry: Telemetry) -> None:
    telemetry.observe_many(metrics.END_TO_END, np.array([0.05, 0.2, 7.0, 1e6]), "signal_log")
    telemetry.observe_many(metrics.END_TO_END, np.array([1, 2], dtype=np.int64), "signal_log")
    assert series(telemetry, metrics.END_TO_END, "signal_log").count == 6
    assert buckets(telemetry, metrics.END_TO_END, "signal_log")[-2:] == [5, 6]


def test_fifty_thousand_values_cost_milliseconds(telemetry: Telemetry) -> None:
    values = np.random.default_rng(1).exponential(3.0, 50_000)
    took = []
    for _ in range(10):
        began = time.perf_counter()
        telemetry.observe_many(metrics.END_TO_END, values, "signal_log")
        took.append(time.perf_counter() - began)
    assert min(took) < 0.02, "a loop over the values takes longer than that"


@given(
    st.lists(st.floats(0, 3_599, allow_nan=False), min_size=1, max_size=60), st.sampled_from([0.01, 0.5, 0.95, 0.99])
)
def test_a_quantile_lies_in_the_bucket_of_the_value_of_that_rank(values: list[float], q: float) -> None:
    edges = [0.0, *BOUNDS]
    counts = [
        sum(low < value <= high or (low == value == 0) for value in values)
        for low, high in zip(edges, BOUNDS, strict=False)
    ]
    exact = sorted(values)[max(0, int(np.ceil(q * len(values))) - 1)]
    found = quantile(BOUNDS, [*counts, 0], q)
    assert found is not None
    at = next(index for index, bound in enumerate(BOUNDS) if exact <= bound)
    assert edges[at] <= found <= BOUNDS[at]


def test_quantiles_without_values_and_beyond_the_last_bucket() -> None:
    assert quantile((1.0, 2.0), [0, 0, 0], 0.5) is None
    assert quantile((1.0, 2.0), [0, 0, 5], 0.5) == 2.0
    assert quantile((1.0, 2.0), [2, 2, 0], 0.75) == 1.5


# --- progress and readiness -------------------------------------------------------------------------------------------


def test_a_process_is_alive_while_it_makes_progress(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.stalled_after_s = 60
    assert telemetry.stalled() == ""
    clock.now += 60
    assert telemetry.stalled() == ""
    clock.now += 63
    assert telemetry.stalled() == "no progress for 123 s (bound 60 s)"
    assert telemetry.unhealthy() == "no progress for 123 s (bound 60 s)"
    assert samples(telemetry)["andon_healthy", ()] == 0
    telemetry.beat()
    assert telemetry.stalled() == telemetry.unhealthy() == ""
    found = samples(telemetry)
    assert found["andon_healthy", ()] == 1
    assert found["andon_last_progress_timestamp_seconds", ()] == clock.wall()
    clock.now += 5
    assert samples(telemetry)["andon_last_progress_timestamp_seconds", ()] == clock.wall() - 5


def test_a_process_is_ready_once_all_that_is_required_was_said_to_hold(telemetry: Telemetry, clock: Clock) -> None:
    for name in REQUIRED:
        assert samples(telemetry)["andon_ready", ()] == 0
        failing = {one.name: one.why for one in telemetry.conditions() if not one.ok}
        assert failing[name] == "not yet"
        telemetry.condition(name, ok=True)
    assert samples(telemetry)["andon_ready", ()] == 1
    telemetry.condition("store", ok=False, why="not reachable:\n  http://andon:hunter2@db:8123 said no")
    clock.now += 7
    (failing_now,) = [one for one in telemetry.conditions() if not one.ok]
    assert failing_now.name == "store"
    assert failing_now.why == "not reachable: http://andon:[redacted]@db:8123 said no"
    assert failing_now.since_s == 7
    found = samples(telemetry)
    assert (found["andon_ready", ()], found["andon_healthy", ()]) == (0, 1)
    assert found["andon_condition", ("store",)] == 0
    assert found["andon_condition", ("source",)] == 1
    telemetry.condition("store", ok=False, why="still away")
    assert [one.since_s for one in telemetry.conditions() if not one.ok] == [7], "since when, not since the last word"
    telemetry.condition("store", ok=True, why="ignored")
    assert samples(telemetry)["andon_ready", ()] == 1


def test_a_condition_that_was_not_required_counts_from_its_first_word(telemetry: Telemetry) -> None:
    for name in REQUIRED:
        telemetry.condition(name, ok=True)
    telemetry.condition("peers", ok=False, why="process 1 has not come up")
    assert samples(telemetry)["andon_ready", ()] == 0


def test_a_stalled_process_is_not_ready(telemetry: Telemetry, clock: Clock) -> None:
    for name in REQUIRED:
        telemetry.condition(name, ok=True)
    clock.now += 61
    assert [(one.name, one.why) for one in telemetry.conditions() if not one.ok] == [
        ("progress", "no progress for 61 s (bound 60 s)")
    ]
    assert samples(telemetry)["andon_ready", ()] == 0


# --- dead letters -----------------------------------------------------------------------------------------------------


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[tuple[str, str]]]]:
    caplog.set_level(logging.INFO, "andon")

    def records() -> list[tuple[str, str]]:
        return [(record.levelname, record.andon_fields[0]) for record in caplog.records]  # type: ignore[attr-defined] # put there by the log

    return records


CROSSED, BACK = ("ERROR", "dead_letters_over_limit"), ("WARNING", "dead_letters_back_within_limit")


def test_too_many_dead_letters_make_the_job_unhealthy_and_are_said_once(
    clock: Clock, said: Callable[[], list[tuple[str, str]]]
) -> None:
    telemetry = Telemetry(0, clock, clock.wall, required=(), limit=InputLimit(window_s=300, ratio=0.1, minimum=100))
    telemetry.dead_letter_window(900, 0)
    telemetry.beat()
    assert samples(telemetry)["andon_ready", ()] == samples(telemetry)["andon_healthy", ()] == 1
    telemetry.dead_letter_window(100, 100)
    assert telemetry.unhealthy() == "", "a tenth is the limit, not over it"
    telemetry.dead_letter_window(10, 10)
    found = samples(telemetry)
    assert (found["andon_ready", ()], found["andon_healthy", ()]) == (0, 0)
    assert found["andon_condition", ("input",)] == 0
    assert found["andon_dead_letter_ratio", ()] == pytest.approx(110 / 1010)
    assert telemetry.unhealthy() == (
        "10.9% of the 1,010 messages of the last 300 s were dead letters (limit 10.0%); "
        "`andon dlq list` says what is wrong with them"
    )
    assert telemetry.stalled() == "", "restarting would not help"
    for _ in range(5):
        telemetry.dead_letter_window(10, 5)
    assert said() == [CROSSED]
    telemetry.dead_letter_window(5_000, 0)
    assert samples(telemetry)["andon_healthy", ()] == 1
    assert samples(telemetry)["andon_ready", ()] == 1
    telemetry.dead_letter_window(10, 0)
    assert said() == [CROSSED, BACK]


def test_few_messages_are_no_measure(clock: Clock, said: Callable[[], list[tuple[str, str]]]) -> None:
    telemetry = Telemetry(0, clock, clock.wall, required=(), limit=InputLimit(minimum=100))
    telemetry.dead_letter_window(99, 99)
    assert telemetry.unhealthy() == ""
    telemetry.dead_letter_window(1, 0)
    assert telemetry.unhealthy() != ""
    assert said() == [CROSSED]


def test_the_window_slides(clock: Clock, said: Callable[[], list[tuple[str, str]]]) -> None:
    telemetry = Telemetry(0, clock, clock.wall, required=(), limit=InputLimit(window_s=60, ratio=0.5, minimum=10))
    telemetry.dead_letter_window(100, 100)
    clock.now += 30
    telemetry.dead_letter_window(50, 0)
    assert telemetry.unhealthy() != ""
    clock.now += 29
    telemetry.beat()
    assert telemetry.unhealthy() != "", "the dead letters are still in the window"
    clock.now += 2
    assert telemetry.unhealthy() == "", "told by the clock alone"
    assert samples(telemetry)["andon_dead_letter_ratio", ()] == 0
    assert said() == [CROSSED, BACK]


def test_it_stays_unhealthy_while_what_is_left_in_the_window_is_bad(clock: Clock) -> None:
    telemetry = Telemetry(0, clock, clock.wall, required=(), limit=InputLimit(window_s=60, ratio=0.5, minimum=100))
    telemetry.dead_letter_window(100, 100)
    clock.now += 30
    telemetry.dead_letter_window(20, 20)
    clock.now += 45
    telemetry.beat()
    assert telemetry.unhealthy() != "", "20 of 20; that they are few does not make them good"
    clock.now += 20
    assert telemetry.unhealthy() == ""


@hypothesis_settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 40), st.integers(0, 50), st.integers(0, 50)), max_size=40))
def test_the_ratio_is_that_of_the_window_give_or_take_a_sixtieth_of_it(steps: Sequence[tuple[float, int, int]]) -> None:
    clock = Clock()
    telemetry = Telemetry(0, clock, clock.wall, limit=InputLimit(window_s=60, ratio=1.0))
    told: list[tuple[float, int, int]] = []
    for pause, good, dead in steps:
        clock.now += pause
        told.append((clock.now, good + dead, dead))
        telemetry.dead_letter_window(good + dead, dead)
        inside = [one for one in told if clock.now - one[0] < 59]
        touching = [one for one in told if clock.now - one[0] <= 61]
        ratio = samples(telemetry)["andon_dead_letter_ratio", ()]
        least_dead, most_dead = sum(one[2] for one in inside), sum(one[2] for one in touching)
        least, most = sum(one[1] for one in inside), sum(one[1] for one in touching)
        assert least_dead / max(most, 1) - 1e-9 <= ratio <= min(1.0, most_dead / max(least, 1)) + 1e-9


# --- status -----------------------------------------------------------------------------------------------------------


def test_rates_are_those_of_the_last_ten_seconds(telemetry: Telemetry, clock: Clock) -> None:
    for second in range(30):
        clock.now += 1
        telemetry.count(metrics.MESSAGES, 1_000 if second < 15 else 100, "orders")
        telemetry.beat()
    found = series(telemetry, metrics.MESSAGES, "orders")
    assert found.value == 16_500
    assert found.per_second == pytest.approx(100)
    clock.now += 100
    assert (series(telemetry, metrics.MESSAGES, "orders").per_second or 0) < 10, "nothing has come for long"
    for _ in range(12):
        clock.now += 1
        telemetry.status()
    assert series(telemetry, metrics.MESSAGES, "orders").per_second == 0


def test_rates_right_after_the_start(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.count(metrics.MESSAGES, 50, "orders")
    assert series(telemetry, metrics.MESSAGES, "orders").per_second == 0, "no time has passed"
    clock.now += 2
    assert series(telemetry, metrics.MESSAGES, "orders").per_second == 25


def test_quantiles_are_those_of_the_last_minute(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.observe_many(metrics.END_TO_END, [100.0] * 50, "signal_log")
    for _ in range(61):
        clock.now += 1
        telemetry.beat()
    telemetry.observe_many(metrics.END_TO_END, [0.2] * 10, "signal_log")
    found = series(telemetry, metrics.END_TO_END, "signal_log")
    assert found.count == 60
    assert sum(found.recent) == 10
    assert found.p99 is not None
    assert found.p99 <= 0.25
    for _ in range(61):
        clock.now += 1
        telemetry.beat()
    silent = series(telemetry, metrics.END_TO_END, "signal_log")
    assert (silent.p50, silent.last, silent.count) == (None, 0.2, 60)


def test_what_is_kept_for_rates_is_bounded(telemetry: Telemetry, clock: Clock) -> None:
    for _ in range(1_000):
        clock.now += 0.25
        telemetry.beat()
    assert len(telemetry._samples) <= 62


def test_status_says_all_of_it_in_json(telemetry: Telemetry, clock: Clock) -> None:
    clock.now += 5
    found = msgspec.json.decode(msgspec.json.encode(telemetry.status()), type=ProcessStatus)
    assert (found.process, found.uptime_s, found.idle_s) == (3, 5, 5)
    assert (found.alive, found.healthy, found.ready) == (True, True, False)
    assert found.at == "2026-03-02T06:16:45Z"
    assert [one.name for one in found.conditions] == ["progress", *REQUIRED]
    assert list(found.metrics) == [metric.name for metric in JOB_METRICS]


# --- exposition and threads -------------------------------------------------------------------------------------------


def test_a_prometheus_can_read_it_with_help_types_and_odd_labels(telemetry: Telemetry) -> None:
    odd = 'a "quoted"\\ name\nof two lines – ü'
    telemetry.count(metrics.MESSAGES, 1, odd)
    families = {family.name: family for family in text_string_to_metric_families(telemetry.render().decode())}
    for metric in JOB_METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
    assert [sample.labels["topic"] for sample in families["andon_messages"].samples] == [odd]
    build = families["andon_build_info"].samples[0].labels
    assert build == {"version": telemetry.version, "process": "3"}
    if sys.platform == "linux":
        assert families["process_resident_memory_bytes"].samples[0].value > 1e6
        assert "process_cpu_seconds" in families


def test_two_in_one_process_know_nothing_of_each_other() -> None:
    one, other = Telemetry(0), Telemetry(1)
    one.count(metrics.DUPLICATES, 5)
    assert samples(other)["andon_duplicates_total", ()] == 0


def test_it_is_told_and_asked_from_several_threads_without_losing_a_count(telemetry: Telemetry) -> None:
    begin, failures = threading.Barrier(5), []

    def tell(name: int) -> None:
        begin.wait()
        for turn in range(2_000):
            telemetry.count(metrics.DUPLICATES)
            telemetry.count(metrics.EVENTS, 1, f"type-{name}-{turn % 50}")
            telemetry.observe(metrics.EPOCH_SECONDS, 1.0)
            telemetry.set(metrics.LAG_MESSAGES, turn, "orders", turn % 40)

    def ask() -> None:
        begin.wait()
        try:
            for _ in range(20):
                telemetry.render()
                telemetry.status()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test is to show it
            failures.append(error)

    threads = [threading.Thread(target=tell, args=(name,)) for name in range(4)] + [threading.Thread(target=ask)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that threads meet within a call, not only between calls
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []
    found = samples(telemetry)
    assert found["andon_duplicates_total", ()] == 8_000
    assert found["andon_epoch_seconds_count", ()] == 8_000
