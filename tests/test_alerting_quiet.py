"""What keeps alerts quiet: silences, inhibition, mute times, acknowledgements."""

import pytest

from operators.alerting.silences import Silences
from schemas.durations import END_OF_TIME_US
from schemas.incident_rows import AlertDecision, Silence
from tests.alerting_script import SHORT, Script, second, us

# --- silences ---------------------------------------------------------------------------------------------------------


def test_a_silence_keeps_quiet_what_it_fits_until_its_end() -> None:
    play = Script()
    play.silence(0, "q", 'node=~"store-.*"', "kind=oversell", for_s=50)
    play.push(1, "a", node="store-7")
    play.push(1, "b", node="dc-1")
    play.expect(4, 4, "trigger", "b")
    play.expect(54, 54, "update", "a", "b")
    play.run(60)
    assert play.decisions("a") == ["1 waiting", "4 silenced", "54 notified"]
    (row,) = [row for row in play.of(AlertDecision) if row.decision == "silenced"]
    assert (row.by, row.receiver, row.reason) == ("q", "pager", "by kim until 2026-03-02 00:00:50Z: known")
    assert play.operator.sizes()["silences"] == 0


def test_an_expired_silence_ends_at_once_and_its_row_says_who() -> None:
    play = Script()
    play.silence(0, "q", "kind=oversell")
    play.push(1, "a")
    play.expire(20, "q")
    play.expire(21, "q")
    play.expire(22, "unknown")
    play.expect(24, 24, "trigger", "a")
    play.run(40)
    made, ended = play.of(Silence)
    assert (made.expired_by, second(ended.ends_at_us), ended.expired_by) == ("", 20, "lee")
    assert ended.version > made.version
    assert ended.matchers == made.matchers == ["kind=oversell"]
    assert play.operator.sizes()["ignored_controls"] == 2


def test_a_silence_may_begin_later() -> None:
    play = Script()
    play.silence(0, "q", "kind=oversell", after_s=10, for_s=30)
    play.push(1, "a")
    play.push(12, "b")
    play.expect(4, 4, "trigger", "a")
    play.expect(44, 44, "update", "a", "b")
    play.run(50)


def test_a_silence_has_ended_at_its_end() -> None:
    play = Script()
    play.silence(0, "q", "kind=oversell", for_s=24)
    play.push(1, "a")
    play.expect(24, 24, "trigger", "a")
    play.run(30)


def test_what_is_silenced_after_it_was_told_is_not_told_as_another_when_the_silence_ends() -> None:
    play = Script()
    play.push(1, "a", node="n1")
    play.silence(6, "q", "node=n1", for_s=20)
    play.push(7, "b", node="n2")
    play.expect(4, 4, "trigger", "a")
    play.expect(14, 14, "update", "b")
    play.expect(74, 74, "update", "a", "b")
    assert [alert.reason for alert in play.run(80)][1:] == [
        "another incident in the group",
        "still open after repeat_interval",
    ]


def test_a_silence_of_the_same_id_replaces_the_other_and_its_end() -> None:
    play = Script()
    play.silence(0, "q", "kind=oversell", for_s=10)
    play.silence(5, "q", "kind=oversell", for_s=28)
    play.push(1, "a")
    play.expect(34, 34, "trigger", "a")
    play.run(40)
    assert [row.version for row in play.of(Silence)] == [us(0), us(5)]


def test_the_end_of_what_was_told_is_told_in_spite_of_a_silence() -> None:
    play = Script()
    play.push(1, "a")
    play.silence(10, "q", "kind=oversell")
    play.push(30, "a", "resolved")
    play.expect(4, 4, "trigger", "a")
    play.expect(34, 34, "resolve", "a")
    play.run(90)


def test_a_group_is_not_over_while_a_silenced_one_that_was_told_is_open() -> None:
    play = Script(SHORT + 'group_by = ["kind"]\n')
    play.push(1, "a", node="n1")
    play.push(1, "b", node="n2")
    play.silence(10, "q", "node=n1")
    play.push(20, "b", "resolved", node="n2")
    play.push(50, "a", "resolved", node="n1")
    play.expect(4, 4, "trigger", "a", "b")
    play.expect(54, 54, "resolve", "a", "b")
    play.run(90)


@pytest.mark.parametrize(
    ("matchers", "for_s", "why"),
    [
        ([], 50.0, "at least one matcher"),
        (['kind=~".*"'], 50.0, "at least one matcher"),
        (["kind!=oversell"], 50.0, "at least one matcher"),
        (["kind"], 50.0, "must be a matcher such as"),
        (['kind=~"(a"'], 50.0, "has a ( without its )"),
        (["kind=oversell"], -1.0, "its end is not after its beginning"),
    ],
)
def test_a_silence_that_can_not_be_used_is_on_record_and_quietens_nothing(
    matchers: list[str], for_s: float, why: str
) -> None:
    play = Script()
    play.silence(0, "q", *matchers, for_s=for_s)
    play.push(1, "a")
    play.expect(4, 4, "trigger", "a")
    play.run(30)
    (row,) = play.of(Silence)
    assert why in row.comment
    assert (row.expired_by, row.ends_at_us) == ("andon", us(0))


def test_a_bad_replacement_leaves_the_silence_in_force() -> None:
    play = Script()
    play.silence(0, "q", "kind=oversell", for_s=40)
    play.silence(2, "q", "kind=~[")
    play.push(1, "a")
    play.expect(44, 44, "trigger", "a")
    play.run(50)
    refused = play.of(Silence)[1]
    assert refused.comment.startswith("refused: ")
    assert (refused.expired_by, refused.matchers) == ("", ["kind=oversell"])


def test_silences_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Silences, "MAX_SILENCES", 3)
    play = Script()
    for number in range(5):
        play.silence(number, f"q{number}", f"node=n{number}", for_s=20)
    play.silence(30, "later", "node=n1")
    play.run(40)
    assert [row.silence_id for row in play.of(Silence) if not row.expired_by] == ["q0", "q1", "q2", "later"]


# --- inhibition -------------------------------------------------------------------------------------------------------

INHIBIT = (
    SHORT
    + """
parents_inhibit = false
group_by = ["..."]
[[inhibit]]
source_matchers = ["kind=downstream_outage"]
target_matchers = ['kind=~"posting_.*|refund_lag"']
equal = ["interface"]
"""
)


def test_a_source_keeps_its_targets_quiet_where_the_labels_are_equal() -> None:
    play = Script(INHIBIT)
    play.push(1, "outage", kind="downstream_outage", interface="erp")
    play.push(2, "target", kind="posting_missing", interface="erp")
    play.push(2, "elsewhere", kind="posting_missing", interface="wms")
    play.push(2, "nowhere", kind="refund_lag")
    play.expect(4, 4, "trigger", "outage")
    play.expect(5, 5, "trigger", "elsewhere")
    play.expect(5, 5, "trigger", "nowhere")
    play.run(40)
    (row,) = [row for row in play.of(AlertDecision) if row.decision == "inhibited"]
    assert (row.incident_id, row.by, row.reason) == ("target", "outage", "rule inhibit[0]")


def test_when_the_source_is_over_the_target_is_told() -> None:
    play = Script(INHIBIT)
    play.push(1, "outage", kind="downstream_outage", interface="erp")
    play.push(2, "target", kind="posting_missing", interface="erp")
    play.push(21, "outage", "resolved", kind="downstream_outage", interface="erp")
    play.expect(4, 4, "trigger", "outage")
    play.expect(24, 24, "resolve", "outage")
    play.expect(25, 25, "trigger", "target")
    play.run(40)


def test_a_label_that_both_lack_is_equal_and_a_changed_label_counts() -> None:
    play = Script(INHIBIT)
    play.push(1, "outage", kind="downstream_outage")
    play.push(2, "target", kind="posting_missing")
    play.push(12, "outage", "growing", kind="downstream_outage", interface="erp")
    play.expect(4, 4, "trigger", "outage")
    play.expect(15, 15, "trigger", "target")
    play.run(40)


def test_a_silenced_source_inhibits_all_the_same() -> None:
    play = Script(INHIBIT)
    play.silence(0, "q", "kind=downstream_outage")
    play.push(1, "outage", kind="downstream_outage", interface="erp")
    play.push(2, "target", kind="posting_missing", interface="erp")
    play.run(40)


def test_two_that_both_sides_fit_do_not_keep_each_other_quiet() -> None:
    both = '[[inhibit]]\nsource_matchers = ["kind=oversell"]\ntarget_matchers = [\'kind=~"oversell|misrouting"\']\n'
    play = Script(SHORT + 'parents_inhibit = false\ngroup_by = ["incident"]\n' + both)
    play.push(1, "a")
    play.push(1, "b")
    play.push(1, "c", kind="misrouting")
    play.expect(4, 4, "trigger", "a")
    play.expect(4, 4, "trigger", "b")
    play.run(40)
    assert play.decisions("c") == ["1 waiting", "4 inhibited"]


PARENTS = SHORT + 'group_by = ["incident"]\n'


def test_a_probable_cause_keeps_its_children_quiet() -> None:
    play = Script(PARENTS)
    play.push(1, "queue", kind="queue_saturation", queue="reservations", region="north")
    causes = ["s-queue: its queue is full", "s-child: it came first"]
    play.push(2, "child", kind="picking_backlog", candidates=causes, region="north", node="n1")
    play.push(2, "apart", kind="picking_backlog", candidates=causes, region="south", node="n2")
    play.push(2, "alone", kind="picking_backlog", region="north")
    play.push(31, "queue", "resolved", kind="queue_saturation")
    play.expect(4, 4, "trigger", "queue")
    play.expect(5, 5, "trigger", "apart")
    play.expect(5, 5, "trigger", "alone")
    play.expect(34, 34, "resolve", "queue")
    play.expect(35, 35, "trigger", "child")
    play.run(50)
    (row,) = [row for row in play.of(AlertDecision) if row.decision == "inhibited"]
    assert (row.by, row.reason) == ("queue", "it is a probable cause of this one")


def test_of_two_that_name_each_other_the_earlier_is_told() -> None:
    play = Script(PARENTS)
    play.push(1, "a", candidates=["s-b: near"])
    play.push(2, "b", candidates=["s-a: near"])
    play.expect(4, 4, "trigger", "a")
    play.run(50)


def test_parents_inhibit_can_be_off() -> None:
    play = Script(PARENTS + "parents_inhibit = false\n")
    play.push(1, "a")
    play.push(2, "b", candidates=["s-a: near"])
    play.expect(4, 4, "trigger", "a")
    play.expect(5, 5, "trigger", "b")
    play.run(50)


# --- mute times -------------------------------------------------------------------------------------------------------

MUTED = SHORT + 'mute = ["night"]\n[[mute_time]]\nname = "night"\nfrom = "22:00"\nuntil = "00:01"\n'


def test_a_mute_time_holds_everything_and_nothing_is_lost() -> None:
    play = Script(MUTED)  # the script begins at midnight, of a night that is over after a minute
    play.push(1, "a")
    play.push(2, "b", kind="misrouting")
    play.push(30, "b", "resolved", kind="misrouting")
    play.expect(64, 64, "trigger", "a")
    play.run(80)
    assert play.decisions("a") == ["1 waiting", "4 muted", "64 notified", "74 deduplicated"]
    assert play.decisions("b") == ["2 waiting", "5 muted", "35 deduplicated"]


def test_repeats_and_ends_of_a_mute_time_are_told_after_it() -> None:
    play = Script(SHORT + 'mute = ["then"]\n[[mute_time]]\nname = "then"\nfrom = "00:01"\nuntil = "00:02"\n')
    play.push(1, "a")
    play.push(1, "b", kind="misrouting")
    play.push(70, "b", "resolved", kind="misrouting")
    play.expect(4, 4, "trigger", "a")
    play.expect(4, 4, "trigger", "b")
    play.expect(124, 124, "update", "a")
    play.expect(124, 124, "resolve", "b")
    play.run(150)


def test_an_acknowledgement_in_a_mute_time_is_told_after_it() -> None:
    play = Script(SHORT + 'mute = ["then"]\n[[mute_time]]\nname = "then"\nfrom = "00:01"\nuntil = "00:02"\n')
    play.push(1, "a")
    play.push(1, "b", kind="misrouting")
    play.ack(70, "a")
    play.ack(71, "b")
    play.unack(90, "b")
    play.expect(4, 4, "trigger", "a")
    play.expect(4, 4, "trigger", "b")
    play.expect(124, 124, "acknowledge", "a")
    play.expect(124, 124, "update", "b")
    play.run(150)


@pytest.mark.parametrize(("day", "quiet"), [("sun", True), ("mon", False)])
def test_the_hours_after_midnight_belong_to_the_day_on_which_a_mute_time_began(day: str, quiet: bool) -> None:
    play = Script(MUTED + f'days = ["{day}"]\n')
    play.push(1, "a")
    play.expect(*((64, 64) if quiet else (4, 4)), "trigger", "a")
    play.run(63.9 if not quiet else 70)


@pytest.mark.parametrize(
    ("days", "zone", "quiet"),
    [
        ('["mon"]', "UTC", True),
        ('["sun"]', "UTC", False),
        ('["mon"]', "America/New_York", False),
        ('["sun"]', "America/New_York", True),
        ("[]", "America/New_York", True),
        ('["mon"]', "+02:00", True),
    ],
)
def test_a_mute_time_has_days_and_a_zone(days: str, zone: str, quiet: bool) -> None:
    whole_day = f'[[mute_time]]\nname = "day"\ndays = {days}\nzone = "{zone}"\n'
    play = Script(SHORT + 'mute = ["day"]\n' + whole_day)
    play.push(1, "a")
    if not quiet:
        play.expect(4, 4, "trigger", "a")
    play.run(30)


# --- acknowledgements -------------------------------------------------------------------------------------------------


def test_an_acknowledgement_is_told_once_and_stops_repeats_and_small_changes() -> None:
    play = Script()
    play.push(1, "a")
    play.ack(20, "a")
    play.push(30, "a", "growing", severity="high")
    play.push(140, "a", "resolved")
    play.expect(4, 4, "trigger", "a")
    play.expect(20, 20, "acknowledge", "a")
    play.expect(144, 144, "resolve", "a")
    alerts = play.run(200)
    assert alerts[1].annotations["acknowledged_by"] == "kim: on it"
    assert [alert.sequence for alert in alerts] == [1, 2, 3]
    assert play.decisions("a")[-2:] == ["24 acknowledged", "144 notified"]
    made, ended = play.of(Silence)
    assert (made.incident_id, made.ends_at_us, made.created_by) == ("a", END_OF_TIME_US, "kim")
    assert (ended.expired_by, ended.comment, second(ended.ends_at_us)) == ("andon", "on it / resolved", 140)
    assert ended.silence_id == made.silence_id
    assert ended.version > made.version


def test_when_the_priority_rises_the_acknowledgement_ends() -> None:
    play = Script()
    play.push(1, "a", priority=3)
    play.ack(6, "a")
    play.push(20, "a", "growing", priority=4)
    play.push(40, "a", "growing", priority=2)
    play.expect(4, 4, "trigger", "a")
    play.expect(6, 6, "acknowledge", "a")
    play.expect(44, 44, "update", "a")
    play.expect(104, 104, "update", "a")
    alerts = play.run(120)
    assert [alert.reason for alert in alerts[2:]] == ["the priority has risen", "still open after repeat_interval"]
    assert play.of(Silence)[1].comment == "on it / priority 3 has become 2"


def test_an_acknowledgement_before_the_first_notification_is_told_with_it() -> None:
    play = Script()
    play.push(1, "a")
    play.ack(2, "a")
    play.expect(4, 4, "trigger", "a")
    play.expect(4, 4, "acknowledge", "a")
    play.run(100)


def test_a_group_is_acknowledged_when_all_of_it_is() -> None:
    play = Script()
    play.push(1, "a")
    play.push(1, "b")
    play.ack(6, "a")
    play.ack(20, "b")
    play.push(30, "c")
    play.ack(50, "c")
    play.expect(4, 4, "trigger", "a", "b")
    play.expect(20, 20, "acknowledge", "a", "b")
    play.expect(34, 34, "update", "a", "b", "c")
    play.expect(50, 50, "acknowledge", "a", "b", "c")
    play.run(180)


def test_another_or_a_worse_one_that_is_acknowledged_before_it_is_told_is_told_as_such() -> None:
    play = Script()
    play.push(1, "a")
    play.ack(6, "a")
    play.push(20, "b")
    play.ack(21, "b")
    play.push(30, "a", "growing", priority=1)
    play.ack(31, "a")
    play.expect(4, 4, "trigger", "a")
    play.expect(6, 6, "acknowledge", "a")
    play.expect(24, 24, "update", "a", "b")
    play.expect(24, 24, "acknowledge", "a", "b")
    play.run(100)


def test_an_acknowledgement_has_ended_at_its_end() -> None:
    play = Script()
    play.push(1, "a")
    play.ack(6, "a", until_s=64)
    play.expect(4, 4, "trigger", "a")
    play.expect(6, 6, "acknowledge", "a")
    play.expect(64, 64, "update", "a")
    play.run(70)


def test_an_unacknowledged_part_of_a_group_is_repeated() -> None:
    play = Script()
    play.push(1, "a")
    play.push(1, "b")
    play.ack(6, "a")
    play.expect(4, 4, "trigger", "a", "b")
    play.expect(64, 64, "update", "a", "b")
    play.run(100)


def test_taken_back_or_run_out_repeats_go_on() -> None:
    play = Script()
    play.push(1, "a")
    play.ack(6, "a")
    play.unack(80, "a")
    play.unack(81, "a")
    play.push(1, "b", kind="misrouting")
    play.ack(6, "b", until_s=80)
    play.expect(4, 4, "trigger", "a")
    play.expect(4, 4, "trigger", "b")
    play.expect(6, 6, "acknowledge", "a")
    play.expect(6, 6, "acknowledge", "b")
    play.expect(84, 84, "update", "a")
    play.expect(84, 84, "update", "b")
    play.run(120)
    assert play.operator.sizes()["ignored_controls"] == 1
    assert [row.expired_by for row in play.of(Silence)] == ["", "", "lee"]


def test_acknowledged_anew_the_other_ends() -> None:
    play = Script()
    play.push(1, "a")
    play.ack(6, "a")
    play.ack(12, "a", until_s=30)
    play.expect(4, 4, "trigger", "a")
    play.expect(6, 6, "acknowledge", "a")
    play.expect(64, 64, "update", "a")
    play.run(100)
    first, ended, second_ = play.of(Silence)
    assert (ended.silence_id, ended.comment) == (first.silence_id, "on it / acknowledged anew")
    assert second_.silence_id != first.silence_id


def test_what_is_not_open_can_not_be_acknowledged() -> None:
    play = Script()
    play.ack(1, "nothing")
    play.push(2, "a")
    play.push(6, "a", "resolved")
    play.ack(7, "a")
    play.push(20, "b", kind="misrouting")
    play.ack(21, "b", until_s=20.5)
    play.expect(5, 5, "trigger", "a")
    play.expect(15, 15, "resolve", "a")
    play.expect(23, 23, "trigger", "b")
    play.run(70)
    assert [(row.expired_by, row.comment) for row in play.of(Silence)] == [
        ("andon", "refused: no incident of this id is open"),
        ("andon", "refused: no incident of this id is open"),
        ("andon", "refused: its end has passed"),
    ]


def test_after_reopening_an_acknowledgement_is_gone() -> None:
    play = Script()
    play.push(1, "a")
    play.ack(6, "a")
    play.push(8, "a", "resolved")
    play.push(9, "a", "reopened")
    play.expect(4, 4, "trigger", "a")
    play.expect(6, 6, "acknowledge", "a")
    play.expect(64, 64, "update", "a")
    play.run(100)
