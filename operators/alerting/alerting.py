"""Alerting, composed: incidents and what people say of them in; notifications, and why, out."""

from collections.abc import Iterable, Sequence
from heapq import merge

from operators.alerting.acknowledgements import acknowledge, end_acknowledgement, end_where_worse
from operators.alerting.content import RESOLVED, labels_of
from operators.alerting.decisions import AlertRow, Decision, Judged, decide
from operators.alerting.groups import Groups
from operators.alerting.inhibition import Inhibition
from operators.alerting.lint import find_problems
from operators.alerting.routes import RouteNode, route_tree
from operators.alerting.settings import AlertSettings
from operators.alerting.silences import SELF, Silences
from operators.alerting.standing import judge_open
from operators.alerting.state import AlertingState, Tracked
from operators.alerting.timers import Timer, Timers
from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US, people_duration
from schemas.errors import SettingsError, StateError
from schemas.events import Arrived, IncidentAcknowledged, IncidentUnacknowledged, SilenceCreated, SilenceExpired
from schemas.incident_rows import Incident


class Alerting:
    """Tell receivers of incidents, as Alertmanager's users expect it; docs/alerting.md has the rules.

    An incident goes to the routes that take it. There it waits for the route's `for`, then belongs to a group, which is
    looked at `group_wait` after its first member came and every `group_interval` from then on. A look leaves out what
    is inhibited or silenced, tells what the receiver does not know yet, and repeats it after `repeat_interval`.

    All of it runs on arrival time: what is due at t happens when time has passed t, after everything that arrived at t.
    So the rows are a function of what came, not of how it was cut into calls.

    Memory: a record for each incident that is open or not yet told to be over, for each group until `retention` after
    its end, for each silence until its end. Cost: per version of an incident a walk down the route tree; per look at a
    group one walk over its members, the inhibition rules and the silences.

    Raises:
        SettingsError: with everything that is wrong with the settings.
    """

    VERSION = 1

    def __init__(self, settings: AlertSettings) -> None:
        problems = find_problems(settings)
        if problems:
            raise SettingsError(problems)
        self._root = route_tree(settings)
        self._routes = {route.path: route for route in self._root.walk()}
        self._inhibition = Inhibition(settings)
        self._silences = Silences()
        self._timers = Timers()
        self._incidents: dict[str, Tracked] = {}
        self._groups = Groups(
            self._incidents,
            lambda tracked, now_us: judge_open(tracked, self._inhibition, self._silences, now_us),
            self._root,
            settings.retention,
            self._timers,
        )
        self._clock_us = BEGIN_OF_TIME_US
        self._settled = False
        self._ignored = 0

    def update(self, changes: Sequence[Incident], controls: Sequence[Arrived]) -> list[AlertRow]:
        """Take new versions of incidents, and events of the topic `controls`, each in order of arrival.

        Of the two that arrived at one time, incidents come first: what arrived at one time is not to be split so that
        an incident is given after a control.
        """
        out: list[AlertRow] = []
        items: Iterable[Incident | Arrived] = merge(changes, controls, key=_arrival)
        for item in items:
            out += self._run_timers(item.arrival_us)
            now_us = self._clock_us = max(self._clock_us, item.arrival_us)
            self._settled = False
            out += self._change(item, now_us) if isinstance(item, Incident) else self._control(item, now_us)
        return out

    def advance(self, clock_us: int) -> list[AlertRow]:
        """Do what is due before `clock_us`; everything that arrived before it has been given.

        At the end of time (`END_OF_TIME_US`, of a bounded job) what waits is told: each group is looked at once more,
        at its own time, and nothing is repeated for ever.
        """
        if clock_us < END_OF_TIME_US:
            out = self._run_timers(clock_us)
            self._clock_us = max(self._clock_us, clock_us)
            return out
        if self._settled:
            return []
        self._settled = True
        out = self._settle()
        self._timers.clear()
        self._set_timers()
        return out

    # --- time ---------------------------------------------------------------------------------------------------------

    def _run_timers(self, before_us: int) -> list[AlertRow]:
        out: list[AlertRow] = []
        while (due := self._timers.pop_before(before_us)) is not None:
            out += self._do(*due)
        return out

    def _settle(self) -> list[AlertRow]:
        """As if time went on until each group has been looked at with all that will be in it."""
        out: list[AlertRow] = []
        looked: set[str] = set()
        while (due := self._timers.pop_before(END_OF_TIME_US)) is not None:
            _, timer, key, _ = due
            if timer == Timer.HELD_LONG_ENOUGH or (timer == Timer.LOOK_AT_GROUP and key not in looked):
                out += self._do(*due)
                if timer == Timer.LOOK_AT_GROUP:
                    looked.add(key)
                elif key in self._incidents:  # its groups have something new to look at
                    looked.difference_update(self._incidents[key].groups.values())
                    self._groups.look_again(self._incidents[key], self._clock_us)
        return out

    def _do(self, due_us: int, timer: Timer, key: str, path: str) -> list[AlertRow]:
        now_us = self._clock_us = max(self._clock_us, due_us)
        if timer == Timer.HELD_LONG_ENOUGH:
            tracked = self._incidents.get(key)
            if tracked is None or tracked.pending.get(path) != due_us:
                return []
            del tracked.pending[path]
            return self._groups.join(tracked, self._routes[path], now_us)
        if timer == Timer.LOOK_AT_GROUP:
            return self._groups.look(key, due_us)
        if timer == Timer.FORGET_GROUP:
            self._groups.forget(key, now_us)
        else:
            self._silences.end(key, now_us)
        return []

    def _set_timers(self) -> None:
        """Set all that is waited for; it follows from the rest of the state."""
        self._groups.set_timers()
        for incident_id, tracked in self._incidents.items():
            for path, due_us in tracked.pending.items():
                self._timers.set(due_us, Timer.HELD_LONG_ENOUGH, incident_id, path)
        for quiet in self._silences.kept.values():
            self._timers.set(quiet.ends_us, Timer.END_SILENCE, quiet.silence_id)

    # --- incidents ----------------------------------------------------------------------------------------------------

    def _change(self, incident: Incident, now_us: int) -> list[AlertRow]:
        tracked = self._incidents.get(incident.incident_id)
        if incident.status == RESOLVED:
            return [] if tracked is None else self._resolve(tracked, incident, now_us)
        labels = labels_of(incident)
        if tracked is None:
            tracked = self._incidents[incident.incident_id] = Tracked(incident, labels)
        else:
            self._inhibition.remove(tracked)
            tracked.incident, tracked.labels = incident, labels
        self._inhibition.add(tracked)
        return [*end_where_worse(tracked, now_us), *self._route(tracked, now_us)]

    def _resolve(self, tracked: Tracked, incident: Incident, now_us: int) -> list[AlertRow]:
        """It is over: its groups tell so at their next look; where it is in none, that was all of it."""
        self._inhibition.remove(tracked)
        tracked.incident = incident
        out: list[AlertRow] = [*end_acknowledgement(tracked, SELF, "resolved", now_us)]
        for path in tracked.pending:
            judged = Judged(Decision.NOT_FIRING_YET, "resolved", "it was over before it had been open for long enough")
            out += decide(tracked, path, self._routes[path].receiver, judged, now_us)
        tracked.pending.clear()
        if not tracked.groups:
            del self._incidents[incident.incident_id]
        return out

    def _route(self, tracked: Tracked, now_us: int) -> list[AlertRow]:
        """Bring an open incident into the groups of the routes that take it now, and out of the others."""
        out: list[AlertRow] = []
        taking = self._root.taking(tracked.labels)
        routes = {route.path: route for route in taking if route.receiver}
        self._groups.stay(tracked, routes)
        for path in [path for path in tracked.pending if path not in routes]:
            del tracked.pending[path], tracked.verdicts[path]
        for path, route in routes.items():
            if path not in tracked.groups and path not in tracked.pending:
                out += self._enter(tracked, route, now_us)
        if not routes:
            judged = Judged(Decision.UNROUTED, taking[0].path, "no route that takes it has a receiver")
            out += decide(tracked, "", "", judged, now_us)
        else:
            tracked.verdicts.pop("", None)
        return out

    def _enter(self, tracked: Tracked, route: RouteNode, now_us: int) -> list[AlertRow]:
        """Into the route's group, at once or after its `for`."""
        if not route.for_us:
            return self._groups.join(tracked, route, now_us)
        tracked.pending[route.path] = now_us + route.for_us
        self._timers.set(now_us + route.for_us, Timer.HELD_LONG_ENOUGH, tracked.incident.incident_id, route.path)
        reason = f"it has to be open for {people_duration(route.for_us)}"
        return [
            *decide(tracked, route.path, route.receiver, Judged(Decision.NOT_FIRING_YET, route.path, reason), now_us)
        ]

    # --- what people say ----------------------------------------------------------------------------------------------

    def _control(self, arrived: Arrived, now_us: int) -> list[AlertRow]:
        event = arrived.event
        out: list[AlertRow] = []
        if isinstance(event, SilenceCreated):
            out.append(self._silences.create(event, now_us))
            quiet = self._silences.kept.get(event.silence_id)
            if quiet is not None:
                self._timers.set(quiet.ends_us, Timer.END_SILENCE, quiet.silence_id)
        elif isinstance(event, SilenceExpired):
            out += self._silences.expire(event, now_us)
        elif isinstance(event, IncidentAcknowledged | IncidentUnacknowledged):
            tracked = self._incidents.get(event.incident_id)
            if isinstance(event, IncidentAcknowledged):
                out += acknowledge(tracked, event, now_us)
            elif tracked is not None:
                out += end_acknowledgement(tracked, event.created_by, event.comment or "", now_us)
            if tracked is not None:
                out += self._groups.tell_seen_to(tracked, now_us)
        self._ignored += not out
        return out

    # --- state --------------------------------------------------------------------------------------------------------

    def sizes(self) -> dict[str, int]:
        """How much is remembered, and how many controls had nothing to act on."""
        return {
            "incidents": len(self._incidents),
            "groups": len(self._groups.kept),
            "members": sum(len(group.members) for group in self._groups.kept.values()),
            "silences": len(self._silences.kept),
            "inhibition": self._inhibition.sizes(),
            "timers": len(self._timers),
            "ignored_controls": self._ignored,
        }

    def snapshot(self) -> AlertingState:
        """All of it; to be encoded before the next call of anything here: it is no copy."""
        return AlertingState(
            self.VERSION,
            self._clock_us,
            self._settled,
            self._incidents,
            self._groups.kept,
            self._silences.kept,
            self._silences.version,
            self._ignored,
        )

    def restore(self, state: AlertingState) -> None:
        """Take over a snapshot, made with these settings or with others.

        Raises:
            StateError: it is of another version.
        """
        if state.version != self.VERSION:
            raise StateError(f"alerting state of version {state.version}; this code reads {self.VERSION}")
        self._clock_us, self._settled, self._ignored = state.clock_us, state.settled, state.ignored
        self._incidents.clear()
        self._incidents.update(state.incidents)
        self._groups.restore(state.groups)
        self._silences.restore(state.silences, state.silence_version)
        for tracked in self._incidents.values():
            for path in [path for path in tracked.pending if path not in self._routes]:
                del tracked.pending[path], tracked.verdicts[path]
            if tracked.incident.status != RESOLVED:
                self._inhibition.add(tracked)
        self._timers.clear()
        self._set_timers()


def _arrival(item: Incident | Arrived) -> int:
    return item.arrival_us
