"""Orders that come twice or incomplete, against days on which they don't."""

import pytest

from operators.detectors.capture import CaptureSettings
from operators.detectors.duplicates import RepeatedOrders, SameContent, contents_of, duplicate_watch
from operators.detectors.events import EventDetector
from operators.detectors.incomplete import IncompleteOrders, incomplete_watch
from operators.detectors.order_book import OrderBook
from operators.detectors.policy import Override
from operators.detectors.scopes import ScopeDetector
from operators.detectors.settings import DetectorSettings
from operators.findings import signal_id
from schemas.durations import DAY_US
from schemas.errors import StateError
from schemas.events import OrderCreated
from tests.capture_and_integration import Log, Parts, later, named, opened, run, same_in_pieces, times


def duplicates(settings: DetectorSettings | None = None) -> Parts:
    used = settings or DetectorSettings()

    def parts() -> tuple[list[EventDetector], list[ScopeDetector]]:
        book = OrderBook(DAY_US)
        first: list[EventDetector] = [RepeatedOrders(book), book, SameContent(used.capture.within)]
        return first, [duplicate_watch(used.policy("capture.duplicates"))]

    return parts


def incomplete(settings: DetectorSettings | None = None) -> Parts:
    used = settings or DetectorSettings()
    return lambda: (
        [IncompleteOrders(used.policy("capture"))],
        [incomplete_watch(used.policy("capture.incomplete"))],
    )


def order(log: Log, arrival: str, order_id: str, **fields: object) -> None:
    base = {
        "order_id": order_id,
        "channel": "web",
        "customer_id": f"c-{order_id}",
        "currency": "EUR",
        "promised_at": "20:00",
        "lines": [{"line_id": "1", "sku": "k", "qty": 1, "unit_price": "10.00"}],
    }
    kept = {name: value for name, value in (base | fields).items() if value is not None}
    log.add(arrival, "order.created", **kept)


def orders(
    log: Log, begin: str, end: str, every_s: float = 30, prefix: str = "o", **fields: object
) -> list[tuple[str, str]]:
    made = [(time, f"{prefix}{number}") for number, time in enumerate(times(begin, end, every_s))]
    for time, order_id in made:
        order(log, time, order_id, **fields)
    return made


# --- duplicates ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["same id", "same content", "same key"])
def test_orders_that_come_again_are_found_and_both_are_named(way: str) -> None:
    log = Log()
    made = orders(log, "10:00", "12:00")
    again = [one for one in made if "11:00" <= one[0] < "11:30"][::5]
    expected = set()
    for time, order_id in again:
        expected.add(order_id)
        if way == "same id":
            order(log, later(time, 1), order_id)
        elif way == "same content":
            order(log, later(time, 1), f"again-{order_id}", customer_id=f"c-{order_id}")
            expected.add(f"again-{order_id}")
    if way == "same key":
        log = Log()
        for time, order_id in made:
            order(log, time, order_id, customer_id=None, idempotency_key=order_id)
        for time, order_id in again:
            order(log, later(time, 1), f"again-{order_id}", customer_id=None, idempotency_key=order_id)
            expected.add(f"again-{order_id}")
    findings = same_in_pieces(duplicates(), log.in_order(), "13:00")
    first, last = opened(findings)
    assert "11:05" < first < "11:15"
    assert first.endswith("duplicate_orders channel=web")
    assert last.startswith("12:")
    assert last.endswith("over channel=web")
    assert named(findings) == sorted(expected)


def test_an_order_now_and_then_and_the_same_again_much_later_are_no_finding() -> None:
    log = Log()
    made = orders(log, "10:00", "14:00")
    for time, order_id in made[::60]:
        order(log, later(time, 1), order_id)
    for time, order_id in made[::3]:
        order(log, later(time, 15), f"later-{order_id}", customer_id=f"c-{order_id}")
    assert run(duplicates(), log.in_order(), "15:00") == []


def test_the_same_lines_of_another_customer_are_another_order() -> None:
    log = Log()
    order(log, "10:00", "o1")
    order(log, "10:00", "o2")
    order(log, "10:00", "o3", customer_id="c-o1")
    first, second, third = (one.event for one in log.in_order())
    assert isinstance(first, OrderCreated)
    assert isinstance(second, OrderCreated)
    assert isinstance(third, OrderCreated)
    assert contents_of(first) == contents_of(third) != contents_of(second)
    assert len(contents_of(first)) == 1


def test_names_with_any_character_in_them_make_no_other_order_s_content() -> None:
    log = Log()
    order(log, "10:00", "o1", channel="w\x1fk", customer_id=None, idempotency_key="z")
    order(log, "10:00", "o2", channel="w", customer_id=None, idempotency_key="k\x1fz")
    first, second = (one.event for one in log.in_order())
    assert isinstance(first, OrderCreated)
    assert isinstance(second, OrderCreated)
    assert contents_of(first) != contents_of(second)
    assert signal_id("stock", "a\x1fb", "c") != signal_id("stock", "a", "b\x1fc")


def test_what_is_too_old_to_be_repeated_is_forgotten() -> None:
    log = Log()
    orders(log, "10:00", "14:00")
    detector = SameContent(CaptureSettings().within)
    parts: Parts = lambda: ([detector], [])  # noqa: E731 - one line
    run(parts, log.in_order(), "14:00")
    assert 20 <= detector.sizes()["contents"] <= 70


def test_an_override_for_a_channel_holds_there() -> None:
    log = Log()
    for channel in ("web", "app"):
        for time, order_id in orders(log, "10:00", "12:00", prefix=channel, channel=channel)[::5]:
            order(log, later(time, 1), order_id, channel=channel)
    override = [Override(channel="app", set={"capture.duplicates.share": 0.5})]
    findings = run(duplicates(DetectorSettings(override=override)), log.in_order(), "11:59")
    assert {line.split(" ", 1)[1] for line in opened(findings)} == {"duplicate_orders channel=web"}


# --- incomplete orders -----------------------------------------------------------------------------------------


def half_without(log: Log, begin: str, end: str, name: str, channel: str = "web") -> list[str]:
    hit = []
    for number, (time, order_id) in enumerate((one, f"x-{channel}-{one}") for one in times(begin, end, 30)):
        if number % 2:
            order(log, time, order_id, channel=channel)
            continue
        hit.append(order_id)
        line = {"line_id": "1", "sku": "k", "qty": 1}
        fields = {"unit_price": {"lines": [line]}, "lines": {"lines": []}}.get(name, {name: None})
        order(log, time, order_id, channel=channel, **fields)
    return sorted(hit)


@pytest.mark.parametrize("name", ["customer_id", "currency", "promised_at", "unit_price", "lines"])
def test_orders_without_a_field_that_their_channel_carries_are_found_and_named(name: str) -> None:
    log = Log()
    orders(log, "08:00", "12:00")
    hit = half_without(log, "12:00", "13:00", name)
    orders(log, "13:00", "15:00", prefix="p")
    findings = same_in_pieces(incomplete(), log.in_order(), "15:00")
    first, last = opened(findings)
    assert first in {f"12:0{minute} incomplete_orders channel=web" for minute in range(3, 8)}
    assert last.endswith("over channel=web")
    assert named(findings) == hit


def test_a_channel_whose_orders_break_before_many_were_seen_is_found_and_stays_so() -> None:
    """A marketplace with an order in two minutes, whose first forty are all that is known before a third lose a field.

    They are more than a fifth of all its orders when it is learnt what the channel carries.
    """
    log = Log()
    orders(log, "08:00", "16:00", prefix="web")
    hit = []
    for number, time in enumerate(times("08:00", "16:00", 120)):
        whole = number < 40 or number % 3
        order(log, time, f"m{number}", channel="market", **({} if whole else {"lines": []}))
        if not whole:
            hit.append(f"m{number}")
    findings = same_in_pieces(incomplete(), log.in_order(), "16:00")
    lines = opened(findings)
    assert len(lines) == 1
    assert "09:40" < lines[0] < "09:50"
    assert lines[0].endswith("incomplete_orders channel=market")
    assert named(findings) == sorted(hit)


def test_a_channel_that_never_carries_a_field_is_not_incomplete() -> None:
    log = Log()
    orders(log, "08:00", "12:00")
    orders(log, "10:00", "12:00", prefix="pos", channel="pos", customer_id=None, promised_at=None)
    assert run(incomplete(), log.in_order(), "13:00") == []


def test_a_new_field_and_a_field_that_some_carry_are_no_finding() -> None:
    log = Log()
    for number, time in enumerate(times("08:00", "12:00", 30)):
        extra = {"idempotency_key": f"k{number}"} if number % 3 else {}
        order(log, time, f"o{number}", total="10.00" if time >= "11:00" else None, **extra)
    assert run(incomplete(), log.in_order(), "13:00") == []


def test_what_is_required_can_be_said() -> None:
    log = Log()
    orders(log, "08:00", "09:00", promised_at=None)
    required = DetectorSettings(capture=CaptureSettings(required=["promised_at"]))
    assert run(incomplete(), log.in_order(), "09:00") == []
    of_web = DetectorSettings(override=[Override(channel="web", set={"capture.required": ["promised_at"]})])
    of_others = DetectorSettings(override=[Override(channel="app", set={"capture.required": ["promised_at"]})])
    for settings in (required, of_web):
        assert opened(run(incomplete(settings), log.in_order(), "09:00"))[0].endswith("incomplete_orders channel=web")
    assert run(incomplete(of_others), log.in_order(), "09:00") == []


@pytest.mark.parametrize("detector", [SameContent(1), IncompleteOrders(DetectorSettings().policy("capture"))])
def test_a_snapshot_that_can_not_be_read_is_refused(detector: EventDetector) -> None:
    with pytest.raises(StateError):
        detector.restore(b"\x01")
