"""What groups say they keep: it follows what they are fed, and no group or operator is left out."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

import operators
from operators import groups
from operators.case_passes import parts_of
from operators.groups import CaseGroup, Group, InterfaceGroup, ItemGroup, make_group
from operators.pipeline import CASE, INTERFACE, ITEM, SITE, group_name
from operators.process_lint import read_process_map
from operators.site_group import SiteGroup
from operators.slices import Slice
from schemas.decode import EventDecoder
from schemas.durations import DAY_US, HOUR_US, SECOND_US, to_us
from schemas.events import Arrived, EventBase
from tests.harness import MAP, START_US, PurePipeline, settings
from tests.logs import Fact, facts, log_of

#: Operators with state that a group does not count, and why.
NOT_COUNTED = {
    "Resting": "whoever keeps records in it counts them",
    "PartitionQueue": "of a lane, not of a group: andon_buffered_messages says how much it holds",
    "LaneMerge": "as PartitionQueue",
    "Frontier": "two numbers per input, whose number is fixed",
    "WindowSchedule": "a part of the operators with windows, which say how much waits in it",
}


def modules() -> Iterator[object]:
    for found in pkgutil.iter_modules(operators.__path__):
        yield importlib.import_module(f"operators.{found.name}")


def classes_with(*methods: str) -> dict[str, type]:
    return {
        name: kind
        for module in modules()
        for name, kind in vars(module).items()
        if inspect.isclass(kind)
        and kind.__module__.startswith("operators.")
        and all(hasattr(kind, one) for one in methods)
    }


GROUPS = {name: kind for name, kind in classes_with("on_batch", "snapshot", "restore").items() if name != "Group"}


def test_every_group_is_made_by_name_and_says_what_it_keeps() -> None:
    assert set(GROUPS.values()) == set(groups._SPACES.values())
    pipeline = settings()
    for space, kind in groups._SPACES.items():
        group = make_group(group_name(space, 0), pipeline)
        assert type(group) is kind
        sizes = group.sizes()
        assert sizes, f"{kind.__name__} keeps state and counts none of it"
        assert set(sizes.values()) == {0}


def test_every_operator_that_keeps_state_is_counted() -> None:
    stateful = classes_with("snapshot", "restore").keys() - GROUPS.keys()
    without = {name for name in stateful if not hasattr(classes_with("snapshot", "restore")[name], "sizes")}
    assert {name for name in without if not name.startswith("_")} == NOT_COUNTED.keys()


def event(number: int, kind: str, at_s: float, **fields: object) -> tuple[EventBase, int]:
    fact = Fact(number, kind, 0, int(at_s), 0, twice=False, value=1)
    body = fact.message() | fields
    (decoded,) = EventDecoder().decode([msgspec.json.encode(body)])
    assert isinstance(decoded, EventBase), decoded
    return decoded, to_us(decoded.occurred_at)


def slice_of(*events: tuple[EventBase, int], upto_s: float, lane: str = "lane-0") -> Slice:
    arrived = [Arrived(at, "orders", 0, number, at, one) for number, (one, at) in enumerate(events)]
    upto = START_US + round(upto_s * SECOND_US)
    return Slice(lane, upto, upto, arrived)


def case_group(lanes: int = 1) -> CaseGroup:
    group = make_group(group_name(CASE, 0), settings(lanes=lanes))
    assert isinstance(group, CaseGroup)
    return group


def test_events_are_held_until_every_lane_has_passed_them() -> None:
    group = case_group(lanes=2)
    group.on_batch([slice_of(event(1, "order.created", 0), event(2, "order.created", 30, order_id="o9"), upto_s=60)])
    assert group.sizes()["order", "held"] == 2
    assert group.sizes()["handoffs", "cases"] == 0
    group.on_batch([slice_of(upto_s=10, lane="lane-1")])
    assert group.sizes()["order", "held"] == 1
    assert group.sizes()["handoffs", "cases"] == 1


def test_a_case_is_counted_from_its_first_event_until_it_is_dropped() -> None:
    group = case_group()
    group.on_batch([slice_of(event(1, "order.created", 0), upto_s=1)])
    begun = group.sizes()
    assert begun["handoffs", "cases"] == 1
    assert begun["handoffs", "open_passes"] == 2, "approval and promise"
    assert begun["handoffs", "timers"] >= 1
    assert begun["dedup", "ids"] == 1
    group.on_batch([slice_of(event(2, "order.approved", 5), upto_s=6)])
    assert group.sizes()["handoffs", "open_passes"] == 2, "approval is done, allocation begun"
    group.on_batch([slice_of(event(3, "order.cancelled", 7), upto_s=8)])
    assert group.sizes()["handoffs", "open_passes"] == 0
    assert group.sizes()["handoffs", "cases"] == 1
    group.on_batch([slice_of(upto_s=DAY_US / SECOND_US)])
    ended = group.sizes()
    assert ended["handoffs", "cases"] == ended["handoffs", "open_passes"] == ended["handoffs", "timers"] == 0


def test_passes_that_are_given_up_with_their_case_are_no_longer_counted() -> None:
    group = case_group()
    group.on_batch([slice_of(event(1, "order.created", 0), upto_s=1)])
    assert group.sizes()["handoffs", "open_passes"] == 2
    group.on_batch([slice_of(upto_s=3 * DAY_US / SECOND_US)])
    assert group.sizes()["handoffs", "open_passes"] == 0


def test_ids_let_go_early_are_counted() -> None:
    pipeline = settings()
    group = make_group(group_name(INTERFACE, 0), pipeline)
    few = groups._Input(msgspec.structs.replace(pipeline, dedup_max_ids=10))
    events = [event(number, "order.created", number) for number in range(35)]
    few.take([slice_of(*events, upto_s=100)], [])
    assert few.sizes()["dedup"] == {"ids": 20, "turned_early": 3}
    assert group.sizes()["dedup", "turned_early"] == 0


def test_items_windows_timers_and_feeds_are_counted() -> None:
    group = make_group(group_name(ITEM, 0), settings())
    assert isinstance(group, ItemGroup)
    levels = [
        event(1, "inventory.level", 0, sku="a", on_hand=100, system="wms"),
        event(2, "inventory.level", 1, sku="a", on_hand=1, system="erp"),
        event(3, "inventory.level", 2, sku="b", on_hand=1, node="n9"),
    ]
    group.on_batch([slice_of(*levels, upto_s=3)])
    sizes = group.sizes()
    assert sizes["stock", "items"] == 2
    assert sizes["stock", "windows"] == 2, "one window an item"
    assert sizes["stock", "timers"] >= 1, "the difference waits for its settle time"
    group.on_batch([slice_of(upto_s=HOUR_US / SECOND_US)])
    assert group.sizes()["stock", "windows"] == group.sizes()["stock", "timers"] == 0
    assert group.sizes()["stock", "items"] == 2


def test_site_groups_count_series_backlog_and_windows() -> None:
    pipeline = settings()
    cases, items = make_group(group_name(CASE, 0), pipeline), make_group(group_name(ITEM, 0), pipeline)
    site = make_group(group_name(SITE, 0), pipeline)
    assert isinstance(cases, CaseGroup)
    assert isinstance(items, ItemGroup)
    assert isinstance(site, SiteGroup)
    order = slice_of(event(1, "order.created", 0), upto_s=10)
    pieces = [piece for _, piece in cases.on_batch([order]).pieces]
    site.on_batch(pieces)
    assert site.sizes()["handoff_windows", "held"] == 2, "the items have not passed them"
    assert site.sizes()["handoff_windows", "series"] == 0
    level = slice_of(event(2, "inventory.level", 1, on_hand=1), upto_s=10)
    site.on_batch([piece for _, piece in items.on_batch([level]).pieces])
    assert site.sizes()["handoff_windows", "held"] == 2, "nor has what belongs to no case and no item"
    interfaces = make_group(group_name(INTERFACE, 0), pipeline)
    assert isinstance(interfaces, InterfaceGroup)
    site.on_batch([piece for _, piece in interfaces.on_batch([slice_of(upto_s=10)]).pieces])
    sizes = site.sizes()
    assert sizes["handoff_windows", "held"] == 0
    assert sizes["handoff_windows", "series"] == sizes["handoff_windows", "backlogged"] == 2
    assert sizes["handoff_windows", "windows"] >= 2


def test_what_is_followed_for_a_requirement_alone_is_no_open_pass_before_and_after_a_resume() -> None:
    more = """
[[handoff]]
name = "delivery"
case = "order_id"
start = {type = "order.created"}
end = {type = "shipment.delivered"}
requires = ["approval"]
"""
    declared = read_process_map(MAP + more, "more.toml")
    assert declared.value is not None, declared.problems
    pipeline = msgspec.structs.replace(settings(), process=declared.value)
    group, resumed = (make_group(group_name(CASE, 0), pipeline) for _ in range(2))
    assert isinstance(group, CaseGroup)
    group.on_batch([slice_of(event(1, "order.created", 0), event(2, "order.approved", 1), upto_s=2)])
    resumed.restore(group.snapshot())
    ((_, case),) = group._handoffs.cases("order_id")
    assert len(case.passes) == 5
    assert group.sizes()["handoffs", "open_passes"] == 3, "promise, allocation, delivery"
    assert resumed.sizes()["handoffs", "open_passes"] == 3


def open_passes(group: Group) -> int:
    """Counted one by one."""
    if not isinstance(group, CaseGroup):
        return 0
    tracker = group._handoffs
    return sum(
        parts_of(key)[0] < tracker.visible and record.is_open
        for kind in tracker.kinds
        for _, case in tracker.cases(kind)
        for key, record in case.passes.items()
    )


@hypothesis_settings(max_examples=40, deadline=None)
@given(facts(max_size=40))
def test_open_passes_are_those_that_are_open_at_every_step_and_after_a_resume(drawn: list[Fact]) -> None:
    pipeline = PurePipeline(log_of(drawn), settings(lanes=2, groups=2), batch=3)
    steps = 0
    while not pipeline.ended:
        for lane in pipeline.settings.lanes:
            pipeline.step(lane)
            steps += 1
            for group in pipeline.groups.values():
                assert group.sizes().get(("handoffs", "open_passes"), 0) == open_passes(group)
        if steps % 4 == 0:
            before = {name: group.sizes() for name, group in pipeline.groups.items()}
            pipeline.keep_and_restore()
            for name, sizes in before.items():
                restored = pipeline.groups[name].sizes()
                for key in sizes.keys() - {("handoffs", "timers"), ("dedup", "turned_early")}:
                    assert restored[key] == sizes[key], (name, key)


@pytest.mark.parametrize("name", [group_name(space, 0) for space in (CASE, ITEM, INTERFACE, SITE)])
def test_what_is_counted_has_names_that_can_be_labels(name: str) -> None:
    for operator, what in make_group(name, settings()).sizes():
        assert operator.isidentifier()
        assert what.isidentifier()
