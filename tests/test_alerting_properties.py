"""What holds for any script: cutting it up changes nothing, restarts change nothing, receivers see sound sequences."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from operators.alerting.alerting import Alerting
from operators.alerting.decisions import AlertRow
from schemas.durations import END_OF_TIME_US, SECOND_US
from schemas.events import Arrived
from schemas.incident_rows import Alert, AlertDecision, Incident, Silence
from tests.alerting_script import SHORT, Script, again, settings_of, us

SETTINGS = (
    SHORT.replace("60s", "25s")
    + """
group_by = ["kind"]
mute = ["then"]
retention = "40s"
[[route]]
matchers = ["severity=high"]
receiver = "duty"
for = "4s"
continue = true
[[route]]
matchers = ['node=~"n[12]"']
receiver = "nodes"
group_by = ["node"]
send_resolved = false
mute = []
[[route]]
matchers = ["node=n3"]
receiver = ""
[[inhibit]]
source_matchers = ["kind=downstream_outage"]
target_matchers = ["kind=oversell"]
equal = ["node"]
[[mute_time]]
name = "then"
from = "00:01"
until = "00:02"
"""
)
_IDS = st.sampled_from("abcd")
_STATUS = st.sampled_from(["open", "growing", "growing", "recovering", "resolved", "reopened"])
_CHANGE = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["oversell", "downstream_outage"]),
        "priority": st.integers(1, 3),
        "severity": st.sampled_from(["medium", "high"]),
        "candidates": st.lists(_IDS.map(lambda one: f"s-{one}: near"), max_size=1),
    },
    optional={"node": st.sampled_from(["n1", "n2", "n3", "n4"])},
)
_MATCHERS = st.sampled_from(["kind=oversell", "node=~n.", "severity=high", "incident=a", "kind=~("])
_STEPS = st.one_of(
    st.tuples(st.just("push"), _IDS, _STATUS, _CHANGE),
    st.tuples(st.just("push"), _IDS, _STATUS, _CHANGE),
    st.tuples(st.just("silence"), st.sampled_from("qr"), _MATCHERS, st.integers(-2, 40)),
    st.tuples(st.just("expire"), st.sampled_from("qr")),
    st.tuples(st.just("ack"), _IDS, st.none() | st.integers(0, 150)),
    st.tuples(st.just("unack"), _IDS),
)
_KEYS: dict[type, str] = {Alert: "alert_id", AlertDecision: "decision_id", Silence: "silence_id"}
_SCRIPTS = st.lists(st.tuples(st.integers(0, 300), _STEPS), max_size=40)


def _items(script: list[tuple[int, Any]]) -> list[Incident | Arrived]:
    """In the order of arrival, incidents first of those that arrived at one time."""
    play = Script(SETTINGS)
    for half_seconds, (what, *rest) in script:
        at_s = half_seconds / 2
        if what == "push":
            incident_id, status, fields = rest
            play.push(at_s, incident_id, status, **fields)
        elif what == "silence":
            play.silence(at_s, rest[0], rest[1], for_s=rest[2])
        else:
            getattr(play, what)(at_s, *rest)
    return sorted(play.items, key=lambda item: (item.arrival_us, isinstance(item, Arrived)))


def _give(operator: Alerting, items: Sequence[Incident | Arrived]) -> list[AlertRow]:
    changes = [item for item in items if isinstance(item, Incident)]
    return operator.update(changes, [item for item in items if isinstance(item, Arrived)])


def _whole(items: Sequence[Incident | Arrived]) -> list[AlertRow]:
    operator = Alerting(settings_of(SETTINGS))
    return [*_give(operator, items), *operator.advance(us(400))]


@settings(max_examples=300, deadline=None)
@given(_SCRIPTS, st.data())
def test_neither_batches_nor_ticks_nor_restarts_change_what_is_told(script: list[Any], data: st.DataObject) -> None:
    items = _items(script)
    declared = settings_of(SETTINGS)
    operator, rows, left = Alerting(declared), [], list(items)
    while left:
        count = data.draw(st.integers(1, len(left)), "batch")
        batch, left = left[:count], left[count:]
        rows += _give(operator, batch)
        if data.draw(st.booleans(), "restart"):
            operator = again(operator, declared)
        until_us = left[0].arrival_us if left else batch[-1].arrival_us + SECOND_US
        rows += operator.advance(data.draw(st.integers(batch[-1].arrival_us - SECOND_US, until_us), "tick"))
        if data.draw(st.booleans(), "restart"):
            operator = again(operator, declared)
    rows += operator.advance(us(400))
    assert rows == _whole(items)


@settings(max_examples=200, deadline=None)
@given(_SCRIPTS)
def test_what_a_receiver_sees_of_a_group_is_a_sound_sequence(script: list[Any]) -> None:
    rows = _whole(_items(script))
    alerts = [row for row in rows if isinstance(row, Alert)]
    assert len({one.alert_id for one in alerts}) == len(alerts)
    assert [one.sent_at_us for one in alerts] == sorted(one.sent_at_us for one in alerts)
    by_group: dict[tuple[str, str], list[Alert]] = {}
    for one in alerts:
        by_group.setdefault((one.receiver, one.group_key), []).append(one)
    seen_to = sum(step[0] == "ack" for _, step in script)
    for (receiver, _), mine in by_group.items():
        for before, after in pairwise([None, *mine]):
            assert after is not None
            counted_on = before is not None and after.sequence == before.sequence + 1
            forgotten = before is None or after.sent_at_us - before.sent_at_us > 40 * SECOND_US
            assert counted_on or (after.sequence == 1 and forgotten)
            known_open = before is not None and before.status == "firing"
            if receiver != "nodes":  # which is told no ends
                assert (after.action == "trigger") is not known_open
            assert after.status == ("resolved" if after.action == "resolve" else "firing")
            twice = before is not None and before.action == after.action == "acknowledge"
            assert not twice or seen_to > 1, "one that ran out, which is not told, may be followed by another"
        assert receiver != "nodes" or all(one.action != "resolve" for one in mine)


@settings(max_examples=200, deadline=None)
@given(_SCRIPTS)
def test_rows_are_versions_of_their_keys_and_nobody_is_told_in_a_mute_time(script: list[Any]) -> None:
    rows = _whole(_items(script))
    versions: dict[tuple[str, str], int] = {}
    for row in rows:
        key = _KEYS[type(row)]
        named = (key, getattr(row, key))
        assert versions.get(named, -1) < row.version
        versions[named] = row.version
    muted = [row for row in rows if isinstance(row, Alert) and us(60) <= row.sent_at_us < us(120)]
    assert all(alert.receiver == "nodes" for alert in muted)


@settings(max_examples=200, deadline=None)
@given(_SCRIPTS)
def test_once_all_is_over_nothing_is_kept(script: list[Any]) -> None:
    operator = Alerting(settings_of(SETTINGS))
    ended = [
        (310, ("push", one, "resolved", {"kind": "oversell", "priority": 1, "severity": "high"})) for one in "abcd"
    ]
    _give(operator, _items([*script, *ended]))
    operator.advance(us(300))
    assert {name: size for name, size in operator.sizes().items() if size and name != "ignored_controls"} == {}


@settings(max_examples=100, deadline=None)
@given(_SCRIPTS)
def test_the_end_of_time_comes_to_an_end(script: list[Any]) -> None:
    """And a job that ends says all that the live one would have said by then, in the same words."""
    items = _items(script)
    bounded = Alerting(settings_of(SETTINGS))
    rows = [*_give(bounded, items), *bounded.advance(END_OF_TIME_US)]
    live = Alerting(settings_of(SETTINGS))
    later = [*_give(live, items), *live.advance(us(2_000))]
    assert bounded.advance(END_OF_TIME_US) == []
    assert [row for row in rows if row not in later] == []
