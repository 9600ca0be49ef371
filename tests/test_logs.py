"""Structured logs: one line each, limited, without secrets, on standard error."""

import json
import logging
import sys
from collections.abc import Callable, Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.logs import Log, get_log, redacted, setup


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("andon")
    handlers, level = list(root.handlers), ours.level
    yield
    root.handlers[:] = handlers
    ours.setLevel(level)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(clock: Clock) -> Log:
    return get_log("source", clock, every_s=60)


Lines = Callable[[], list[dict[str, object]]]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    setup("json", "info")

    def read() -> list[dict[str, object]]:
        said = capsys.readouterr()
        assert said.out == ""
        return [json.loads(line) for line in said.err.splitlines()]

    return read


def test_a_line_is_a_json_object_with_time_level_event_words_and_fields(source: Log, lines: Lines) -> None:
    source.info(
        "partition_found", "topic orders has\na new partition", topic="orders", partition=7, since=1.5, new=True
    )
    (line,) = lines()
    assert list(line) == ["ts", "level", "log", "event", "message", "topic", "partition", "since", "new"]
    assert str(line.pop("ts")).endswith("Z")
    assert line == {
        "level": "info",
        "log": "source",
        "event": "partition_found",
        "message": "topic orders has\na new partition",
        "topic": "orders",
        "partition": 7,
        "since": 1.5,
        "new": True,
    }


def test_a_person_at_a_terminal_gets_a_short_line(
    source: Log, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    setup("auto", "info")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    source.info("resumed", "resumed from state")
    source.warning("broker_unreachable", "the broker does not answer", broker="b1:9092")
    usual, odd = capsys.readouterr().err.splitlines()
    assert usual[8:] == " source: resumed from state"
    assert odd[8:] == " WARNING source: the broker does not answer (broker=b1:9092)"


def test_where_nobody_looks_auto_is_json(source: Log, capsys: pytest.CaptureFixture[str]) -> None:
    setup("auto")
    source.info("resumed", "resumed from state")
    assert json.loads(capsys.readouterr().err)["event"] == "resumed"


def test_levels(source: Log, lines: Lines) -> None:
    source.debug("looked", "for one who looks")
    assert lines() == []
    setup("json", "debug")
    source.debug("looked", "for one who looks")
    setup("json", "error")
    source.warning("odd", "not shown")
    source.error("broken", "shown")
    assert [line["level"] for line in lines()] == ["debug", "error"]


def test_setting_up_twice_does_not_say_everything_twice(source: Log, lines: Lines) -> None:
    setup("json")
    setup("json")
    source.info("started", "once")
    assert len(lines()) == 1


def test_warnings_are_limited_by_event_and_key_and_the_next_says_how_many_there_were(
    source: Log, lines: Lines, clock: Clock
) -> None:
    for turn in range(5):
        source.warning("broker_unreachable", f"attempt {turn}", key="lane-0")
        source.warning("broker_unreachable", f"attempt {turn}", key="lane-1")
        source.error("other", f"attempt {turn}")
        clock.now += 10
    assert [(line["event"], line["message"]) for line in lines()] == [
        ("broker_unreachable", "attempt 0"),
        ("broker_unreachable", "attempt 0"),
        ("other", "attempt 0"),
    ]
    clock.now += 10
    source.warning("broker_unreachable", "attempt 6", key="lane-0")
    source.warning("broker_unreachable", "attempt 7", key="lane-0")
    clock.now += 60
    source.warning("broker_unreachable", "attempt 8", key="lane-0")
    clock.now += 60
    source.warning("broker_unreachable", "attempt 9", key="lane-0")
    assert [(line["message"], line.get("suppressed")) for line in lines()] == [
        ("attempt 6", 4),
        ("attempt 8", 1),
        ("attempt 9", None),
    ]


def test_lifecycle_is_not_limited(source: Log, lines: Lines) -> None:
    for partition in range(3):
        source.info("partition_found", "a new partition", partition=partition)
    assert [line["partition"] for line in lines()] == [0, 1, 2]


def test_the_limit_remembers_a_bounded_number_of_keys(source: Log, lines: Lines) -> None:
    for number in range(1_500):
        source.warning("odd", "words", key=str(number))
    assert len(source._said) == 1_000
    source.warning("odd", "words", key="1499")
    source.warning("odd", "words", key="0")
    assert len(lines()) == 1_501, "the newest is still limited, the oldest is forgotten"


class Settings(msgspec.Struct):
    dsn: str
    password: str


SECRET = "hunter2-Hunter2"  # noqa: S105 - what must not be seen


@pytest.mark.parametrize(
    "fields",
    [
        {"password": SECRET},
        {"clickhouse_password": SECRET},
        {"Secret": SECRET},
        {"api_key": SECRET},
        {"token": SECRET},
        {"sasl_username": SECRET},
        {"settings": {"sasl.username": SECRET, "sasl.password": SECRET, "ssl.key.pem": SECRET}},
        {"settings": [{"nested": {"oauth.client.secret": [SECRET]}}]},
        {"dsn": f"http://andon:{SECRET}@db:8123/andon"},
        {"error": f"could not connect to https://u:{SECRET}@db: refused"},
        {"error": f"Authorization: Bearer {SECRET}"},
        {"error": f"sasl.password={SECRET}; sasl.mechanism=PLAIN"},
        {"error": f'{{"password": "{SECRET}", "user": "andon"}}'},
        {"error": RuntimeError(f"password='{SECRET}'")},
        {"settings": Settings("chdb:///x", SECRET)},
    ],
)
def test_secrets_are_not_logged(source: Log, lines: Lines, fields: dict[str, object]) -> None:
    source.info("read", "settings were read", **fields)
    (line,) = lines()
    assert SECRET not in json.dumps(line)
    assert "[redacted]" in json.dumps(line)


def test_secrets_are_not_said_in_words_or_traces(source: Log, lines: Lines) -> None:
    source.error("failed", f"token={SECRET} was refused", cause=OSError(f"http://andon:{SECRET}@db said no"))
    logging.getLogger("some.library").warning("password=%s", SECRET)
    own, foreign = lines()
    assert SECRET not in json.dumps([own, foreign])
    assert own["message"] == "token=[redacted] was refused"
    assert str(own["trace"]).endswith("OSError: http://andon:[redacted]@db said no\n")
    assert foreign["message"] == "password=[redacted]"


@pytest.mark.parametrize(
    "text",
    [
        "the password comes from a file",
        "http://db:8123/andon?user=andon",
        "orders/7 at offset 12: lag 3",
        "andon@example.com wrote at 10:05",
        "2026-03-02T06:00:00Z",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        st.lists,
        max_leaves=5,
    )
)
def test_striking_out_keeps_what_is_no_secret(value: object) -> None:
    if "[redacted]" not in json.dumps(redacted(value)):
        assert redacted(value) == value
        assert redacted({"a": value}) == {"a": value}


@given(
    st.lists(
        st.sampled_from(
            ["password", "=", ":", " ", '"', "token", "a", "//", "u@b", "sasl.x", "]", "Bearer ", "12345678"]
        )
    ).map("".join)
)
def test_striking_out_twice_is_striking_out_once(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)


def test_fields_can_not_take_the_place_of_what_every_line_has(source: Log, lines: Lines) -> None:
    source.info("read", "words", level="high", ts="now", log="tree", trace="none", odd={1: {2, 3}, "b": b"x"})
    (line,) = lines()
    assert (line["level"], line["log"], line["level_"], line["ts_"], line["log_"]) == (
        "info",
        "source",
        "high",
        "now",
        "tree",
    )
    assert line["odd"] == {"1": "{2, 3}", "b": "b'x'"}


def test_a_cause_is_shown_with_its_trace(source: Log, capsys: pytest.CaptureFixture[str]) -> None:
    setup("text")
    try:
        _ = 1 / 0
    except ZeroDivisionError as error:
        source.warning("odd", "could not divide", cause=error, by=0)
    said = capsys.readouterr().err.splitlines()
    assert said[0].endswith(" WARNING source: could not divide (by=0)")
    assert said[1] == "Traceback (most recent call last):"
    assert said[-1] == "ZeroDivisionError: division by zero"


def test_what_libraries_warn_of_comes_in_the_same_form(lines: Lines) -> None:
    library = logging.getLogger("some.library")
    library.info("not shown")
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        library.exception("it %s", "failed")
    (line,) = lines()
    assert (line["log"], line["event"], line["message"]) == ("some.library", "library", "it failed")
    assert "ZeroDivisionError" in str(line["trace"])


def test_before_it_is_set_up_words_are_not_lost(source: Log, caplog: pytest.LogCaptureFixture) -> None:
    source.warning("odd", "100 % of it")
    assert [record.getMessage() for record in caplog.records] == ["100 % of it"]


def test_a_stream_that_is_gone_does_not_end_the_job(source: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, text: str) -> int:
            raise BrokenPipeError(text)

        def isatty(self) -> bool:
            return False

    setup("json")
    monkeypatch.setattr(logging, "raiseExceptions", False)
    monkeypatch.setattr(sys, "stderr", Gone())
    source.info("started", "words")
