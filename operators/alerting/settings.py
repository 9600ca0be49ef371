"""How alerts are routed, grouped, repeated and held back: what stands under `[alerting]`."""

from typing import Literal, TypeAlias

import msgspec

from schemas.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US, Duration

Weekday: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where incidents go that all `matchers` fit. What is left out is as in the route above.

    The first route that fits takes the incident, and those behind it are asked only where it says `continue`; of a
    route's own routes the same holds, and the route itself takes what none of them does.
    """

    matchers: list[str] = []
    receiver: str | None = None
    continue_: bool = msgspec.field(name="continue", default=False)
    group_by: tuple[str, ...] | None = None
    group_wait: Duration | None = None
    group_interval: Duration | None = None
    repeat_interval: Duration | None = None
    for_: Duration | None = msgspec.field(name="for", default=None)
    send_resolved: bool | None = None
    mute: list[str] | None = None
    route: list["Route"] = []


class Inhibition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An open incident that the source matchers fit keeps those quiet that the target matchers fit.

    Both must have the same value of every label of `equal`; absent in both is the same value.
    """

    source_matchers: list[str]
    target_matchers: list[str]
    equal: list[str] = []


class MuteTime(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hours in which a route that names them tells nothing.

    `from` and `until` are times of day in `zone`; until a time that is not later means until that time of the next day.
    `days` are those on which it begins, all where none is given.
    """

    name: str
    days: list[Weekday] = []
    from_: str = msgspec.field(name="from", default="00:00")
    until: str = "00:00"
    zone: str = "UTC"


class AlertSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The root route, which everything fits, with the routes, inhibitions and mute times below it.

    `parents_inhibit`: an incident that is a probable cause of another keeps that one quiet where their scopes agree.
    `retention`: how long a group that has ended is remembered, with the number of its last notification.
    """

    receiver: str = "default"
    group_by: tuple[str, ...] = ("kind", "carrier", "supplier", "interface", "queue")
    group_wait: Duration = Duration(30 * SECOND_US)
    group_interval: Duration = Duration(5 * MINUTE_US)
    repeat_interval: Duration = Duration(4 * HOUR_US)
    for_: Duration = msgspec.field(name="for", default=Duration(0))
    send_resolved: bool = True
    mute: list[str] = []
    parents_inhibit: bool = True
    retention: Duration = Duration(5 * DAY_US)
    route: list[Route] = []
    inhibit: list[Inhibition] = []
    mute_time: list[MuteTime] = []
