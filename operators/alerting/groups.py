"""Groups: incidents that one receiver is told of together, and the looks at them."""

from collections.abc import Callable, Mapping

import msgspec

from operators.alerting.acknowledgements import acknowledgement_of
from operators.alerting.content import is_given_up, told_of
from operators.alerting.decisions import AlertRow, Decision, Judged, Reason, decide
from operators.alerting.matchers import Matcher
from operators.alerting.notices import make_notice
from operators.alerting.repeating import reason_to_tell
from operators.alerting.routes import RouteNode
from operators.alerting.standing import Standing, is_over, standing_of
from operators.alerting.state import Former, Group, Member, Tracked
from operators.alerting.timers import Timer, Timers
from schemas.durations import people_duration, people_time


class Groups:
    """The groups, by key.

    A group is looked at `group_wait` after it got its first member, then every `group_interval` as long as it has any;
    it is kept for `retention` after that, so that its notifications go on being counted.

    Args:
        incidents: all that is tracked; shared, and let go of here when a group was the last to need one.
        hold: whether an open incident is held back, at a time.
        root: the route tree.
        retention_us: see above.
        timers: shared.

    Memory: a record per group, an entry per member.
    """

    def __init__(
        self,
        incidents: dict[str, Tracked],
        hold: Callable[[Tracked, int], Judged | None],
        root: RouteNode,
        retention_us: int,
        timers: Timers,
    ) -> None:
        self.kept: dict[str, Group] = {}
        self._incidents, self._hold, self._timers = incidents, hold, timers
        self._root, self._retention_us = root, retention_us
        self._routes = {route.path: route for route in root.walk()}

    def join(self, tracked: Tracked, route: RouteNode, now_us: int) -> list[AlertRow]:
        """Bring an incident into its group on a route; it stays there when labels change that it is grouped by."""
        labels = route.group_labels(tracked.labels)
        named = ",".join(str(Matcher(name, "=", value)) for name, value in labels.items())
        key = f"{route.path}:{{{named}}}"
        group = self.kept.get(key)
        if group is None:
            group = self.kept[key] = Group(key, route.path, route.receiver, labels)
        if not group.members:
            self._look_at(group, now_us + route.group_wait_us)
        group.members[tracked.incident.incident_id] = Member()
        tracked.groups[route.path] = key
        assert group.due_us is not None
        held = Judged(
            Decision.GROUPED if group.looked else Decision.WAITING,
            route.path,
            f"its group is looked at {people_time(group.due_us)}",
        )
        return [*decide(tracked, route.path, route.receiver, held, now_us)]

    def stay(self, tracked: Tracked, taking: Mapping[str, RouteNode]) -> None:
        """Mark where an incident has left its group because the group's route takes it no more, or has come back."""
        for path, key in tracked.groups.items():
            self.kept[key].members[tracked.incident.incident_id].left = path not in taking

    def look(self, key: str, now_us: int) -> list[AlertRow]:
        """Tell what is to be told, say why the rest is not, let go of what is over."""
        group = self.kept[key]  # one that is to be looked at has members, and is not forgotten
        route = self.route_of(group)
        standing = standing_of(group, self._incidents, lambda tracked: self._hold(tracked, now_us))
        muted = route.muted_by(now_us)
        reason = None if muted else reason_to_tell(group, standing, route, now_us)
        out: list[AlertRow] = _take_leave(group, now_us) if route.send_resolved else []
        group.former = []
        if reason is not None and (standing.firing or route.send_resolved):
            out += self._tell(group, standing, reason, route, now_us)
        else:
            for tracked in standing.firing.values():
                held = _why_not_told(tracked, group, route, muted, now_us)
                out += decide(tracked, route.path, group.receiver, held, now_us)
        for incident_id, held in standing.held.items():
            out += decide(self._incidents[incident_id], route.path, group.receiver, held, now_us)
        out += self._let_go(group, standing, route, muted, now_us)
        out += self._tell_seen_to(group, now_us)
        group.looked = bool(group.members)
        if group.members:
            self._look_at(group, now_us + route.group_interval_us)
        else:
            group.due_us, group.ended_us = None, now_us
            self._timers.set(now_us + self._retention_us, Timer.FORGET_GROUP, group.key)
        return out

    def look_again(self, tracked: Tracked, now_us: int) -> None:
        """Look at an incident's groups at their next time, where time has gone past the one that was set."""
        for key in tracked.groups.values():
            group = self.kept[key]
            assert group.due_us is not None, "a group with a member is to be looked at"
            if group.due_us < now_us:
                interval_us = self.route_of(group).group_interval_us
                self._look_at(group, now_us + (group.due_us - now_us) % interval_us)

    def tell_seen_to(self, tracked: Tracked, now_us: int) -> list[AlertRow]:
        """Tell the receivers of an incident when all that they take for open is seen to, once."""
        out: list[AlertRow] = []
        for path in sorted(tracked.groups):
            out += self._tell_seen_to(self.kept[tracked.groups[path]], now_us)
        return out

    def forget(self, key: str, now_us: int) -> None:
        """Let go of a group that has been empty for `retention`."""
        group = self.kept.get(key)
        if group is not None and not group.members and group.ended_us + self._retention_us <= now_us:
            del self.kept[key]

    def route_of(self, group: Group) -> RouteNode:
        """A group's route; for one that the settings have no more, the root's times."""
        found = self._routes.get(group.route)
        if found is not None:
            return found
        return msgspec.structs.replace(self._root, path=group.route, receiver=group.receiver, mute=(), routes=())

    def restore(self, kept: dict[str, Group]) -> None:
        """Take over what a snapshot has; settings may be other ones since.

        What is in a group whose route is gone has left it. Where a route has another receiver now, that one is told
        from the beginning, and the one before it that it is over.
        """
        self.kept = kept
        for group in kept.values():
            route = self._routes.get(group.route)
            if route is None:
                for member in group.members.values():
                    member.left = True
            elif route.receiver and route.receiver != group.receiver:
                self._hand_over(group, route.receiver)

    def _hand_over(self, group: Group, receiver: str) -> None:
        """Another receiver is told from here on; one that was before, and was not told yet that it is over, goes on."""
        if group.told:
            known = [self._incidents[one] for one in sorted(group.told)]
            copies = [Tracked(tracked.incident, tracked.labels) for tracked in known]
            group.former.append(Former(group.receiver, copies, group.told, group.sequence, group.starts_us))
        back = next((one for one in group.former if one.receiver == receiver), None)
        group.receiver, group.acknowledged, group.told, group.sequence = receiver, False, {}, 0
        if back is not None:
            group.former.remove(back)
            group.told, group.sequence, group.starts_us = back.told, back.sequence, back.starts_us

    def set_timers(self) -> None:
        """Set what groups wait for."""
        for group in self.kept.values():
            if group.due_us is not None:
                self._timers.set(group.due_us, Timer.LOOK_AT_GROUP, group.key)
            else:
                self._timers.set(group.ended_us + self._retention_us, Timer.FORGET_GROUP, group.key)

    def _look_at(self, group: Group, due_us: int) -> None:
        group.due_us = due_us
        self._timers.set(due_us, Timer.LOOK_AT_GROUP, group.key)

    def _tell(self, group: Group, standing: Standing, reason: Reason, route: RouteNode, now_us: int) -> list[AlertRow]:
        firing = list(standing.firing.values())
        ended = {one: tracked for one, tracked in standing.over.items() if one in group.told}
        over = list(ended.values()) if route.send_resolved else []
        action = "resolve" if not firing else "update" if group.told else "trigger"
        began_us = min((tracked.incident.opened_at_us for tracked in firing), default=group.starts_us)
        group.starts_us = min(group.starts_us, began_us) if group.told else began_us
        group.sequence += 1
        group.sent_us = now_us
        notice = make_notice(group, action, reason, firing, over, now_us)
        untold = standing.held if route.send_resolved else standing.held | ended
        still_open = {one: told for one, told in group.told.items() if one in untold}
        group.told = still_open | {one: told_of(tracked.incident) for one, tracked in standing.firing.items()}
        if reason is Reason.ANOTHER:  # which may be acknowledged by now, too
            group.acknowledged = False
        out: list[AlertRow] = [notice]
        for tracked in (*firing, *over):
            why = Reason.MERGED if is_given_up(tracked.incident) else reason
            held = Judged(Decision.NOTIFIED, notice.alert_id, why.value)
            out += decide(tracked, group.route, group.receiver, held, now_us)
        return out

    def _tell_seen_to(self, group: Group, now_us: int) -> list[AlertRow]:
        if self.route_of(group).muted_by(now_us):
            return []
        members = group.members
        known = [(self._incidents[one], members[one].left) for one in sorted(group.told) if one in members]
        firing = [tracked for tracked, left in known if not is_over(tracked, left=left)]
        held = [acknowledgement_of(tracked, now_us) for tracked in firing]
        if not firing or None in held:
            group.acknowledged = False
            return []
        if group.acknowledged:
            return []
        group.acknowledged = True
        group.sequence += 1
        said = [f"{one.created_by}: {one.comment}" if one.comment else one.created_by for one in held if one]
        by = ", ".join(dict.fromkeys(said))
        return [make_notice(group, "acknowledge", Reason.SEEN_TO, firing, [], now_us, by)]

    def _let_go(self, group: Group, standing: Standing, route: RouteNode, muted: str, now_us: int) -> list[AlertRow]:
        """Drop the members that are over, but for those whose end the receiver is still to be told."""
        out: list[AlertRow] = []
        for incident_id, tracked in standing.over.items():
            held = None
            if incident_id in group.told:
                if route.send_resolved:
                    reason = "its end is told when the others of the group are over that the receiver knows"
                    held = Judged(Decision.MUTED, muted, "") if muted else Judged(Decision.GROUPED, route.path, reason)
                    out += decide(tracked, group.route, group.receiver, held, now_us)
                    continue
                del group.told[incident_id]
                held = Judged(Decision.MUTED, "send_resolved", "the route tells no ends")
            elif tracked.verdicts[group.route].decision != Decision.NOTIFIED:
                given_up = is_given_up(tracked.incident)
                why = tracked.incident.summary if given_up else "it was over before it was told"
                held = Judged(Decision.DEDUPLICATED, group.route, why)
            if held is not None:
                out += decide(tracked, group.route, group.receiver, held, now_us)
            del group.members[incident_id], tracked.groups[group.route], tracked.verdicts[group.route]
            if not tracked.groups and tracked.incident.status == "resolved":
                del self._incidents[incident_id]
        return out


def _take_leave(group: Group, now_us: int) -> list[AlertRow]:
    """Tell receivers that are not told of a group any more that it is over for them."""
    out: list[AlertRow] = []
    for one in group.former:
        sequence = one.sequence + 1
        was = msgspec.structs.replace(group, receiver=one.receiver, sequence=sequence, starts_us=one.starts_us)
        out.append(make_notice(was, "resolve", Reason.HANDED_OVER, [], one.known, now_us))
    return out


def _why_not_told(tracked: Tracked, group: Group, route: RouteNode, muted: str, now_us: int) -> Judged:
    """Why an incident that is open and not held back is not told at this look."""
    if muted:
        return Judged(Decision.MUTED, muted, f"the mute time {muted} is on")
    seen_to = acknowledgement_of(tracked, now_us)
    if seen_to is not None:
        return Judged(Decision.ACKNOWLEDGED, seen_to.created_by, seen_to.comment or "somebody sees to it")
    every = people_duration(route.repeat_interval_us)
    return Judged(Decision.DEDUPLICATED, route.path, f"told {people_time(group.sent_us)}; repeated after {every}")
