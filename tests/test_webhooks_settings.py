"""Settings of delivery: every problem at once, in words, and no secret in any of them."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.checks import check_settings
from dataflows.settings import load_settings, read_settings
from operators.alerting.settings import AlertSettings
from schemas.accepted import decode_hook
from schemas.durations import Duration
from schemas.errors import SettingsError
from schemas.mended import mended
from sinks.webhooks.lint import find_problems
from sinks.webhooks.receivers.choice import RECEIVERS, endpoint_of
from sinks.webhooks.secret_values import SHOWN, Secret, read_secret, without
from sinks.webhooks.settings import DeliverySettings, ReceiverSettings
from sinks.webhooks.template import FIELDS, Template
from tests.declared import declare
from tests.webhook_alerts import alert

_GOLDEN = Path(__file__).parent / "golden" / "delivery_problems.txt"
_WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_ENVIRONMENT = {"HOOK": _WHSEC, "KEY": "0123456789abcdef0123456789abcdef", "URL": "https://hooks.test/T0/B1/hidden"}
_GOOD = {
    "standard": '{ name = "a", type = "standard", url = "https://hooks.test/a", secrets = ["env:HOOK"] }',
    "pagerduty": '{ name = "a", type = "pagerduty", key = "env:KEY" }',
    "alertmanager": '{ name = "a", type = "alertmanager", url = "https://am.test/prefix" }',
    "alertmanager_webhook": '{ name = "a", type = "alertmanager_webhook", url = "https://irm.test/x" }',
    "slack": '{ name = "a", type = "slack", url = "env:URL" }',
    "cloudevents": '{ name = "a", type = "cloudevents", url = "https://bus.test/x", mode = "binary" }',
    "jsm": '{ name = "a", type = "jsm", key = "env:KEY" }',
}
_BAD = """
[delivery]
poll = "0s"
total_timeout = "3m"
retry_first = "1h"
keep = "1h"

[[delivery.receiver]]
name = "one"
type = "standard"
url = "http://hooks.test/x#part"
secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "env:NOT_THERE", "env:KEY", "file:/no/such/file"]
summary = "{kindd}: {value_at_risk!r}"
link = "javascript:{incident_id}"
headers = { "X-Api-Key" = "topsecret", "Content-Type" = "text/plain", "bad name" = "x", "X-Fine" = "yes" }

[[delivery.receiver]]
name = "one"
type = "pagerduty"
secrets = ["env:HOOK"]
url = "https://user:topsecret@events.test/x"
allow_networks = ["10.0.0.1/8", "everything"]
ca_file = "/no/such/ca.pem"

[[delivery.receiver]]
name = "three"
type = "jsm"
key = "topsecret"
authorization = "Bearer topsecret"
image = "https://x.test/{labels.node.__class__}"

[[delivery.receiver]]
name = "four"
type = "slack"
key = "env:KEY"

[[delivery.receiver]]
name = "five"
type = "alertmanager"
url = "https://am.test/?x=1"
resolve_after = "1s"
summary = "{"
"""


class _Document(msgspec.Struct):
    delivery: DeliverySettings
    alerting: AlertSettings = AlertSettings()


def _declared(text: str) -> DeliverySettings:
    read = declare(text, _Document, "andon.toml")
    assert read.value is not None, read.problems
    return read.value.delivery


def test_every_problem_is_told_at_once_in_words_without_a_secret() -> None:
    read = declare(_BAD, _Document, "andon.toml")
    left = mended(tomllib.loads(_BAD), _Document, read.wrong)
    beside = find_problems(left.value.delivery, _ENVIRONMENT, file="andon.toml", text=_BAD)
    found = [*read.problems, *left.unaffected(beside)]
    told = "".join(f"{problem}\n" for problem in found)
    assert told == _GOLDEN.read_text(encoding="utf-8")
    for secret in ("topsecret", _WHSEC, _WHSEC[6:], *_ENVIRONMENT.values()):
        assert secret not in told


_UNTYPED = """
[[delivery.receiver]]
name = "a"
{}url = "ftp://hooks.test/x?y=1#part"
secrets = ["{}", "env:NOT_THERE"]
summary = "{{kindd}}"
headers = {{ "X-Api-Key" = "topsecret" }}
allow_networks = ["everything"]
resolve_after = "1s"
source = ""
[[delivery.receiver]]
name = "a"
{}
"""


@pytest.mark.parametrize("written", ['type = "slak"\n', "type = 5\n", 'typ = "slack"\n', ""])
def test_a_wrong_type_hides_no_other_problem_and_makes_none(written: str, tmp_path: Path) -> None:
    """What only some types need, or refuse, is not told: which one is meant is not known."""
    config = tmp_path / "andon.toml"
    config.write_text(_UNTYPED.format(written, _WHSEC, written), encoding="utf-8")
    told = [str(problem) for problem in check_settings(read_settings(str(config), {})).problems]
    asked = [line for line in told if ".type: " in line or ".type = " in line or ".typ: " in line]
    assert len(asked) == 2
    beside = [line.split("delivery.receiver", 1)[1] for line in told if line not in asked]
    assert [line.partition(": ")[0] for line in beside] == [
        "[0].url",
        "[0].url",
        "[0].secrets[0]",
        '[0].secrets[1] = "env:NOT_THERE"',
        "[0].headers.X-Api-Key",
        '[0].summary = "{kindd}"',
        '[0].allow_networks[0] = "everything"',
        '[1].name = "a"',
    ]
    assert _WHSEC not in "".join(told)


@pytest.mark.parametrize("kind", RECEIVERS)
def test_of_an_unknown_type_is_told_what_would_be_told_of_each(kind: str) -> None:
    settings = msgspec.convert(tomllib.loads(_BAD)["delivery"] | {"poll": "1s"}, DeliverySettings, dec_hook=decode_hook)
    untyped = find_problems(settings, _ENVIRONMENT, untyped=range(len(settings.receiver)))
    replaced = tuple(msgspec.structs.replace(one, type=kind) for one in settings.receiver)
    of_kind = find_problems(msgspec.structs.replace(settings, receiver=replaced), _ENVIRONMENT)
    assert set(untyped) < set(of_kind)
    assert len(untyped) > 15


@pytest.mark.parametrize("kind", RECEIVERS)
def test_the_least_that_each_kind_needs_is_enough(kind: str) -> None:
    settings = _declared(f"[delivery]\nreceiver = [{_GOOD[kind]}]")
    assert find_problems(settings, _ENVIRONMENT) == []
    endpoint = endpoint_of(settings.receiver[0], _ENVIRONMENT)
    request = endpoint.receiver.request(alert(1), 0, None)
    assert request.body
    assert "hidden" not in endpoint.shown


@pytest.mark.parametrize("kind", ["standard", "pagerduty", "slack", "jsm"])
def test_what_a_kind_can_not_do_without_is_missed(kind: str) -> None:
    settings = _declared(f'[delivery]\nreceiver = [{{ name = "a", type = "{kind}" }}]')
    assert find_problems(settings, {})


def test_names_are_those_of_one_receiver_each_and_not_too_many() -> None:
    many = ", ".join(f'{{ name = "{number}", type = "slack", url = "env:URL" }}' for number in range(65))
    (problem,) = find_problems(_declared(f"[delivery]\nreceiver = [{many}]"), _ENVIRONMENT)
    assert str(problem) == "settings: delivery.receiver = 65: must be at most 64"


def test_the_check_command_tells_them_where_they_stand(tmp_path: Path) -> None:
    config = tmp_path / "andon.toml"
    config.write_text(_BAD, encoding="utf-8")
    told = [str(problem) for problem in check_settings(read_settings(str(config), {})).problems]
    assert f'{config}:3: delivery.poll = "0s": must be longer than 0' in told
    assert any(f"{config}:11: delivery.receiver[0].url: must begin with https://" in line for line in told)


def test_the_check_command_holds_routes_against_the_receivers(tmp_path: Path) -> None:
    config = tmp_path / "andon.toml"
    receiver = '[[delivery.receiver]]\nname = "duty"\ntype = "cloudevents"\nurl = "https://x.test"\n'
    routes = '[alerting]\nreceiver = "dutty"\n[[alerting.route]]\nreceiver = ""\n'
    config.write_text(receiver + routes, encoding="utf-8")
    told = [str(problem) for problem in check_settings(read_settings(str(config), {})).problems]
    assert told == [f"{config}:6: alerting.receiver = \"dutty\": must be a receiver: duty; did you mean 'duty'?"]
    config.write_text(routes, encoding="utf-8")  # alerts are written, and nobody delivers them from here
    assert check_settings(read_settings(str(config), {})).problems == ()


def test_a_secret_in_the_wrong_place_is_not_shown_by_the_reader_either(tmp_path: Path) -> None:
    config = tmp_path / "andon.toml"
    config.write_text('[[delivery.receiver]]\nname = "a"\ntype = "slack"\nsecrets = "topsecret"\nkeys = "topsecret"\n')
    with pytest.raises(SettingsError) as caught:
        load_settings(str(config), {})
    assert "topsecret" not in str(caught.value)
    assert "delivery.receiver[0].secrets: must be a list" in str(caught.value)


def test_a_secrets_variable_is_no_setting() -> None:
    assert load_settings(None, {"ANDON_SECRET_PAGERDUTY": "x"}, clickhouse="chdb:///x").delivery == DeliverySettings()


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_secrets_come_from_files_and_the_environment(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("first line \nsecond\n", encoding="utf-8")
    assert read_secret(f"file:{tmp_path}/secret").reveal() == "first line"
    assert read_secret("env:A", {"A": " x "}).reveal() == "x"
    (tmp_path / "empty").write_text("\nx\n", encoding="utf-8")
    for bad in (
        f"file:{tmp_path}/none",
        f"file:{tmp_path}/empty",
        f"file:{tmp_path}",
        "env:B",
        "env:",
        "file:",
        "plain",
    ):
        with pytest.raises(ValueError, match=r"must say|can't be read|must hold|has no"):
            read_secret(bad, {"B": " "})


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret("tok-123456")
    shown = f"{secret} {secret!r} {secret!s} {[secret]}"
    assert "123456" not in shown
    assert shown.count(SHOWN) == 4
    assert without("it said tok-123456, twice tok-123456", [secret]) == f"it said {SHOWN}, twice {SHOWN}"


def test_of_secrets_that_contain_each_other_nothing_is_left() -> None:
    assert without("tok-123456-and-more", [Secret("tok-123456"), Secret("tok-123456-and-more")]) == SHOWN


# --- templates --------------------------------------------------------------------------------------------------------


def test_a_template_takes_fields_of_the_alert() -> None:
    template = Template("[{severity}] {kind} at {node}/{labels.queue}: {value_at_risk} {{x}} {orders_affected} {sku}.")
    assert template.fill(alert(1)) == "[high] queue_saturation at store-012/picks.eu: 3120.50 EUR {x} 41 ."


def test_a_field_of_a_link_can_not_leave_its_place() -> None:
    evil = alert(1, incident_ids=["../../x?a=b&c#d\r\nHost: evil"])
    assert Template("https://x.test/{incident_id}").fill_url(evil) == (
        "https://x.test/..%2F..%2Fx%3Fa%3Db%26c%23d%20Host%3A%20evil"
    )


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "}",
        "{}",
        "{0}",
        "{kind!r}",
        "{kind:>9}",
        "{labels}",
        "{labels.}",
        "{alert.__class__}",
        "{severty}",
        "{ kind}",
    ],
)
def test_what_no_alert_has_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"names \{|has a single"):
        Template(bad)


def test_a_near_miss_is_told() -> None:
    with pytest.raises(ValueError, match="did you mean 'severity'"):
        Template("{severty}")


@given(st.text())
def test_any_text_can_be_said(text: str) -> None:
    assert Template(text.replace("{", "{{").replace("}", "}}")).fill(alert(1)) == text


@given(st.text(alphabet="{}kind ."))
def test_braces_are_fields_doubled_or_refused(text: str) -> None:
    try:
        filled = Template(text).fill(alert(1))
    except ValueError:
        return
    assert filled == re.sub(
        r"\{\{|\}\}|\{kind\}", lambda found: {"{{": "{", "}}": "}"}.get(found[0], "queue_saturation"), text
    )


def test_every_field_can_be_filled() -> None:
    for name in FIELDS:
        assert isinstance(Template(f"{{{name}}}").fill(alert(1)), str)


def test_an_alert_without_words_gets_some() -> None:
    assert Template("{summary}").fill(alert(1, annotations={})) == "queue saturation (high), 2 incidents"


# --- the guide --------------------------------------------------------------------------------------------------------


def test_the_guide_names_every_setting_of_a_receiver_and_its_examples_can_be_read() -> None:
    guide = Path("docs/webhooks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", guide, re.MULTILINE)
    fields = msgspec.structs.fields(ReceiverSettings)
    assert [name for name, _, _ in rows if name in {field.name for field in fields}] == [field.name for field in fields]
    for name, _, shown in rows:
        field = next((one for one in fields if one.name == name), None)
        if field is not None and isinstance(field.default, Duration):
            assert Duration.parse(shown.strip('` "')) == field.default
    examples = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    kinds = {receiver.type for example in examples for receiver in _declared(example).receiver}
    assert kinds == set(RECEIVERS)
    for example in examples:
        for problem in find_problems(_declared(example), {}):
            assert "can't be read" in problem.expected or "the environment has no" in problem.expected, problem
    for name in FIELDS:
        assert f"`{name}`" in guide
