"""Calls, dead letters, queues, late messages, clocks and feeds: what breaks is found, and what looks like it is not."""

import random

import msgspec
import pytest

from operators.detectors.calls import CallFailures, Calls
from operators.detectors.clocks import ClockWatch
from operators.detectors.delays import LateOrders, LateWatch
from operators.detectors.integration import IntegrationSettings, Traffic, refused_watch
from operators.detectors.integration_feeds import StoppedFeeds
from operators.detectors.integration_minute import heard_of, minute_of
from operators.detectors.order_book import OrderBook
from operators.detectors.policy import Override
from operators.detectors.queues import Queues, QueueWatch
from operators.detectors.settings import DetectorSettings
from operators.slices import Refused
from schemas.durations import DAY_US, MINUTE_US
from tests.capture_and_integration import Job, Log, Parts, later, named, opened, run, same_in_pieces, times
from tests.scripts import at


def parts(settings: DetectorSettings | None = None) -> Parts:
    """All of the family, as in a job."""
    used = settings or DetectorSettings()

    def made() -> tuple[list, list]:
        book, delays = OrderBook(DAY_US), used.integration.delays
        return [book, LateOrders(delays, book), Calls(), Queues()], [
            CallFailures(used.policy("integration.calls"), used.policy("integration.calls.rate")),
            refused_watch(used.policy("integration.refused")),
            QueueWatch(used.policy("integration.queues")),
            LateWatch(delays, used.policy("integration.delays.rate")),
            ClockWatch(),
            StoppedFeeds(),
        ]

    return made


# --- calls -----------------------------------------------------------------------------------------------------


def calls(
    log: Log, begin: str, end: str, status: str = "ok", every: int = 1, other: str = "ok", **fields: str
) -> list[str]:
    """A call every 20 s, each `every`-th of which ends with `status`; the cases of these."""
    hit = []
    for number, time in enumerate(times(begin, end, 20)):
        case = fields.get("case_id", f"o-{time}")
        status_now = other if number % every else status
        log.add(time, "call.completed", interface=fields.get("interface", "pay"), status=status_now, case_id=case)
        if status_now != "ok":
            hit.append(case)
    return hit


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("transport_error", "transport_fault"),
        ("schema_error", "schema_change"),
        ("rule_error", "rule_failure"),
        ("downstream_error", "downstream_outage"),
    ],
)
def test_each_class_of_failure_is_told_apart_and_its_cases_are_named(status: str, kind: str) -> None:
    log = Log()
    calls(log, "08:00", "10:00")
    hit = calls(log, "10:00", "11:00", status, every=2)
    calls(log, "11:00", "12:00")
    findings = same_in_pieces(parts(), log.in_order(), "13:00")
    first, last = opened(findings)
    assert "10:02" <= first <= f"10:06 {kind} interface=pay"
    assert first.endswith(f"{kind} interface=pay")
    assert last.startswith("11:")
    assert named(findings) == sorted(hit)


def test_the_class_of_most_failures_is_found_and_no_other() -> None:
    log = Log()
    calls(log, "08:00", "10:00")
    calls(log, "10:00", "11:00", "transport_error", every=3, other="downstream_error")
    assert [line.split(" ", 1)[1] for line in opened(run(parts(), log.in_order(), "11:00"))] == [
        "downstream_outage interface=pay"
    ]


def test_a_few_failures_as_ever_and_one_case_that_is_tried_again_and_again_are_no_finding() -> None:
    log = Log()
    calls(log, "08:00", "14:00", "transport_error", every=50)
    calls(log, "12:00", "12:10", "rule_error", case_id="o-1")
    assert run(parts(), log.in_order(), "14:00") == []


def test_an_override_for_an_interface_holds_there() -> None:
    log = Log()
    for interface in ("pay", "tax"):
        calls(log, "08:00", "10:00", interface=interface)
        calls(log, "10:00", "11:00", "rule_error", every=4, interface=interface)
    override = [Override(interface="tax", set={"integration.calls.rate.share": 0.6})]
    findings = run(parts(DetectorSettings(override=override)), log.in_order(), "11:00")
    assert [line.split(" ", 1)[1] for line in opened(findings)] == ["rule_failure interface=pay"]


# --- dead letters ----------------------------------------------------------------------------------------------


def refused(time: str, number: int, reason: str = "schema", path: str = "$.qty") -> Refused:
    return Refused(at(time), "orders", 0, number, "oms-1", "web", reason, path, f"o{number}")


def test_a_source_whose_messages_break_the_contract_is_found_with_the_orders_they_name() -> None:
    log = Log()
    calls(log, "08:00", "10:00")
    job = Job(parts())
    letters = [refused(time, number) for number, time in enumerate(times("09:00", "09:30", 60))]
    findings = job.take(log.in_order(), letters)
    findings += job.kept_and_restored().reach("11:00")
    assert opened(findings)[0].endswith("schema_change channel=web source=oms-1")
    assert opened(findings)[0] < "09:12"
    assert named(findings) == sorted(letter.order_id for letter in letters)


def test_a_dead_letter_in_a_hundred_thousand_and_other_reasons_are_no_schema_change() -> None:
    log = Log()
    calls(log, "08:00", "12:00")
    letters = [refused(time, number) for number, time in enumerate(times("08:00", "12:00", 7_200))]
    letters += [refused(time, 50 + number, "transport") for number, time in enumerate(times("09:00", "09:30", 60))]
    job = Job(parts())
    assert job.take(log.in_order(), sorted(letters)) + job.reach("12:00") == []


# --- queues ----------------------------------------------------------------------------------------------------


def samples(log: Log, begin: str, ages: list[float | None], depths: list[float], every: int = 2) -> None:
    for number, (age, depth) in enumerate(zip(ages, depths, strict=True)):
        fields = {} if age is None else {"oldest_age_s": age}
        log.add(later(begin, number * every), "queue.depth", queue="q", depth=depth, **fields)


def test_a_queue_in_which_messages_grow_old_is_found_and_closed_when_it_has_drained() -> None:
    log = Log()
    samples(log, "08:00", [2.0] * 60, [3.0] * 60)
    samples(log, "10:00", [60.0 * n for n in range(1, 31)], [20.0 * n for n in range(1, 31)])
    samples(
        log,
        "11:00",
        [1800 - 180.0 * n for n in range(1, 11)] + [1.0] * 10,
        [600 - 60.0 * n for n in range(1, 11)] + [2.0] * 10,
    )
    findings = same_in_pieces(parts(), log.in_order(), "12:00")
    first, last = opened(findings)
    assert "10:02" < first <= "10:08 queue_saturation queue=q"
    assert "11:15" < last < "11:30"
    assert at("09:58") <= findings[0].signal.opened_at_us <= at("10:04")


#: The oldest message (s) and how many wait, each minute: a quiet queue through which a message takes a minute or two.
SLOW = [
    (34, 2), (75, 3), (116, 2), (167, 1), (50, 2), (94, 3), (81, 2), (137, 1), (0, 0), (0, 0),
    (59, 1), (38, 3), (93, 2), (128, 1), (53, 1), (58, 1), (46, 1), (52, 1), (0, 0), (58, 4),
]  # fmt: skip


def test_a_quiet_queue_in_which_messages_come_and_go_slowly_is_found() -> None:
    log = Log()
    samples(log, "08:00", [0.2] * 120, [1.0] * 120, every=1)
    slow = [*SLOW, *SLOW[10:], *SLOW[10:]]
    samples(log, "10:00", [float(age) for age, _ in slow], [float(depth) for _, depth in slow], every=1)
    samples(log, "10:40", [0.2] * 40, [1.0] * 40, every=1)
    first, last = opened(same_in_pieces(parts(), log.in_order(), "11:20"))
    assert "10:07" < first < "10:10"
    assert "10:40" < last < "10:50"


@pytest.mark.parametrize(
    "burst",
    [
        [(100, 200), (170, 160), (150, 90), (120, 60), (80, 30), (60, 10), (2, 1)],  # it is being worked off
        [(170, 1), (175, 1), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0)],  # two that were stuck
    ],
)
def test_what_waits_for_a_few_minutes_is_no_saturation(burst: list[tuple[float, float]]) -> None:
    log = Log()
    samples(log, "08:00", [0.2] * 120, [1.0] * 120, every=1)
    samples(log, "10:00", [float(age) for age, _ in burst], [float(depth) for _, depth in burst], every=1)
    samples(log, "10:20", [0.2] * 20, [1.0] * 20, every=1)
    assert run(parts(), log.in_order(), "10:40") == []


def test_a_burst_that_a_queue_is_getting_through_is_no_saturation() -> None:
    log = Log()
    samples(log, "08:00", [2.0] * 60, [3.0] * 60)
    samples(log, "10:00", [20.0, 60.0, 110.0, 170.0, 5.0], [10.0, 500.0, 273.0, 33.0, 2.0])
    samples(log, "10:10", [2.0] * 20, [3.0] * 20)
    assert same_in_pieces(parts(), log.in_order(), "11:00") == []


def test_a_queue_without_ages_is_judged_by_its_depth() -> None:
    log = Log()
    samples(log, "08:00", [None] * 60, [3.0] * 60)
    samples(log, "10:00", [None] * 15, [20.0 * n for n in range(1, 16)])
    assert opened(run(parts(), log.in_order(), "10:30"))[0].endswith("queue_saturation queue=q")


def test_one_sample_a_drain_and_a_peak_as_yesterday_are_no_finding() -> None:
    log = Log()
    peak = [2.0, 40.0, 90.0, 110.0, 95.0, 50.0, 2.0]
    samples(log, "08:00", [1.0, 400.0, 1.0, 1.0], [3.0, 90.0, 3.0, 3.0])
    samples(log, "09:00", peak, [2.0, 30.0, 60.0, 70.0, 60.0, 30.0, 1.0])
    samples(log, "1d 09:00", [3 * one for one in peak], [2.0, 90.0, 160.0, 190.0, 160.0, 90.0, 1.0])
    assert run(parts(), log.in_order(), "1d 10:00") == []


# --- late messages ---------------------------------------------------------------------------------------------


def day(log: Log, begin: str, end: str) -> None:
    """Three systems that speak all day, a few seconds after the fact."""
    for time in times(begin, end, 30):
        log.add(later(time, 0.1), "order.approved", occurred=time, order_id=f"o-{time}", source="oms-1", system="oms")
        fields = {"task_id": f"t-{time}", "task_type": "pick", "node": "n1", "source": "wms-1", "system": "wms"}
        log.add(later(time, 0.1), "task.completed", occurred=time, order_id=f"o-{time}", **fields)
        fields = {"sku": "k", "node": "n1", "qty": 1, "source": "pos-1", "system": "pos"}
        log.add(later(time, 0.1), "sale.recorded", occurred=time, **fields)


def reservations(log: Log, begin: str, end: str, delay: float, grows: float = 0.0, every_s: float = 30) -> list[str]:
    """Late by `delay` minutes, and by `grows` more with every minute; the orders."""
    made = []
    for time in times(begin, end, every_s):
        late = delay + grows * (at(time) - at(begin)) / MINUTE_US
        order_id = f"r-{time}"
        fields = {"sku": "k", "node": "n1", "qty": 1, "source": "oms-1", "system": "oms", "order_id": order_id}
        log.add(later(time, late), "reservation.created", occurred=time, reservation_id=order_id, **fields)
        made.append((order_id, late))
    return sorted(order_id for order_id, late in made if late > 5)


def test_reservations_that_come_late_while_others_are_in_time_are_found_and_their_orders_named() -> None:
    log = Log()
    day(log, "08:00", "13:00")
    reservations(log, "08:00", "10:00", 0.1)
    late = reservations(log, "10:00", "11:00", 0.1, grows=0.5)
    reservations(log, "11:45", "13:00", 0.1)
    findings = same_in_pieces(parts(), log.in_order(), "13:00")
    first, last = opened(findings)
    assert first.endswith("queue_saturation topic=reservations")
    assert "10:15" < first < "10:26"
    assert "11:40" < last < "12:30"
    assert named(findings) == late


def test_a_log_that_was_held_back_is_not_late_messages_nor_clocks() -> None:
    log = Log()
    day(log, "08:00", "12:00")
    reservations(log, "08:00", "12:00", 0.1)
    held = (at("10:00"), at("10:10"))
    events = []
    for number, one in enumerate(log.in_order()):
        arrival = one.arrival_us
        if held[0] <= arrival < held[1]:
            arrival = held[1] + (arrival - held[0]) // 10
        elif arrival < held[1] + MINUTE_US and arrival >= held[1]:
            arrival = max(arrival, held[1] + MINUTE_US)
        events.append(type(one)(arrival, one.topic, one.partition, number, one.occurred_us, one.event))
    assert run(parts(), sorted(events), "12:00") == []


def test_what_is_sent_in_at_once_later_is_no_saturated_queue() -> None:
    log = Log()
    day(log, "08:00", "12:00")
    reservations(log, "08:00", "12:00", 0.1)
    for number in range(100):
        fields = {"sku": "k", "node": "n1", "qty": 1, "order_id": f"b{number}", "reservation_id": f"b{number}"}
        log.add("11:00:00.5", "reservation.created", occurred="10:30", **fields)
    assert run(parts(), log.in_order(), "12:00") == []


# --- clocks ----------------------------------------------------------------------------------------------------


def sales(log: Log, begin: str, end: str, behind: float, source: str = "till-1", grows: float = 0.0) -> None:
    for time in times(begin, end, 20):
        late = behind + grows * (at(time) - at(begin)) / MINUTE_US
        fields = {"sku": "k", "node": "n9", "qty": 1, "source": source, "system": "ecom"}
        log.add(later(time, 0.05), "sale.recorded", occurred=later(time, -late), **fields)


@pytest.mark.parametrize(("behind", "way"), [(20.0, "behind"), (-4.0, "ahead")])
def test_a_clock_that_jumps_is_found_and_closed_when_it_is_right_again(behind: float, way: str) -> None:
    log = Log()
    day(log, "08:00", "13:00")
    sales(log, "08:00", "10:00", 0.1)
    sales(log, "10:00", "12:00", behind)
    sales(log, "12:00", "13:00", 0.1)
    findings = same_in_pieces(parts(), log.in_order(), "13:00")
    first, last = opened(findings)
    assert "10:02" < first <= "10:05 clock_skew source=till-1"
    assert "12:02" < last < "12:06"
    assert way in findings[0].signal.observed


@pytest.mark.parametrize("off", [1.5, -1.5])
def test_a_clock_that_is_off_by_ninety_seconds_is_no_finding(off: float) -> None:
    log = Log()
    day(log, "08:00", "12:00")
    sales(log, "08:00", "10:00", 0.1)
    sales(log, "10:00", "12:00", off)
    assert run(parts(), log.in_order(), "12:00") == []


def test_a_source_that_falls_behind_bit_by_bit_or_after_a_silence_has_no_wrong_clock() -> None:
    log = Log()
    day(log, "08:00", "13:00")
    sales(log, "08:00", "10:00", 0.1)
    sales(log, "10:00", "12:00", 0.1, grows=0.4)
    sales(log, "08:00", "10:00", 0.1, source="till-2")
    sales(log, "10:20", "10:24", 20.0, source="till-2")
    assert run(parts(), log.in_order(), "13:00") == []


def test_messages_refused_for_being_ahead_show_a_clock_that_is_wrong() -> None:
    log = Log()
    day(log, "08:00", "10:00")
    letters = [refused(time, number, "rule", "$.occurred_at") for number, time in enumerate(times("09:00", "09:30", 5))]
    job = Job(parts())
    events = [one for one in log.in_order() if one.event.source != "oms-1" or one.arrival_us < at("09:00")]
    findings = job.take(events, letters) + job.reach("10:00")
    assert opened(findings)[0] == "09:03 clock_skew source=oms-1"


# --- feeds -----------------------------------------------------------------------------------------------------


def stock(log: Log, begin: str, end: str, source: str, every_s: float, node: str = "n1") -> None:
    for time in times(begin, end, every_s):
        log.add(time, "inventory.level", sku="k", node=node, on_hand=1, source=source, system=source[:3])


def test_a_stock_feed_that_speaks_every_minute_is_missed_after_some_ten_and_closed_when_it_is_back() -> None:
    log = Log()
    stock(log, "06:00", "14:00", "oms-1", 60)
    stock(log, "06:00", "10:00", "wms-1", 90)
    stock(log, "12:00", "14:00", "wms-1", 90)
    findings = same_in_pieces(parts(), log.in_order(), "14:00")
    first, last = opened(findings)
    assert "10:09" < first < "10:13"
    assert first.endswith("feed_stopped node=n1 source=wms-1")
    assert last == "12:01 over node=n1 source=wms-1"


def test_work_that_moves_stock_shows_that_a_node_s_only_feed_is_silent() -> None:
    log = Log()
    day(log, "06:00", "12:00")
    stock(log, "06:00", "10:00", "wms-2", 90)
    stock(log, "06:00", "12:00", "wms-3", 90, node="n2")
    assert opened(run(parts(), log.in_order(), "11:00")) == ["10:11 feed_stopped node=n1 source=wms-2"]


def test_a_feed_that_speaks_less_and_less_towards_the_night_is_not_silent() -> None:
    log = Log()
    stock(log, "06:00", "14:00", "oms-1", 60)
    stock(log, "06:00", "10:00", "wms-1", 60)
    stock(log, "10:00", "10:30", "wms-1", 150)
    stock(log, "10:30", "11:00", "wms-1", 240)
    stock(log, "11:13", "14:00", "wms-1", 240)  # 16 minutes, three times and more of any pause before
    assert opened(same_in_pieces(parts(), log.in_order(), "14:00")) == []


def test_a_feed_that_speaks_once_an_hour_and_a_night_in_which_all_are_quiet_are_no_finding() -> None:
    log = Log()
    stock(log, "06:00", "20:00", "oms-1", 60)
    stock(log, "06:00", "20:00", "wms-1", 90)
    stock(log, "06:00", "20:00", "erp-1", 3_600)
    stock(log, "1d 06:00", "1d 12:00", "oms-1", 60)
    stock(log, "1d 06:00", "1d 12:00", "wms-1", 90)
    stock(log, "1d 06:00", "1d 12:00", "erp-1", 3_600)
    assert run(parts(), log.in_order(), "1d 12:00") == []


def test_a_source_that_spoke_at_this_hour_yesterday_is_missed() -> None:
    log = Log()
    for name in ("0d", "1d"):
        day(log, f"{name} 06:00", f"{name} 18:00")
        sales(log, f"{name} 06:00", f"{name} 11:00", 0.1)
    sales(log, "0d 11:00", "0d 18:00", 0.1)
    sales(log, "1d 14:00", "1d 18:00", 0.1)
    findings = run(parts(), log.in_order(), "1d 18:00")
    first, last = opened(findings)
    assert "1d 12:00" <= first <= "1d 12:06 feed_stopped source=till-1"
    assert last == "1d 14:01 over source=till-1"


# --- traffic ---------------------------------------------------------------------------------------------------


def test_a_minute_is_the_same_however_lanes_and_batches_cut_it() -> None:
    log = Log()
    day(log, "08:00", "08:01")
    sales(log, "08:00", "08:01", 20.0)
    events = log.in_order()
    whole = minute_of(0, heard_of(events, 5 * MINUTE_US, MINUTE_US))
    pieces = [part for one in reversed(events) for part in heard_of([one], 5 * MINUTE_US, MINUTE_US)]
    assert minute_of(0, pieces) == whole
    assert sum(source.count for source in whole.sources.values()) == len(events)
    draw = random.Random(3)
    pieces = [msgspec.structs.replace(one, least_us=draw.randrange(-9, 9), late=draw.randrange(2)) for one in pieces]
    traffic, backwards = Traffic(IntegrationSettings()), Traffic(IntegrationSettings())
    for piece in pieces:
        traffic.push([piece], [])
    backwards.push(reversed(pieces), [])
    heard = sorted(traffic.snapshot().heard)
    assert heard == sorted(backwards.snapshot().heard)
    for minute in {part.minute for part in heard}:
        theirs = [part for part in pieces if part.minute == minute]
        assert minute_of(minute, [part for part in heard if part.minute == minute]) == minute_of(minute, theirs)
    assert traffic.sizes()["held"] == len({(part.minute, part.source, part.topic, part.node) for part in pieces})
