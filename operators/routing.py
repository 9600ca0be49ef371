"""Which key groups an event goes to."""

from collections.abc import Iterable, Sequence
from typing import Any
from zlib import crc32

import msgspec
import numpy as np

from operators.case_plan import EventPlan, bucket_of, compile_plans
from operators.detectors.integration_minute import heard_of
from operators.id_hashes import IdHasher
from operators.lane_state import Merged
from operators.marks import Marks, marks_of
from operators.pipeline import CASE, INTERFACE, ITEM, PipelineSettings, group_names
from operators.slices import Refused, Slice
from schemas.events import EVENT_TYPES, Arrived, EventBase, OrderCreated, PoCreated, type_name
from schemas.rows import DeadLetter

_ITEM_TYPES = frozenset(
    {
        "inventory.level",
        "inventory.adjusted",
        "reservation.created",
        "reservation.released",
        "reservation.rejected",
        "reservation.consumed",
        "sale.recorded",
    }
)


class _Route:
    """Where events of one type go.

    Plain: to the group of the one case they name (by their own id where they name none), and to that of their item.
    Otherwise `Router.groups_of` has to look at each. Orders as they are captured go to the interface group as well,
    where they can be held against each other.
    """

    __slots__ = ("case_field", "is_capture", "is_item", "is_plain")

    def __init__(
        self, *, is_plain: bool, case_field: str | None = None, is_item: bool = False, is_capture: bool = False
    ) -> None:
        self.is_plain = is_plain
        self.is_capture = is_capture
        self.case_field = case_field
        self.is_item = is_item


def _route_of(record: type[EventBase], plan: EventPlan | None) -> _Route | None:
    """The route of a type, None where it belongs to no case and no item."""
    fields = plan.id_fields if plan is not None else []
    is_item = type_name(record) in _ITEM_TYPES
    if record is PoCreated or len(fields) > 1 or (plan is not None and not fields):
        return _Route(is_plain=False)
    if not fields and not is_item:
        return None
    is_capture = record is OrderCreated
    return _Route(is_plain=True, case_field=fields[0] if fields else None, is_item=is_item, is_capture=is_capture)


class Router:
    """Which groups an event goes to: each of its cases' groups, its item's group, else one by its source.

    Cost: one hash per key of the event. `names` are those of all groups that lanes feed.
    """

    def __init__(self, settings: PipelineSettings) -> None:
        self._settings = settings
        integration = settings.detectors.integration
        self._late_us, self._early_us = integration.delays.after, integration.clocks.ahead
        self._hears = settings.detectors.enabled
        self._hasher = IdHasher()
        self._plans = compile_plans(settings.process)
        self._names = {
            CASE: group_names(CASE, settings.case_groups),
            ITEM: group_names(ITEM, settings.item_groups),
            INTERFACE: group_names(INTERFACE, 1),
        }
        self.names = [name for names in self._names.values() for name in names]
        routes = {record: _route_of(record, self._plans.get(record)) for record in EVENT_TYPES.values()}
        self._routes = {record: route for record, route in routes.items() if route is not None}

    def slices(self, lane: str, merged: Merged) -> list[tuple[str, Slice]]:
        """A slice of a lane's output for every group: those without events too, since they carry time."""
        events = merged.events
        marks = marks_of(events, self._hasher)
        slices = [(name, _slice(lane, merged, marks, places)) for name, places in self._places(events).items()]
        name, last = slices[-1]
        heard = heard_of(events, self._late_us, self._early_us) if self._hears else []
        refused = [_refused(letter) for letter in merged.dead]
        slices[-1] = name, msgspec.structs.replace(last, refused=refused, heard=heard)
        return slices

    def _places(self, events: Iterable[Arrived]) -> dict[str, list[int]]:
        """For every group, the places of those among `events` that go to it."""
        places: dict[str, list[int]] = {name: [] for name in self.names}
        cases, items = [places[name] for name in self._names[CASE]], [places[name] for name in self._names[ITEM]]
        case_groups, item_groups = len(cases), len(items)
        others, routes = places[self._names[INTERFACE][0]], self._routes
        for place, arrived in enumerate(events):
            event = arrived.event
            route = routes.get(type(event))
            if route is None:
                others.append(place)
            elif route.is_plain:
                if route.case_field is not None:
                    case_id = getattr(event, route.case_field) or event.event_id
                    cases[crc32(case_id.encode()) % case_groups].append(place)
                if route.is_capture:
                    others.append(place)
                if route.is_item:
                    items[crc32(f"{event.sku}\x1f{event.node}".encode()) % item_groups].append(place)  # type: ignore[union-attr] # of types with both
            else:
                for name in self.groups_of(event):
                    places[name].append(place)
        return places

    def groups_of(self, event: EventBase) -> Sequence[str]:
        """The names of the groups that `event` belongs to; at least one."""
        found: list[str] = []
        plan: EventPlan | None = self._plans.get(type(event))
        if plan is not None:
            case_names = self._names[CASE]
            for case_id in plan.case_ids(event) or (event.event_id,):
                name = case_names[bucket_of(case_id, len(case_names))]
                if name not in found:
                    found.append(name)
        node = getattr(event, "node", None)
        if node is not None:
            for sku in _skus(event):
                name = self._names[ITEM][item_bucket(sku, node, self._settings.item_groups)]
                if name not in found:
                    found.append(name)
        if isinstance(event, OrderCreated):
            found.extend(self._names[INTERFACE])
        return found or self._names[INTERFACE]


def _slice(lane: str, merged: Merged, marks: Marks, places: list[int]) -> Slice:
    """What is at `places` of a lane's output."""
    events, packed = list(map(merged.events.__getitem__, places)), b""
    if places:
        packed = marks.at(np.fromiter(places, np.intp, len(places))).packed()
    return Slice(lane, merged.watermark_us, merged.last_us, events, merged.final, marks=packed)


class _Named(msgspec.Struct):
    """What of a message that breaks the contract may still be good."""

    order_id: Any = None


_NAMED = msgspec.json.Decoder(_Named)


def _refused(letter: DeadLetter) -> Refused:
    place = (letter.seen_at_us, letter.topic, letter.partition, letter.offset)
    return Refused(*place, letter.source, letter.channel, letter.reason, letter.path, _order_of(letter))


def _order_of(letter: DeadLetter) -> str:
    """The order that a dead letter is about, empty where it does not say."""
    if letter.reason != "schema":
        return ""
    try:
        order_id = _NAMED.decode(letter.raw).order_id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""  # that it can't be read is on record: it is a dead letter
    return order_id if isinstance(order_id, str) and len(order_id.encode("utf-8", "replace")) <= 128 else ""


def _skus(event: EventBase) -> Iterable[str]:
    """The items of a node that an event is about; of purchase orders all lines."""
    if isinstance(event, PoCreated):
        return [line.sku for line in event.lines or ()]
    sku = getattr(event, "sku", None)
    return (sku,) if sku is not None and event.__struct_config__.tag in _ITEM_TYPES else ()


def item_bucket(sku: str, node: str, groups: int) -> int:
    """The item group of (sku, node)."""
    return bucket_of(f"{sku}\x1f{node}", groups)
