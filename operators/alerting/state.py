"""What alerting remembers, and its snapshot."""

import msgspec

from schemas.incident_rows import Incident


class Told(msgspec.Struct, frozen=True, array_like=True):
    """What a receiver knows of an incident, as far as a change of it is worth telling."""

    kind: str
    cause_signal_id: str
    severity: str
    priority: int
    recovering: bool


class Verdict(msgspec.Struct, frozen=True, array_like=True):
    """The last decision about an incident on a route, and what decided it."""

    decision: str
    by: str


class Member(msgspec.Struct, array_like=True):
    """An incident in a group. It has left when its route is another one now: to the group it is over."""

    left: bool = False


class Acknowledgement(msgspec.Struct, frozen=True, array_like=True):
    """Somebody sees to an incident. `priority` is the one it had then; `until_us` None: until it is resolved."""

    silence_id: str
    created_by: str
    comment: str
    since_us: int
    until_us: int | None
    priority: int
    version: int


class Tracked(msgspec.Struct, array_like=True):
    """An incident that is open, or over and not yet told to be.

    `groups` has the group it is in for each route that takes it, `pending` when it will be in one, where a route has a
    `for`; `verdicts` the last decision for each route.
    """

    incident: Incident
    labels: dict[str, str]
    groups: dict[str, str] = {}
    pending: dict[str, int] = {}
    verdicts: dict[str, Verdict] = {}
    acknowledgement: Acknowledgement | None = None


class Former(msgspec.Struct, frozen=True, array_like=True):
    """A receiver that a group was told to until its route was given another one, and is yet to be told that it is over.

    `known` are the incidents that it takes for open, as they were then; the rest is the group's.
    """

    receiver: str
    known: list[Tracked]
    told: dict[str, Told]
    sequence: int
    starts_us: int


class Group(msgspec.Struct, array_like=True):
    """Incidents that one receiver is told of together.

    `due_us` is when it is looked at next, None while it is empty; `looked` whether it was since it last was empty.
    `told` is what the receiver knows of and takes for open; `sent_us` when it was last told. `acknowledged`: it was
    told that somebody sees to all of that. `starts_us` is when the first of what is open began, `ended_us` since when
    the group is empty. `former` were told of it before settings changed. Times are arrival times.
    """

    key: str
    route: str
    receiver: str
    labels: dict[str, str]
    members: dict[str, Member] = {}
    due_us: int | None = None
    looked: bool = False
    told: dict[str, Told] = {}
    sent_us: int = 0
    sequence: int = 0
    starts_us: int = 0
    ended_us: int = 0
    acknowledged: bool = False
    former: list[Former] = []


class Quiet(msgspec.Struct, frozen=True, array_like=True):
    """A silence that has not ended."""

    silence_id: str
    matchers: list[str]
    starts_us: int
    ends_us: int
    created_by: str
    comment: str
    version: int


class AlertingState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of an `Alerting`."""

    version: int
    clock_us: int
    settled: bool
    incidents: dict[str, Tracked]
    groups: dict[str, Group]
    silences: dict[str, Quiet]
    silence_version: int
    ignored: int
