"""The route tree: who is told of what, grouped how, and when."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

import msgspec

from operators.alerting.matchers import Labels, Matcher, all_fit, parse_matchers
from operators.alerting.mute_times import MuteHours, mute_hours
from operators.alerting.settings import AlertSettings, Route

T = TypeVar("T")

#: In `group_by`: by every label, so that only incidents which look alike are told together.
EVERY_LABEL = "..."


class RouteNode(msgspec.Struct, frozen=True):
    """A route with what it takes from those above it.

    `path` names it in group keys and decisions: the matchers on the way to it, as in Alertmanager's group keys. A route
    without a receiver tells nobody.
    """

    path: str
    matchers: tuple[Matcher, ...]
    goes_on: bool
    receiver: str
    group_by: tuple[str, ...]
    group_wait_us: int
    group_interval_us: int
    repeat_interval_us: int
    for_us: int
    send_resolved: bool
    mute: tuple[MuteHours, ...]
    routes: "tuple[RouteNode, ...]"

    def taking(self, labels: Labels) -> "list[RouteNode]":
        """The routes, this one or below it, that take an incident; none where this one's matchers don't fit."""
        if not all_fit(self.matchers, labels):
            return []
        taken: list[RouteNode] = []
        for route in self.routes:
            found = route.taking(labels)
            taken += found
            if found and not route.goes_on:
                break
        return taken or [self]

    def walk(self) -> "Iterator[RouteNode]":
        """This route and all below it."""
        yield self
        for route in self.routes:
            yield from route.walk()

    def group_labels(self, labels: Labels) -> dict[str, str]:
        """The labels that an incident is grouped by here, those that it has."""
        if EVERY_LABEL in self.group_by:
            return dict(sorted(labels.items()))
        return {name: labels[name] for name in sorted(self.group_by) if name in labels}

    def muted_by(self, instant_us: int) -> str:
        """The name of the mute time that is on; empty where none is."""
        return next((hours.name for hours in self.mute if hours.hold(instant_us)), "")


def route_tree(settings: AlertSettings) -> RouteNode:
    """The tree that settings declare; they must be without problems (see lint.py).

    Raises:
        ValueError: a matcher or a mute time can't be read.
        KeyError: a mute time is named that is not declared.
    """
    hours = {declared.name: mute_hours(declared) for declared in settings.mute_time}
    root = RouteNode(
        path="{}",
        matchers=(),
        goes_on=False,
        receiver=settings.receiver,
        group_by=settings.group_by,
        group_wait_us=settings.group_wait,
        group_interval_us=settings.group_interval,
        repeat_interval_us=settings.repeat_interval,
        for_us=settings.for_,
        send_resolved=settings.send_resolved,
        mute=tuple(hours[name] for name in settings.mute),
        routes=(),
    )
    return msgspec.structs.replace(root, routes=_below(settings.route, root, hours))


def _below(declared: list[Route], above: RouteNode, hours: Mapping[str, MuteHours]) -> tuple[RouteNode, ...]:
    out: list[RouteNode] = []
    paths: set[str] = set()
    for route in declared:
        matchers = parse_matchers(route.matchers)
        path = f"{above.path}/{{{','.join(sorted(map(str, matchers)))}}}"
        while path in paths:  # a sibling with the same matchers
            path += "+"
        paths.add(path)
        node = RouteNode(
            path=path,
            matchers=matchers,
            goes_on=route.continue_,
            receiver=_or(route.receiver, above.receiver),
            group_by=_or(route.group_by, above.group_by),
            group_wait_us=_or(route.group_wait, above.group_wait_us),
            group_interval_us=_or(route.group_interval, above.group_interval_us),
            repeat_interval_us=_or(route.repeat_interval, above.repeat_interval_us),
            for_us=_or(route.for_, above.for_us),
            send_resolved=_or(route.send_resolved, above.send_resolved),
            mute=above.mute if route.mute is None else tuple(hours[name] for name in route.mute),
            routes=(),
        )
        out.append(msgspec.structs.replace(node, routes=_below(route.route, node, hours)))
    return tuple(out)


def _or(own: T | None, above: T) -> T:
    return above if own is None else own
