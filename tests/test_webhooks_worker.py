"""One endpoint's deliveries as timed scripts: what is sent, when, in which order, and nothing else."""

import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as options
from hypothesis import strategies as st

from schemas.durations import Duration, Instant
from schemas.incident_rows import Alert
from sinks.webhooks.pauses import Breaker, Schedule
from sinks.webhooks.receivers.alertmanager import Alertmanager
from sinks.webhooks.receivers.jsm import JsmOperations
from sinks.webhooks.receivers.parts import Parts
from sinks.webhooks.secret_values import Secret
from sinks.webhooks.settings import DeliverySettings
from sinks.webhooks.verdicts import Answer
from tests.webhook_alerts import NOON_US, alert, resolved
from tests.webhook_bench import SECOND, Bench, Said

_DEAD = Answer(error="no connection: Connection refused")


def _settings(**changes: str | int) -> DeliverySettings:
    plain = {name: Duration.parse(one) if isinstance(one, str) else one for name, one in changes.items()}
    return msgspec.structs.replace(DeliverySettings(), **plain)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes the test's bench, and closes its outbox."""
    made: list[Bench] = []

    def one(*says: Said, **parts: Any) -> Bench:  # noqa: ANN401 - as Bench takes them
        made.append(Bench(tmp_path, *says, **parts))
        return made[-1]

    yield one
    for bench in made:
        bench.outbox.close()


def _outcomes(bench: Bench) -> list[tuple[str, int, str]]:
    return [(one.alert_id.rpartition(":")[2], one.attempt, one.outcome) for one in bench.records()]


def test_what_goes_well_goes_out_at_once_in_its_order_and_once(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.put(resolved(3), alert(2), alert(1))
    bench.put(alert(2), alert(1))
    bench.run(3_600)
    assert (bench.keys, bench.times) == (["1", "2", "3"], [0.0, 0.0, 0.0])
    assert _outcomes(bench) == [("1", 1, "delivered"), ("2", 1, "delivered"), ("3", 1, "delivered")]


def test_retries_follow_the_schedule_and_hold_their_group_back(make: Callable[..., Bench]) -> None:
    bench = make(503, _DEAD, 500, settings=_settings(retry_first="10s", breaker_failures=100))
    bench.put(alert(1), alert(2))
    bench.run(3_600)
    assert bench.keys == ["1", "1", "1", "1", "2"]
    pauses = [after - before for before, after in pairwise(bench.times)]
    for pause, longest in zip(pauses, (10.0, 20.0, 40.0), strict=False):
        assert longest / 2 <= pause <= longest
    assert pauses[3] == 0
    failed = [("1", number, "retrying") for number in (1, 2, 3)]
    assert _outcomes(bench) == [*failed, ("1", 4, "delivered"), ("2", 1, "delivered")]
    assert [one.http_status for one in bench.records()] == [503, None, 500, 200, 200]


def test_one_groups_trouble_does_not_hold_another_back(make: Callable[..., Bench]) -> None:
    bench = make(503, settings=_settings(retry_first="10s"))
    bench.put(alert(1), alert(2), alert(1, group="other"), alert(2, group="other"))
    bench.run(3_600)
    sent = [(at_s, request.headers["Idempotency-Key"].split(":")[1]) for at_s, request in bench.sent]
    assert [at_s for at_s, group in sent if group != sent[0][1]] == [0, 0]
    assert len(sent) == 5


def test_the_pauses_are_drawn_between_half_and_all_of_what_doubles() -> None:
    schedule = Schedule(5 * SECOND, 600 * SECOND)
    drawn = random.Random(3)
    for failures in range(1, 200):
        longest = min(5 * 2 ** (failures - 1), 600) * SECOND
        assert longest / 2 <= schedule.pause_us(failures, drawn) <= longest
    same = [Schedule(SECOND, 60 * SECOND).pause_us(3, random.Random(9)) for _ in range(2)]
    assert same[0] == same[1]


def test_retry_after_holds_the_whole_endpoint_back(make: Callable[..., Bench]) -> None:
    bench = make(Answer(429, {"retry-after": "120"}))
    bench.put(alert(1), alert(1, group="other"))
    bench.run(119)
    assert len(bench.sent) == 1
    bench.run(3_600)
    assert bench.times == [0.0, 120.0, 120.0]


def test_410_disables_until_a_person_enables(make: Callable[..., Bench]) -> None:
    bench = make(410)
    bench.put(alert(1), alert(2), alert(1, group="other"))
    bench.run(3_600)
    assert len(bench.sent) == 1
    assert bench.outbox.disabled() == {"ops": (NOON_US, "HTTP 410")}
    assert _outcomes(bench) == [("1", 1, "disabled")]
    assert bench.told.lines == ["1/1 disabled", "ops disabled: HTTP 410"]
    assert bench.outbox.enable("ops")
    assert not bench.outbox.enable("ops")
    bench.run(3_700)
    assert sorted(bench.keys[1:]) == ["1", "1", "2"]
    assert bench.outbox.figures.counts() == {"ops": {"delivered": 3}}


def test_a_disabled_endpoints_alerts_go_to_the_dead_letters_in_the_end(make: Callable[..., Bench]) -> None:
    bench = make(410, settings=_settings(give_up_after="1h"))
    bench.put(alert(1), alert(2))
    bench.run(2 * 3_600)
    assert [one.detail for one in bench.outbox.dead()] == ["the endpoint is disabled"] * 2


def test_what_the_receiver_will_never_take_is_given_up_and_the_next_follows(make: Callable[..., Bench]) -> None:
    bench = make(Answer(422, text="no such team"))
    bench.put(alert(1), alert(2))
    bench.run(60)
    assert (bench.keys, bench.times) == (["1", "2"], [0.0, 0.0])
    (dead,) = bench.outbox.dead()
    assert (dead.sequence, dead.http_status, dead.attempts, dead.detail) == (1, 422, 1, "HTTP 422: no such team")
    assert _outcomes(bench) == [("1", 1, "rejected"), ("2", 1, "delivered")]


def test_the_breaker_lets_one_attempt_through_at_a_time(make: Callable[..., Bench]) -> None:
    """100 groups wait for an endpoint that is dead for an hour: few attempts, then all go out, each once."""
    rules = _settings(retry_first="1s", retry_longest="10s", breaker_pause="30s", breaker_longest="10m")
    bench = make(always=_DEAD, settings=rules)
    bench.put(*(alert(1, group=str(number)) for number in range(100)))
    bench.run(3_600)
    assert 8 <= len(bench.sent) <= 20
    assert bench.told.lines.count("ops open: no connection: Connection refused") == 1
    gaps = [after - before for before, after in pairwise(bench.times[5:])]
    assert all(gap >= 15 for gap in gaps)
    assert max(gaps) <= 600
    failed = len(bench.sent)
    bench.say(always=200)
    bench.run(3_600 + 601)
    assert len(bench.sent) == failed + 100
    assert len({request.headers["Idempotency-Key"] for _, request in bench.sent[failed:]}) == 100
    assert bench.told.lines.count("ops closed") == 1


def test_a_rejected_request_is_no_trouble_of_the_endpoint() -> None:
    breaker = Breaker(2, Schedule(SECOND, SECOND))
    drawn = random.Random(1)
    breaker.failed(0, drawn)
    assert not breaker.answered()
    breaker.failed(0, drawn)
    assert breaker.free_at_us() == 0
    breaker.failed(0, drawn)
    assert breaker.is_open
    assert SECOND // 2 <= breaker.free_at_us() <= SECOND
    assert breaker.answered()
    assert not breaker.is_open


def test_what_can_not_be_delivered_in_time_is_given_up_with_all_that_waits_as_long(make: Callable[..., Bench]) -> None:
    bench = make(always=503, settings=_settings(give_up_after="1h"))
    bench.put(alert(1), alert(2), resolved(3), alert(1, group="other"))
    bench.run(1_800)
    bench.put(alert(1, group="younger"))
    bench.run(3_600 + 601)
    assert {(one.group_key, one.sequence) for one in bench.outbox.dead()} == {
        *(("kind=queue_saturation", number) for number in (1, 2, 3)),
        ("other", 1),
    }
    assert bench.outbox.figures.counts() == {"ops": {"dead": 4, "waiting": 1}}
    outcomes = {(one.alert_id, one.outcome) for one in bench.records()}
    assert {alert_id for alert_id, outcome in outcomes if outcome == "dead"} == {
        *(f"ops:kind=queue_saturation:{number}" for number in (1, 2, 3)),
        "ops:other:1",
    }


def test_an_alert_that_is_old_when_it_comes_pages_nobody(make: Callable[..., Bench]) -> None:
    bench = make(settings=_settings(stale_after="1h"))
    old = NOON_US - 3_601 * SECOND
    bench.put(alert(1, sent_at_us=old), alert(2, sent_at_us=NOON_US - 3_600 * SECOND))
    bench.run(60)
    assert bench.keys == ["2"]
    (dead,) = bench.outbox.dead()
    assert dead.detail == "it was 60 min old when it came (stale_after)"
    assert bench.outbox.replay(bench.now_us, alert_ids=["ops:kind=queue_saturation:1"]) == 1
    bench.run(120)
    assert bench.keys == ["2"]
    assert bench.outbox.dead()[0].detail == "a later one of its group was delivered before (number 2)"


def test_the_end_of_what_was_told_is_told_however_late(make: Callable[..., Bench]) -> None:
    bench = make(settings=_settings(stale_after="1h"))
    bench.put(alert(1), alert(1, group="stale", sent_at_us=NOON_US - 7_200 * SECOND))
    bench.run(10 * 3_600)
    bench.put(resolved(2), resolved(2, group="stale"))
    bench.run(10 * 3_600 + 60)
    assert [request.headers["Idempotency-Key"] for _, request in bench.sent] == [
        "ops:kind=queue_saturation:1",
        "ops:kind=queue_saturation:2",
    ]
    assert len(bench.outbox.dead()) == 2


def test_the_most_urgent_goes_first(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.put(*(alert(1, group=f"g{priority}", priority=priority) for priority in (3, 5, 1, 4, 2)))
    bench.run(1)
    assert [request.headers["Idempotency-Key"] for _, request in bench.sent] == [
        f"ops:g{number}:1" for number in range(1, 6)
    ]


def test_an_alert_waits_a_while_for_the_one_before_it(make: Callable[..., Bench]) -> None:
    bench = make(settings=_settings(gap_wait="30s"))
    bench.put(alert(2))
    bench.run(10)
    assert bench.sent == []
    bench.put(alert(1))
    bench.run(20)
    assert (bench.keys, bench.times) == (["1", "2"], [10.0, 10.0])
    bench.put(resolved(4))
    bench.run(100)
    assert (bench.keys, bench.times[2]) == (["1", "2", "4"], 50.0)
    bench.put(alert(3))
    bench.run(200)
    assert bench.keys == ["1", "2", "4"]
    assert bench.outbox.dead()[0].detail == "a later one of its group was delivered before (number 4)"


def test_a_receiver_that_missed_the_beginning_is_told_it_with_the_next(make: Callable[..., Bench]) -> None:
    """JSM takes an update as a note, which is nothing where there is no alert to put it on."""
    bench = make(401, receiver=JsmOperations(Parts(key=Secret("a key of jsm"))))
    bench.put(alert(1), alert(2), alert(3))
    bench.run(1)
    assert [request.path.rpartition("/")[2] for _, request in bench.sent] == ["", "", "notes?identifierType=alias"]


def test_a_receiver_that_missed_a_new_beginning_is_told_it_with_the_next(make: Callable[..., Bench]) -> None:
    """What was told of the group before is over there: a note would be put on what is closed, and page nobody."""
    bench = make(200, 200, 401, receiver=JsmOperations(Parts(key=Secret("a key of jsm"))))
    bench.put(alert(1), resolved(2), alert(3), alert(4), alert(5))
    bench.run(1)
    paths = [request.path.rpartition("/")[2].partition("?")[0] for _, request in bench.sent]
    assert paths == ["", "close", "", "", "notes"]


def test_the_end_of_what_was_not_told_since_the_last_end_is_told_nobody_late(make: Callable[..., Bench]) -> None:
    bench = make(settings=_settings(stale_after="1h"))
    bench.put(alert(1), resolved(2))
    bench.run(10 * 3_600)
    bench.put(alert(3), resolved(4))  # sent at noon: a backfill decided them again
    bench.run(10 * 3_600 + 60)
    assert bench.keys == ["1", "2"]
    assert len(bench.outbox.dead()) == 2


def test_a_clock_that_is_put_back_holds_nothing_up_for_long(make: Callable[..., Bench]) -> None:
    bench = make(always=Answer(503, {"retry-after": "3600"}))
    bench.put(alert(1))
    bench.run(1)
    bench.put(alert(5, group="waits"))
    day_s = 86_400
    bench.now_us -= day_s * SECOND
    bench.say(always=200)
    bench.put(alert(1, group="other"))
    bench.run(60 - day_s)
    assert sorted(bench.keys[1:]) == ["1", "1", "5"]


def test_a_group_that_begins_anew_is_told_at_once(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.put(alert(1), resolved(2))
    bench.run(3_600)
    bench.put(alert(1, alert_id="ops:again:1", sent_at_us=bench.now_us))
    bench.run(3_700)
    assert (bench.keys, bench.times[-1]) == (["1", "2", "1"], 3_600.0)


def test_dead_letters_are_replayed_in_their_order(make: Callable[..., Bench]) -> None:
    bench = make(401, 401, 401)
    bench.put(alert(1), alert(2), resolved(3))
    bench.run(60)
    assert [one.sequence for one in bench.outbox.dead()] == [1, 2, 3]
    assert bench.outbox.replay(bench.now_us, receiver="nobody") == 0
    assert bench.outbox.replay(bench.now_us, receiver="ops") == 3
    bench.run(120)
    assert bench.keys == ["1", "2", "3"] * 2
    assert bench.outbox.dead() == []
    assert _outcomes(bench)[3:] == [("1", 2, "delivered"), ("2", 2, "delivered"), ("3", 2, "delivered")]


def test_a_slow_endpoint_is_asked_one_thing_at_a_time(make: Callable[..., Bench]) -> None:
    bench = make(takes_s=20.0)
    bench.put(alert(1), alert(2), alert(1, group="other"))
    bench.run(61)
    assert sorted(bench.times) == [0.0, 20.0, 40.0]
    assert [one.latency_ms for one in bench.records()] == [20_000.0] * 3


# --- what has to be said again ----------------------------------------------------------------------------------------


def _ends(bench: Bench) -> list[float]:
    """How long after each request the first alert in it lives, in seconds."""
    return [
        (Instant.parse(msgspec.json.decode(request.body)[0]["endsAt"]) - NOON_US) / SECOND - at_s
        for at_s, request in bench.sent
    ]


def test_alertmanager_hears_again_before_the_alert_ends_there(make: Callable[..., Bench]) -> None:
    bench = make(receiver=Alertmanager(Parts(resolve_after_us=300 * SECOND)))
    bench.put(alert(1))
    bench.run(1_000)
    assert bench.times == [float(at_s) for at_s in range(0, 1_000, 100)]
    assert _ends(bench) == [300.0] * 10
    bench.put(resolved(2, sent_at_us=bench.now_us))
    bench.run(5_000)
    assert bench.times[10:] == [1_000.0]
    assert _ends(bench)[10:] == [0.0]
    assert [one.attempt for one in bench.records()] == [1, 1]


def test_alertmanager_that_was_away_hears_as_soon_as_it_is_back(make: Callable[..., Bench]) -> None:
    rules = _settings(breaker_longest="60s")
    bench = make(receiver=Alertmanager(Parts(resolve_after_us=300 * SECOND)), settings=rules)
    bench.put(alert(1))
    bench.run(50)
    bench.say(always=_DEAD)
    bench.run(2_000)
    bench.say(always=200)
    bench.run(2_200)
    back_s = [at_s for at_s in bench.times if at_s >= 2_000]
    assert back_s[0] <= 2_100
    assert back_s[1] - back_s[0] == pytest.approx(100)


@pytest.mark.parametrize("refusal", [404, 410])
def test_alertmanager_that_refused_for_a_while_hears_of_what_holds_again(
    make: Callable[..., Bench], refusal: int
) -> None:
    """A proxy before it that knows nobody for a moment must not end what is open."""
    bench = make(200, refusal, receiver=Alertmanager(Parts(resolve_after_us=300 * SECOND)))
    bench.put(alert(1))
    bench.run(150)
    bench.outbox.enable("ops")
    bench.run(350)
    assert bench.times == [0.0, 100.0, 200.0, 300.0]
    assert _ends(bench)[2:] == [300.0, 300.0]


def test_alertmanager_hears_no_more_of_what_could_not_be_resolved(make: Callable[..., Bench]) -> None:
    bench = make(200, 400, receiver=Alertmanager(Parts(resolve_after_us=300 * SECOND)))
    bench.put(alert(1), resolved(2))
    bench.run(3_600)
    assert bench.times == [0.0, 0.0]
    assert bench.outbox.next_standing("ops") is None


def test_alertmanager_ends_what_it_knows_under_other_labels(make: Callable[..., Bench]) -> None:
    bench = make(receiver=Alertmanager(Parts()))
    bench.put(alert(1), alert(2, severity="critical"))
    bench.run(1)
    (first,), (second, before) = (msgspec.json.decode(request.body) for _, request in bench.sent)
    assert before["labels"] == first["labels"]
    assert before["endsAt"] == "2026-03-02T12:00:00Z"
    assert second["labels"] == first["labels"] | {"severity": "critical"}


# --- whatever goes wrong ----------------------------------------------------------------------------------------------

_TROUBLE = st.sampled_from([200, 200, 200, 429, 500, 503, 408, "lost", "crash"])


@given(
    troubles=st.lists(_TROUBLE, max_size=40),
    batches=st.lists(st.integers(1, 5), min_size=1, max_size=8),
    shuffled=st.randoms(use_true_random=False),
    seed=st.integers(0, 1_000),
)
@options(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_alert_arrives_in_the_order_of_its_group_whatever_goes_wrong(
    tmp_path_factory: pytest.TempPathFactory,
    troubles: list[int | str],
    batches: list[int],
    shuffled: random.Random,
    seed: int,
) -> None:
    """Alerts come in any order; answers get lost, endpoints fail, the process dies between sending and noting it."""
    alerts = [one for group in "abc" for one in [alert(1, group), alert(2, group), alert(3, group), resolved(4, group)]]
    shuffled.shuffle(alerts)
    arrived: list[str] = []
    bench = Bench(tmp_path_factory.mktemp("box"), seed=seed)
    left = list(troubles)

    def post(at_s: float) -> Answer:
        del at_s
        trouble = left.pop(0) if left else 200
        if trouble in (200, "lost", "crash"):
            arrived.append(bench.sent[-1][1].headers["Idempotency-Key"])
        if trouble == "crash":
            raise _CrashError
        return Answer(error="the connection was closed before an answer") if trouble == "lost" else Answer(int(trouble))

    bench.say(always=post)
    waiting = list(alerts)
    while waiting or bench.outbox.figures.oldest_waiting_us("ops") is not None:
        size = batches.pop(0) if batches else len(waiting)
        bench.put(*waiting[:size])
        del waiting[:size]
        try:
            bench.run(bench.at_s + (1 if waiting else 60))
        except _CrashError:
            bench.outbox.recover(bench.now_us)
    bench.outbox.close()
    assert set(arrived) == {one.alert_id for one in alerts}
    for group in "abc":
        first = [key for key in dict.fromkeys(arrived) if f":{group}:" in key]
        assert first == sorted(first), arrived
        assert [key for key in arrived if f":{group}:" in key] == sorted(
            key for key in arrived if f":{group}:" in key
        ), "an older one was repeated after a newer one"
    assert len(arrived) <= len(alerts) + sum(trouble in ("lost", "crash") for trouble in troubles)


class _CrashError(Exception):
    """The process dies here."""


def test_the_state_of_an_alert_says_nothing_of_another_receivers(make: Callable[..., Bench]) -> None:
    bench = make(always=410)
    other: list[Alert] = [alert(1, receiver="dev")]
    bench.put(alert(1), *other)
    bench.run(10)
    assert len(bench.sent) == 1
    assert bench.outbox.figures.counts() == {"ops": {"waiting": 1}, "dev": {"waiting": 1}}
    bench.outbox.close()
