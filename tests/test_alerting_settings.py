"""Alert settings: defaults that work, every mistake at once with its place."""

from pathlib import Path

import msgspec
import pytest

from operators.alerting.alerting import Alerting
from operators.alerting.decisions import Decision
from operators.alerting.lint import find_problems
from operators.alerting.settings import AlertSettings, Inhibition, MuteTime, Route
from schemas.errors import SettingsError, StateError
from schemas.incident_rows import Alert
from tests.alerting_script import SHORT, Script, again, settings_of
from tests.declared import declare

GOOD = """
receiver = "ops"
for = "1m"
[[route]]
matchers = ['severity="critical"']
receiver = "duty"
continue = true
repeat_interval = "30m"
[[route.route]]
matchers = ["region=north"]
mute = ["night"]
[[inhibit]]
source_matchers = ["kind=downstream_outage"]
target_matchers = ["kind=posting_missing"]
equal = ["interface"]
[[mute_time]]
name = "night"
days = ["sat", "sun"]
from = "22:00"
until = "06:00"
zone = "Europe/Berlin"
"""

BAD = """
receiver = "opps"
group_interval = "0s"
group_by = ["kind", "kind"]
mute = ["nigth"]
retention = "400d"
for = "800d"
[[route]]
matchers = ["severity", 'node=~"a("']
repeat_interval = "0s"
receiver = "duty"
group_by = ["...", "kind"]
[[route]]
group_interval = "5h"
[[route.route]]
matchers = ["a=b"]
repeat_interval = "1h"
[[inhibit]]
source_matchers = []
target_matchers = ["x"]
equal = [""]
[[mute_time]]
name = "night"
from = "24:00"
[[mute_time]]
name = "night"
zone = "Europe/Berlni"
"""

TOLD = """\
andon.toml:3: alerting.group_interval = "0 s": must be between 1 second and 366 days
andon.toml:7: alerting.for = "800 d": must be between 0 and 366 days
andon.toml:6: alerting.retention = "400 d": must be between 0 and 366 days
andon.toml:2: alerting.receiver = "opps": must be a receiver: duty, ops; did you mean 'ops'?
andon.toml:5: alerting.mute[0] = "nigth": must be one of alerting.mute_time: night; did you mean 'night'?
andon.toml:4: alerting.group_by[1] = "kind": must be the name of a label, once
andon.toml:9: alerting.route[0].matchers[0] = "severity": must be a matcher such as kind="oversell", node!=dc1, \
node=~"store-.*" or region!~"north|west"
andon.toml:9: alerting.route[0].matchers[1] = "node=~"a("": has a ( without its ) (at character 2 of 'a(')
andon.toml:10: alerting.route[0].repeat_interval = "0 s": must be more than 0 and at most 366 days
andon.toml:12: alerting.route[0].group_by = ["...","kind"]: "..." stands for every label, and must be alone
andon.toml:13: alerting.route[1].repeat_interval = "4 h": must be at least group_interval (5 h): a group is looked at \
only then
andon.toml:17: alerting.route[1].route[0].repeat_interval = "60 min": must be at least group_interval (5 h): a group \
is looked at only then
andon.toml:19: alerting.inhibit[0].source_matchers = []: must have at least one matcher
andon.toml:20: alerting.inhibit[0].target_matchers[0] = "x": must be a matcher such as kind="oversell", node!=dc1, \
node=~"store-.*" or region!~"north|west"
andon.toml:21: alerting.inhibit[0].equal[0] = "": must be the name of a label, once
andon.toml:22: alerting.mute_time[0] = "24:00-00:00 UTC": must be a time of day such as "22:30"
andon.toml:26: alerting.mute_time[1].name = "night": must be a name that is used once
andon.toml:25: alerting.mute_time[1] = "00:00-00:00 Europe/Berlni": 'Europe/Berlni' is not a zone"""


class _File(msgspec.Struct):
    alerting: AlertSettings


def _in_a_file(text: str) -> str:
    """As it stands in a settings file: tables below `[alerting]`."""
    return "[alerting]" + text.replace("[[", "[[alerting.")


def _problems(text: str, receivers: list[str] | None = None) -> list[str]:
    text = _in_a_file(text)
    declared = declare(text, _File, "andon.toml")
    assert declared.value is not None, declared.problems
    return list(map(str, find_problems(declared.value.alerting, "andon.toml", text, receivers)))


def test_the_defaults_are_without_problems() -> None:
    assert find_problems(AlertSettings(), receivers=["default"]) == ()
    Alerting(AlertSettings())


def test_good_settings_have_no_problems() -> None:
    assert _problems(GOOD, ["ops", "duty"]) == []


def test_every_mistake_is_told_at_once_with_its_line() -> None:
    assert _problems(BAD, ["ops", "duty"]) == TOLD.splitlines()


def test_receivers_are_not_judged_where_none_are_known() -> None:
    assert not [one for one in _problems(BAD) if "receiver" in one]
    assert _problems('\nreceiver = "ops"\n', []) == ['andon.toml:2: alerting.receiver = "ops": there are no receivers']


def test_what_has_problems_is_not_run() -> None:
    with pytest.raises(SettingsError, match=r"alerting\.inhibit"):
        Alerting(settings_of('[[inhibit]]\nsource_matchers = []\ntarget_matchers = ["a=b"]\n'))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('group_wait = "soon"\n', 'group_wait = "soon": must be a duration'),
        ("[[route]]\nmatchres = []\n", "route[0].matchres: unknown key; did you mean 'matchers'?"),
        ("[[route]]\n[[route.route]]\nreciever = 'x'\n", "route[0].route[0].reciever: unknown key; did you mean"),
        ('[[inhibit]]\nsource_matchers = ["a=b"]\n', "inhibit[0].target_matchers: is missing"),
        ('[[mute_time]]\nname = "a"\ndays = ["sunday"]\n', 'days[0] = "sunday": must be one of "mon"'),
    ],
)
def test_unknown_keys_and_wrong_kinds_are_refused(text: str, told: str) -> None:
    problems = declare(text, AlertSettings, "andon.toml").problems
    assert [told in str(problem) for problem in problems] == [True]


@pytest.mark.parametrize("kind", [AlertSettings, Route, Inhibition, MuteTime])
def test_the_documentation_lists_every_key(kind: type[msgspec.Struct]) -> None:
    page = Path("docs/alerting.md").read_text("utf-8").split("## Settings")[1].split("## Decisions")[0]
    rows = "\n".join(line for line in page.splitlines() if line.startswith("| `"))
    assert [key.encode_name for key in msgspec.structs.fields(kind) if f"`{key.encode_name}`" not in rows] == []


def test_the_documentation_s_example_has_no_problems() -> None:
    page = Path("docs/alerting.md").read_text("utf-8").split("```toml\n")[1].split("```")[0]
    declared = declare(page, _File, "andon.toml")
    assert declared.value is not None, declared.problems
    assert find_problems(declared.value.alerting, "andon.toml", page) == ()


def test_the_documentation_lists_every_decision() -> None:
    page = Path("docs/alerting.md").read_text("utf-8").split("## Decisions")[1]
    assert [one for one in Decision if f"| `{one}` |" not in page] == []


# --- what is kept, under other settings -------------------------------------------------------------------------------


def _restarted(before: str, after: str, **fields: object) -> Script:
    """An incident is told of under one; then the job is started again under the other."""
    play = Script(before)
    play.push(1, "a", **fields)
    play.expect(4, 4, "trigger", "a", receiver="duty")
    play.run(20)
    play.operator = again(play.operator, settings_of(after))
    play.items.clear()
    return play


ROUTED = SHORT + '[[route]]\nmatchers = ["kind=oversell"]\nreceiver = "duty"\n'


def test_what_was_told_to_a_route_that_is_gone_is_over_there() -> None:
    play = _restarted(ROUTED, SHORT)
    play.push(22, "a", "growing")
    play.expect(24, 24, "resolve", "a", receiver="duty")
    play.expect(25, 25, "trigger", "a", receiver="pager")
    play.run(40)


def test_it_is_over_there_even_when_nothing_more_is_heard_of_it() -> None:
    play = _restarted(ROUTED, SHORT)
    play.expect(24, 24, "resolve", "a", receiver="duty")
    play.run(40)


def test_a_route_with_another_receiver_tells_that_one_from_the_beginning_and_the_one_before_that_it_is_over() -> None:
    play = _restarted(ROUTED, ROUTED.replace("duty", "night"))
    play.operator = again(play.operator, settings_of(ROUTED.replace("duty", "night")))  # started once more in between
    play.expect(24, 24, "resolve", "a", receiver="duty")
    play.expect(24, 24, "trigger", "a", receiver="night")
    over = play.run(40)[1]
    assert (over.reason, over.group_key) == ("another receiver is told of it now", play.of(Alert)[0].group_key)
    assert [one.sequence for one in play.of(Alert)] == [1, 2, 1]  # each receiver's own, from 1


def test_a_receiver_that_is_back_before_it_was_told_of_an_end_goes_on() -> None:
    play = _restarted(ROUTED, ROUTED.replace("duty", "night"))
    play.operator = again(play.operator, settings_of(ROUTED))
    play.push(22, "a", "growing", priority=1)
    play.push(40, "a", "resolved")
    play.expect(24, 24, "update", "a", receiver="duty")
    play.expect(44, 44, "resolve", "a", receiver="duty")
    play.run(60)
    assert [one.sequence for one in play.of(Alert)] == [1, 2, 3]


def test_without_send_resolved_the_receiver_before_is_told_nothing_more() -> None:
    silent = ROUTED + "send_resolved = false\n"
    play = _restarted(silent, silent.replace("duty", "night"))
    play.expect(24, 24, "trigger", "a", receiver="night")
    play.run(40)


def test_a_pending_incident_of_a_route_that_is_gone_is_let_go() -> None:
    play = Script(ROUTED + 'for = "30s"\n')
    play.push(1, "a")
    play.run(10)
    play.operator = again(play.operator, settings_of(SHORT))
    play.items.clear()
    play.push(12, "a", "growing")
    play.expect(15, 15, "trigger", "a")
    play.run(50)


def test_a_snapshot_of_another_version_is_refused() -> None:
    state = msgspec.structs.replace(Alerting(AlertSettings()).snapshot(), version=99)
    with pytest.raises(StateError, match="alerting state of version 99; this code reads 1"):
        Alerting(AlertSettings()).restore(state)
