"""What the client library is given: the user's properties, secrets that nobody sees, and what is not theirs to set."""

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from dataflows.cli import run_command
from dataflows.kafka.client import (
    Properties,
    Property,
    admin_properties,
    check_client,
    consumer_properties,
    is_secret,
    producer_properties,
    secret_variable,
)
from dataflows.settings import KafkaSettings
from schemas.errors import SettingsError

SECRET = "hunter2-Hunter2"  # noqa: S105 - what must not be seen
BOOTSTRAP = "127.0.0.1:1"
#: Properties that the library says it would ignore in a producer (those that are ours to set apart), and values.
CONSUMERS_ONLY: Properties = {
    "auto.commit.interval.ms": 1_000,
    "check.crcs": True,
    "consume.callback.max.messages": 1,
    "coordinator.query.interval.ms": 1_000,
    "fetch.error.backoff.ms": 1,
    "fetch.max.bytes": 100_000_000,
    "fetch.min.bytes": 1,
    "fetch.queue.backoff.ms": 1,
    "fetch.wait.max.ms": 1,
    "group.instance.id": "one",
    "group.protocol": "classic",
    "heartbeat.interval.ms": 1_000,
    "max.partition.fetch.bytes": 1_000_000,
    "max.poll.interval.ms": 600_000,
    "partition.assignment.strategy": "range",
    "queued.max.messages.kbytes": 1_000,
    "queued.min.messages": 1_000,
    "session.timeout.ms": 6_000,
}


def kafka(client: Mapping[str, Property] | None = None, **others: str) -> KafkaSettings:
    return KafkaSettings(bootstrap=BOOTSTRAP, client=dict(client or {}), **others)


class Lines(logging.Handler):
    """Keeps what the client library says."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.logger = logging.getLogger("andon.kafka.lines")
        self.logger.handlers = [self]
        self.logger.propagate = False
        self.logger.setLevel(logging.DEBUG)

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


# --- secrets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("properties", [consumer_properties, producer_properties, admin_properties])
@pytest.mark.parametrize(
    ("text", "secret"), [(SECRET, SECRET), (f"{SECRET}\n", SECRET), (f"{SECRET}\r\nsecond line\n", SECRET)]
)
def test_a_secret_is_the_first_line_of_its_file(
    properties: type[consumer_properties], text: str, secret: str, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(text.encode())
    given = properties(kafka({"sasl.password.file": str(file), "sasl.username": "me"}), {})
    assert given["sasl.password"] == secret
    assert given["sasl.username"] == "me"
    assert "sasl.password.file" not in given


def test_a_pem_is_its_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    text = "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n"
    file.write_text(text)
    for name in ("ssl.key.pem", "ssl.certificate.pem", "ssl.ca.pem"):
        assert consumer_properties(kafka({f"{name}.file": str(file)}), {})[name] == text


def test_a_secret_in_the_environment_wins_over_one_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    settings = kafka({"sasl.password.file": str(tmp_path / "old")})
    variable = secret_variable("sasl.password")
    assert variable == "ANDON_KAFKA_SECRET_SASL_PASSWORD"
    for properties in (consumer_properties, producer_properties, admin_properties):
        assert properties(settings, {variable: SECRET, "HOME": "/"})["sasl.password"] == SECRET


def test_the_environment_is_that_of_the_process_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDON_KAFKA_SECRET_SSL_KEY_PASSWORD", SECRET)
    assert consumer_properties(kafka())["ssl.key.password"] == SECRET
    assert "ssl.key.password" not in consumer_properties(kafka(), {})


@pytest.mark.parametrize(
    "name",
    [
        "sasl.password",
        "ssl.key.password",
        "ssl.keystore.password",
        "ssl.key.pem",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.assertion.private.key.pem",
        "sasl.oauthbearer.assertion.private.key.passphrase",
    ],
)
def test_a_secret_in_the_open_is_refused_and_not_shown(name: str) -> None:
    assert is_secret(name)
    with pytest.raises(SettingsError) as raised:
        consumer_properties(kafka({name: SECRET}), {})
    words = str(raised.value)
    assert words == (
        f'kafka: client."{name}": is a secret: name a file that holds it ("{name}.file"), '
        f"or set {secret_variable(name)}"
    )


@pytest.mark.parametrize(
    "name",
    [
        "sasl.username",
        "sasl.mechanism",
        "ssl.key.location",
        "ssl.keystore.location",
        "sasl.oauthbearer.assertion.private.key.file",
        "sasl.oauthbearer.assertion.jwt.template.file",
        "sasl.oauthbearer.assertion.file",
    ],
)
def test_what_is_no_secret_is_passed_on_as_it_is(name: str) -> None:
    """The library has properties of its own that name a file."""
    assert not is_secret(name)
    assert consumer_properties(kafka({name: "/somewhere"}), {})[name] == "/somewhere"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "can't be read: No such file or directory"),
        (b"\xff\xfe", "can't be read: not UTF-8 text"),
        (b"", "must hold the secret in its first line, and is empty"),
        (b"\nsecret in the second\n", "must hold the secret in its first line, and is empty"),
    ],
)
def test_a_file_that_holds_no_secret_is_told_with_its_name(content: bytes | None, told: str, tmp_path: Path) -> None:
    file = tmp_path / "s"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        consumer_properties(kafka({"sasl.password.file": str(file)}), {})
    (problem,) = raised.value.problems
    assert problem.key == 'client."sasl.password.file"'
    assert str(file).startswith(problem.value.strip('"').removesuffix("..."))
    assert problem.expected == told


def test_the_client_library_does_not_say_secrets_even_where_it_says_everything() -> None:
    lines = Lines()
    environment = {secret_variable("sasl.password"): SECRET, secret_variable("ssl.key.password"): SECRET + "2"}
    given = {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": "me", "debug": "all"}
    properties = consumer_properties(kafka(given), environment)
    consumer = Consumer(properties, logger=lines.logger)
    consumer.poll(0.05)
    consumer.close()
    said = "\n".join(lines.said)
    assert "sasl.password = [redacted]" in said
    assert SECRET not in said


@pytest.mark.parametrize("client", [{"client.id": "a\0b"}, {"client.rack\0": "x"}])
def test_a_text_that_the_library_would_cut_off_is_refused(client: dict[str, Property]) -> None:
    with pytest.raises(SettingsError, match="must not hold a NUL"):
        consumer_properties(kafka(client), {})


# --- what is not the user's ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("bootstrap.servers", "is set by kafka.bootstrap"),
        ("metadata.broker.list", "is set by kafka.bootstrap"),
        ("group.id", "is set by kafka.group"),
        ("enable.auto.commit", "can't be set: what the job promises hangs on it"),
        ("enable.auto.offset.store", "can't be set: what the job promises hangs on it"),
        ("enable.partition.eof", "can't be set: what the job promises hangs on it"),
        ("auto.offset.reset", "can't be set: what the job promises hangs on it"),
        ("allow.auto.create.topics", "can't be set: what the job promises hangs on it"),
        ("isolation.level", "can't be set: what the job promises hangs on it"),
        ("acks", "can't be set: what the job promises hangs on it"),
        ("request.required.acks", "can't be set: what the job promises hangs on it"),
        ("enable.idempotence", "can't be set: what the job promises hangs on it"),
        ("transactional.id", "can't be set: what the job promises hangs on it"),
        ("delivery.report.only.error", "can't be set: what the job promises hangs on it"),
        ("stats_cb", "can't be set: it is no property but a piece of code"),
        ("on_commit", "can't be set: it is no property but a piece of code"),
        ("logger", "can't be set: it is no property but a piece of code"),
        ("default.topic.config", "can't be set: it is no property but a piece of code"),
    ],
)
def test_what_the_job_hangs_on_is_refused_in_the_settings_and_in_the_environment(name: str, told: str) -> None:
    with pytest.raises(SettingsError) as raised:
        consumer_properties(kafka({name: "x", "client.rack": "a"}), {})
    assert [(one.key, one.expected) for one in raised.value.problems] == [(f'client."{name}"', told)]
    if "_" in name:
        return  # the name of a variable has dots only
    variable = secret_variable(name)
    with pytest.raises(SettingsError) as raised:
        producer_properties(kafka(), {variable: SECRET})
    assert [(one.key, one.expected) for one in raised.value.problems] == [("client", f"{variable}: {name} {told}")]
    assert SECRET not in str(raised.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as raised:
        consumer_properties(kafka({"group.id": "x", "sasl.password": SECRET, "acks": "1"}, group=""), {})
    keys = ["group", 'client."group.id"', 'client."sasl.password"', 'client."acks"']
    assert [problem.key for problem in raised.value.problems] == keys


def test_defaults_can_be_changed_and_promises_are_kept() -> None:
    given = consumer_properties(kafka({"fetch.wait.max.ms": 7, "client.rack": "a"}, group="g"), {})
    assert (given["fetch.wait.max.ms"], given["client.rack"], given["group.id"]) == (7, "a", "g")
    assert given["bootstrap.servers"] == BOOTSTRAP
    assert (given["auto.offset.reset"], given["enable.auto.commit"]) == ("error", False)
    assert (given["enable.partition.eof"], given["isolation.level"]) == (True, "read_committed")
    assert producer_properties(kafka({"client.id": "me", "linger.ms": 3}), {}) == {
        "bootstrap.servers": BOOTSTRAP,
        "client.id": "me",
        "linger.ms": 3,
        "acks": "all",
        "enable.idempotence": False,
        "log.connection.close": False,
        "reconnect.backoff.ms": 500,
    }


def test_the_library_has_nothing_to_say_about_what_it_gets_of_us() -> None:
    lines = Lines()
    settings = kafka(CONSUMERS_ONLY)
    consumer = Consumer(consumer_properties(settings, {}), logger=lines.logger)
    consumer.poll(0.0)
    consumer.close()
    Producer(producer_properties(settings, {}), logger=lines.logger).poll(0.0)
    AdminClient(dict(admin_properties(settings, {})), logger=lines.logger).poll(0.0)
    assert [line for line in lines.said if "CONFWARN" in line] == []
    Producer(dict(CONSUMERS_ONLY), logger=lines.logger).poll(0.0)
    ignored = [line for line in lines.said if "is a consumer property and will be ignored" in line]
    assert len(ignored) == len(CONSUMERS_ONLY), "each of them would be said something about"


# --- the library's own judgement -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "key", "told"),
    [
        ({"fetch.wait.ms": 1}, 'client."fetch.wait.ms"', 'No such configuration property: "fetch.wait.ms"'),
        ({"sasl.pasword.file": "x"}, 'client."sasl.pasword.file"', 'configuration property: "sasl.pasword.file"'),
        (
            {"security.protocol": "SLL"},
            'client."security.protocol"',
            'Invalid value "SLL" for configuration property "security.protocol"',
        ),
        ({"fetch.min.bytes": "much"}, 'client."fetch.min.bytes"', '"fetch.min.bytes"'),
        ({"security.protocol": "SSL", "ssl.ca.location": "/none"}, "client", "ssl.ca.location failed: "),
        ({"session.timeout.ms": 700_000}, 'client."session.timeout.ms"', "max.poll.interval.ms"),
    ],
)
def test_the_library_judges_the_properties(
    client: dict[str, Property], key: str, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SettingsError) as raised:
        check_client(kafka(client))
    (problem,) = raised.value.problems
    assert problem.expected.startswith("the client library refuses it: ")
    assert told in problem.expected
    assert problem.key == key or f"`{key[8:-1]}`" in problem.expected
    assert capfd.readouterr() == ("", ""), "the library speaks through the problem only"


def test_what_only_a_producer_is_refused_for_matters_where_there_is_one() -> None:
    settings = {"linger.ms": 9_000, "message.timeout.ms": 1_000}
    check_client(kafka(settings))
    with pytest.raises(SettingsError, match=r"`message.timeout.ms` must be greater than `linger.ms`"):
        check_client(kafka(settings, dead_letter_topic="dead"))


def test_without_a_broker_the_properties_are_not_judged() -> None:
    check_client(KafkaSettings(client={"no.such": 1}))


# --- andon check ---------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("ANDON_CLICKHOUSE", "ANDON_PROCESS_MAP", "ANDON_CLICKHOUSE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def check(here: Path, capfd: pytest.CaptureFixture[str], client: str) -> tuple[int, list[str]]:
    """Exit code and lines of `andon check`; no secret is anywhere in what the process says."""
    (here / "andon.toml").write_text(f'[kafka]\nbootstrap = "{BOOTSTRAP}"\n\n[kafka.client]\n{client}')
    code = run_command(["check"])
    out, err = capfd.readouterr()
    assert SECRET not in out + err
    return code, [line for line in (out + err).splitlines() if "shipped" not in line]


def test_check_names_file_and_line_of_each_property_that_is_refused(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    client = f'"client.rack" = "a"\n"sasl.password" = "{SECRET}"\n"group.id" = "x"\n"ssl.key.pem.file" = "none.pem"\n'
    assert check(here, capfd, client) == (
        2,
        [
            (
                'andon.toml:6: kafka.client."sasl.password": is a secret: name a file that holds it '
                '("sasl.password.file"), or set ANDON_KAFKA_SECRET_SASL_PASSWORD'
            ),
            'andon.toml:7: kafka.client."group.id" = "x": is set by kafka.group',
            'andon.toml:8: kafka.client."ssl.key.pem.file" = "none.pem": can\'t be read: No such file or directory',
            "3 problems in 1 place",
        ],
    )


def test_check_names_file_and_line_of_a_property_that_the_library_does_not_know(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert check(here, capfd, f'"client.rack" = "a"\n"sasl.pasword" = "{SECRET}"\n') == (
        2,
        [
            (
                'andon.toml:6: kafka.client."sasl.pasword": the client library refuses it: '
                'No such configuration property: "sasl.pasword"'
            ),
            "1 problem in 1 place",
        ],
    )


@pytest.mark.parametrize(
    ("client", "variable", "told"),
    [
        ("", "SASL_PASWORD", "No such configuration property: "),
        ("", "GROUP_ID", "ANDON_KAFKA_SECRET_GROUP_ID: group.id is set by kafka.group"),
        ('"security.protocol" = "SSL"\n', "SSL_KEY_PEM", "ssl.key.pem failed: not in PEM format"),
        ('"sasl.jaas.config" = "x"\n', "SASL_PASSWORD", "Java JAAS configuration is not supported"),
        ('"stats_cb" = "x"\n', "SASL_PASSWORD", "can't be set: it is no property but a piece of code"),
        ('"acks" = "0"\n', "SASL_PASSWORD", "can't be set: what the job promises hangs on it"),
    ],
)
def test_check_shows_no_secret_of_the_environment(
    client: str,
    variable: str,
    told: str,
    here: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(f"ANDON_KAFKA_SECRET_{variable}", SECRET)
    code, lines = check(here, capfd, client)
    assert code == 2
    assert len(lines) == 2
    assert lines[0].startswith("andon.toml:")
    assert told in lines[0]


@pytest.mark.parametrize(
    ("client", "variable"),
    [
        (f'"sasl.password" = ["{SECRET}"]\n', ""),
        ("", f'{{"sasl.password": "{SECRET}"}}'),
    ],
)
def test_check_shows_no_secret_that_is_of_no_use_either(
    client: str, variable: str, here: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list where a text belongs; JSON where the environment has TOML."""
    if variable:
        monkeypatch.setenv("ANDON_KAFKA_CLIENT", variable)
    assert check(here, capfd, client)[0] == 2


def test_check_is_content_with_secrets_in_their_places(
    here: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "key").write_text(SECRET)
    monkeypatch.setenv("ANDON_KAFKA_SECRET_SASL_PASSWORD", SECRET)
    client = (
        '"security.protocol" = "SASL_SSL"\n"sasl.mechanism" = "SCRAM-SHA-512"\n"sasl.username" = "me"\n'
        '"ssl.key.password.file" = "key"\n'
    )
    assert check(here, capfd, client) == (
        0,
        [
            (
                "andon.toml: settings: 2 keys set; database chdb:///./andon.db, process map default; "
                f"broker {BOOTSTRAP}, 9 topics"
            )
        ],
    )
