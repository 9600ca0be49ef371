"""`andon silence`, `andon ack`, `andon unack`: what they write is what alerting reads."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition

from dataflows.cli import run_command
from operators.alerting.alerting import Alerting
from operators.alerting.settings import AlertSettings
from schemas.decode import EventDecoder
from schemas.durations import DAY_US, END_OF_TIME_US, HOUR_US, to_us
from schemas.events import (
    CONTROL_TYPES,
    Arrived,
    EventBase,
    IncidentAcknowledged,
    IncidentUnacknowledged,
    SilenceCreated,
    SilenceExpired,
)
from schemas.incident_rows import Silence
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import open_store
from sinks.clickhouse.writer import BlockWriter
from tests.alerting_script import incident
from tests.clickhouse_stores import HTTP, place
from tests.kafka_broker import Broker
from tests.tcp_proxy import free_port


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("USER", "kim")
    for name in ("ANDON_CLICKHOUSE", "ANDON_KAFKA_BOOTSTRAP", "ANDON_KAFKA_TOPICS"):
        monkeypatch.delenv(name, raising=False)


def _written(path: str = "controls.jsonl") -> list[EventBase]:
    events = EventDecoder().decode(Path(path).read_bytes().splitlines())
    assert all(isinstance(event, EventBase) for event in events), events
    return [event for event in events if isinstance(event, EventBase)]


def test_a_silence_is_an_event_in_the_file_that_the_job_follows(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["kind=oversell", 'node=~"store-.*"', "--for", "2h", "--comment", "stocktaking", "--to", "controls.jsonl"]
    assert run_command(["silence", "add", *words]) == 0
    (event,) = _written()
    assert isinstance(event, SilenceCreated)
    assert event.matchers == ['kind="oversell"', 'node=~"store-.*"']
    assert (event.created_by, event.comment, event.system, event.starts_at) == ("kim", "stocktaking", "andon", None)
    assert to_us(event.ends_at) - to_us(event.occurred_at) == pytest.approx(2 * HOUR_US, abs=5e6)
    assert event.recorded_at is not None
    out = capsys.readouterr().out
    assert out.startswith(f"silence {event.silence_id} until 2")
    assert out.endswith('Z: kind="oversell", node=~"store-.*"\n')

    assert run_command(["silence", "expire", event.silence_id, "--by", "lee", "--to", "controls.jsonl"]) == 0
    ended = _written()[1]
    assert isinstance(ended, SilenceExpired)
    assert (ended.silence_id, ended.created_by) == (event.silence_id, "lee")


def test_what_is_written_alerting_takes() -> None:
    where = ["--to", "controls.jsonl"]
    assert run_command(["silence", "add", "node=n1", "--for", "1h", "--comment", "x", "--id", "q", *where]) == 0
    assert run_command(["ack", "i1", "--comment", "on it", "--for", "30m", *where]) == 0
    assert run_command(["unack", "i1", *where]) == 0
    assert run_command(["silence", "expire", "q", *where]) == 0
    events = _written()
    assert tuple(map(type, events)) == (SilenceCreated, IncidentAcknowledged, IncidentUnacknowledged, SilenceExpired)
    assert {*map(type, events)} == {*CONTROL_TYPES}
    operator = Alerting(AlertSettings())
    for offset, event in enumerate(events):
        at_us = to_us(event.occurred_at)
        operator.update([], [Arrived(at_us, "controls", 0, offset, at_us, event)])  # type: ignore[arg-type] # of the union
    assert operator.sizes()["ignored_controls"] == 1, "the unack of what is not acknowledged"
    assert operator.sizes()["silences"] == 0


def test_json_is_the_event(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["ack", "i1", "--json", "--to", "c.jsonl"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["type"], shown["incident_id"], shown["created_by"]) == ("incident.acknowledged", "i1", "kim")
    assert "until" not in shown


def test_a_silence_may_begin_later() -> None:
    begins = "2099-01-01T08:00:00+01:00"
    words = ["--for", "1d", "--from", begins, "--comment", "x", "--to", "c.jsonl"]
    assert run_command(["silence", "add", "node=n1", *words]) == 0
    (event,) = _written("c.jsonl")
    assert isinstance(event, SilenceCreated)
    assert event.starts_at is not None
    assert to_us(event.ends_at) - to_us(event.starts_at) == DAY_US
    assert event.starts_at.isoformat() == "2099-01-01T07:00:00+00:00"


def test_a_line_that_is_not_ended_is_not_continued() -> None:
    Path("c.jsonl").write_bytes(b'{"half": 1}')
    assert run_command(["ack", "i1", "--to", "c.jsonl"]) == 0
    first, second = Path("c.jsonl").read_bytes().splitlines()
    assert first == b'{"half": 1}'
    assert json.loads(second)["incident_id"] == "i1"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["silence", "add", "--for", "1h", "--comment", "x"], 2, "Missing argument 'MATCHER…'"),
        (["silence", "add", "node", "--for", "1h", "--comment", "x"], 2, "'node': must be a matcher such as"),
        (["silence", "add", "node=~(", "--for", "1h", "--comment", "x"], 2, "has a ( without its )"),
        (["silence", "add", "node!=n1", "--for", "1h", "--comment", "x"], 2, "everything would be silenced"),
        (["silence", "add", "node=n1", "--for", "soon", "--comment", "x"], 2, "Expected a duration"),
        (["silence", "add", "node=n1", "--for", "0s", "--comment", "x"], 2, "must be more than 0"),
        (["silence", "add", "node=n1", "--for", "1h"], 2, "Missing option '--comment'"),
        (
            ["silence", "add", "node=n1", "--for", "1h", "--from", "2020-01-01", "--comment", "x"],
            2,
            "it would have ended already",
        ),
        (["silence", "add", "node=n1", "--for", "1h", "--from", "noon", "--comment", "x"], 2, "Expected a time"),
        (["silence", "add", "node=n1", "--for", "2d", "--from", "9999-12-31", "--comment", "x"], 2, "ends too late"),
        (["ack", "x" * 200, "--to", "c.jsonl"], 2, "incident_id: must be str of length <= 128"),
        (["ack", "i1", "--by", " ", "--to", "c.jsonl"], 2, "nobody is named: say with --by WHO who says so"),
        (["ack", "i1", "--to", "no/such/folder"], 1, "no/such/folder: can't be written: No such file"),
        (["ack", "i1"], 2, "settings: kafka.bootstrap: no broker is set; a job that follows files is told with --to"),
    ],
)
def test_what_can_not_be_is_said_in_words(
    words: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(words) == code
    assert told in " ".join(capsys.readouterr().err.split())
    assert not Path("c.jsonl").exists()


@pytest.mark.parametrize("user", [None, ""])
def test_where_the_environment_names_nobody_that_is_said(
    user: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("USER")
    if user is not None:
        monkeypatch.setenv("USER", user)
    silence = ["add", "node=n1", "--for", "1h", "--comment", "x"]
    for command in (["ack", "i1"], ["unack", "i1"], ["silence", *silence], ["silence", "expire", "q"]):
        assert run_command([*command, "--to", "c.jsonl"]) == 2
        assert "nobody is named ($USER is not set): say with --by WHO who says so" in capsys.readouterr().err
        assert run_command([*command, "--to", "c.jsonl", "--by", "kim"]) == 0
    assert {event.created_by for event in _written("c.jsonl")} == {"kim"}  # type: ignore[attr-defined] # of all controls


# --- to a broker ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with Broker() as one:
        yield one


def _settings(bootstrap: str, *topics: str, clickhouse: str = "") -> None:
    database = f'[clickhouse]\ndsn = "{clickhouse}"\n' if clickhouse else ""
    Path("andon.toml").write_text(f'[kafka]\nbootstrap = "{bootstrap}"\ntopics = {json.dumps(topics)}\n{database}')


def _keys(broker: Broker, topic: str) -> list[bytes | None]:
    """Of all messages of a topic with one partition."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "test", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[bytes | None] = []
    while (message := consumer.poll(30)) is not None and message.error() is None:
        key = message.key()
        found.append(key.encode() if isinstance(key, str) else key)
    consumer.close()
    assert message is not None, "no end of the topic"
    return found


def test_it_goes_to_the_topic_that_the_job_reads(broker: Broker) -> None:
    topic = broker.topic("controls")
    broker.create(topic, 1)
    _settings(broker.bootstrap, topic)
    assert run_command(["ack", "i1", "--comment", "on it", "--topic", topic]) == 0
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "test"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    assert message.error() is None
    assert message.key() == b"i1"
    (event,) = EventDecoder().decode([message.value() or b""])
    assert isinstance(event, IncidentAcknowledged)
    assert (event.incident_id, event.created_by, event.recorded_at) == ("i1", "kim", None)


def test_an_incident_that_is_not_open_is_refused_at_once(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = broker.topic("controls-open")
    broker.create(topic, 1)
    with place(HTTP, tmp_path) as there:
        with there.open() as store:
            migrate(store)
            writer = BlockWriter(store, "run-1")
            writer.write([incident(1, "i-open"), incident(1, "i-over"), incident(2, "i-over", "resolved")])
            writer.flush()
        _settings(broker.bootstrap, topic, clickhouse=str(there.target))
        assert run_command(["ack", "i-wrong", "--topic", topic]) == 1
        assert f"there is no incident i-wrong in {there.target}; nothing was sent" in capsys.readouterr().err
        assert run_command(["ack", "i-over", "--topic", topic]) == 1
        told = "incident i-over is over; nothing was sent: i-over is resolved"
        assert told in " ".join(capsys.readouterr().err.split())
        assert run_command(["ack", "i-open", "--topic", topic]) == 0
        assert capsys.readouterr().out.startswith("told the job that kim sees to incident i-open; `andon silence list`")
    assert _keys(broker, topic) == [b"i-open"]


def test_a_database_that_does_not_answer_keeps_nobody_from_acknowledging(
    broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = broker.topic("controls-away")
    broker.create(topic, 1)
    _settings(broker.bootstrap, topic, clickhouse=f"http://reader@127.0.0.1:{free_port()}/andon")
    assert run_command(["ack", "i1", "--topic", topic]) == 0
    shown = capsys.readouterr()
    assert shown.err.startswith("andon: not checked whether incident i1 is open: ")
    assert shown.out.startswith("told the job that kim sees to incident i1; ")
    assert _keys(broker, topic) == [b"i1"]


def test_a_topic_that_is_not_there_or_not_read_is_said(broker: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    _settings(broker.bootstrap, "orders")
    assert run_command(["ack", "i1"]) == 2
    told = 'andon.toml:3: kafka.topics = ["orders"]: must name controls, or the job never reads it'
    assert told in capsys.readouterr().err
    _settings(broker.bootstrap, "nowhere")
    assert run_command(["ack", "i1", "--topic", "nowhere"]) == 1
    assert "has no topic nowhere: make it" in capsys.readouterr().err


def test_a_broker_that_is_away_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataflows.kafka.controls._ANSWER_S", 0.3)
    _settings(f"127.0.0.1:{free_port()}", "controls")
    assert run_command(["ack", "i1"]) == 1
    said = capsys.readouterr().err
    assert "andon: 127.0.0.1:" in said
    assert "Connection refused" in said


# --- the list ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> str:
    name = f"chdb://{tmp_path_factory.mktemp('silences')}/db"
    now_us = to_us(datetime.now(UTC))
    begun_us, later_us = now_us - DAY_US, now_us + DAY_US
    made = Silence("long", "", ['kind="oversell"'], begun_us, later_us, "kim", "known", "", begun_us, 1)
    change = msgspec.structs.replace
    with open_store(name) as store:
        migrate(store)
        writer = BlockWriter(store, "run-1")
        writer.write(
            [
                made,
                change(made, silence_id="over", ends_at_us=now_us - 1),
                change(made, silence_id="expired"),
                change(made, silence_id="expired", ends_at_us=begun_us + 1, expired_by="lee", version=2),
                change(made, silence_id="k1", incident_id="i1", matchers=[], ends_at_us=END_OF_TIME_US),
                change(made, silence_id="later", starts_at_us=later_us - 1),
            ]
        )
        writer.flush()
    return name


def test_the_list_shows_what_holds_and_what_will(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["silence", "list", "--json", "--clickhouse", dsn]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["silence_id"], row["state"]) for row in found] == [
        ("k1", "active"),
        ("long", "active"),
        ("later", "pending"),
    ]
    assert (found[0]["incident_id"], found[0]["ends_at"]) == ("i1", None)
    assert (found[1]["matchers"], found[1]["created_by"]) == (['kind="oversell"'], "kim")


def test_the_whole_list_says_who_ended_what(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["silence", "list", "--all", "--clickhouse", dsn]) == 0
    shown = capsys.readouterr()
    line = next(line for line in shown.out.splitlines() if line.startswith("expired"))
    assert line.split()[-2:] == ["known", "lee"]
    assert shown.err.startswith("5 silences in ")
