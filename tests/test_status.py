"""`andon status`: what a person sees of a running job, what a machine gets, and with which exit code."""

import io
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rich.console import Console

from dataflows.cli import status as status_module
from dataflows.cli.status import board, status, watch
from dataflows.observe import Server, serve
from dataflows.status import Answer, ProcessStatus, Series, ask, ask_all, is_well, together, url_of
from dataflows.telemetry import REQUIRED, Telemetry
from schemas import metrics
from schemas.durations import Duration
from tests.processes import ROOT, environment
from tests.readable import readable

GOLDEN = Path(__file__).parent / "golden"
URL = "http://127.0.0.1:9464"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def busy(clock: Clock, process: int = 0) -> Telemetry:
    """A process that has worked for 70 seconds: every section of the board has something to show."""
    telemetry = Telemetry(process, clock, clock)
    telemetry.version = "1.2.3"
    lane = f"lane-{process:04d}"
    for second in range(70):
        clock.now += 1
        telemetry.count(metrics.MESSAGES, 4_120, "orders")
        telemetry.count(metrics.MESSAGES, 20, "inventory")
        telemetry.count_many(metrics.EVENTS, {"order.created": 2_000, "order.approved": 2_119, "inventory.level": 20})
        telemetry.count(metrics.DEAD_LETTERS, 1, "schema")
        telemetry.dead_letter_window(4_140, 1)
        telemetry.count(metrics.ROWS_WRITTEN, 300, "handoff_passes")
        telemetry.count(metrics.ROWS_WRITTEN, 3, "signal_log")
        telemetry.observe_many(metrics.END_TO_END, [0.2 + one / 80 for one in range(300)], "handoff_passes")
        telemetry.observe(metrics.INSERT_SECONDS, 0.03, "handoff_passes")
        if second % 10 == 0:
            telemetry.observe(metrics.EPOCH_SECONDS, 10.02)
            telemetry.observe(metrics.SNAPSHOT_SECONDS, 0.012 + second / 10_000)
            telemetry.set(metrics.SNAPSHOT_BYTES, 1_234_567)
        telemetry.beat()
    for partition in range(6):
        telemetry.set(metrics.LAG_MESSAGES, 100 * partition**2, "orders", 3 * partition + process)
        telemetry.set(metrics.LAG_SECONDS, 1.2 * partition, "orders", 3 * partition + process)
    telemetry.set(metrics.LAG_MESSAGES, 0, "inventory", process)
    telemetry.set(metrics.LAG_SECONDS, 0, "inventory", process)
    telemetry.set(metrics.WATERMARK_AGE, 6.2 + process, lane)
    telemetry.set(metrics.HELD_BACK_BY, 1, lane, "orders", 15 + process)
    telemetry.set(metrics.SOURCE_UP, 1, lane)
    telemetry.set(metrics.BUFFERED, 120, lane)
    telemetry.set(metrics.SOURCE_PAUSED, 2, lane)
    sizes = {("handoffs", "cases"): 1_204, ("handoffs", "open_passes"): 3_110, ("dedup", "ids"): 20_000}
    telemetry.share(metrics.STATE_ENTRIES, "case:0000", sizes)
    telemetry.share(metrics.STATE_ENTRIES, "case:0001", {("handoffs", "cases"): 4})
    telemetry.set(metrics.STORE_UP, 1)
    telemetry.count(metrics.LATE_EVENTS, 3, "handoff_windows")
    telemetry.count(metrics.DUPLICATES, 120)
    for name in REQUIRED:
        telemetry.condition(name, ok=True)
    return telemetry


def answer(telemetry: Telemetry, url: str = URL) -> Answer:
    return Answer(url, msgspec.convert(telemetry.status(), ProcessStatus))


def drawn(answers: Sequence[Answer], width: int = 110) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(board(answers))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def golden(name: str) -> str:
    return (GOLDEN / name).read_text(encoding="utf-8")


# --- what is seen -----------------------------------------------------------------------------------------------------


def test_the_board_of_a_job_that_is_well(clock: Clock) -> None:
    assert drawn([answer(busy(clock))]) == golden("status_well.txt")


def test_the_board_of_a_job_in_trouble(clock: Clock) -> None:
    first, second = busy(clock), busy(clock, 1)
    first.dead_letter_window(100_000, 90_000)
    second.condition("store", ok=False, why="ClickHouse does not answer: connection refused")
    second.set(metrics.STORE_UP, 0)
    second.set(metrics.SOURCE_UP, 0, "lane-0001")
    second.count(metrics.WRITE_RETRIES, 4)
    second.set(metrics.TOPIC_MISSING, 1, "suply")
    second.count(metrics.ROWS_REFUSED, 2, "signal_log")
    second.observe(metrics.END_TO_END, 9_999, "signal_log")
    clock.now += 33
    third = busy(clock, 2)
    clock.now += 75
    first.beat()
    second.beat()
    answers = [
        answer(first),
        answer(second, "http://127.0.0.1:9465"),
        answer(third, "http://127.0.0.1:9466"),
        Answer("http://127.0.0.1:9467", error="can't be reached: Connection refused"),
    ]
    assert drawn(answers) == golden("status_trouble.txt")
    assert not is_well(answers)


def test_a_process_that_has_only_just_begun_is_drawn_too(clock: Clock) -> None:
    assert drawn([answer(Telemetry(0, clock, clock))]).startswith(f"process 0  {URL}  andon ")
    assert "NOT READY\n  resumed: not yet" in drawn([answer(Telemetry(0, clock, clock))])


def test_numbers_are_never_cut_short_on_a_narrow_terminal(clock: Clock) -> None:
    text = drawn([answer(busy(clock))], width=60)
    (orders,) = [line for line in text.splitlines() if line.startswith("  orders")]
    assert orders.split()[:5] == ["orders", "4,120", "5,500", "6", "s"]
    assert max(map(len, text.splitlines())) <= 60


def test_many_topics_and_lanes_are_cut_to_the_worst_and_the_rest_counted(clock: Clock) -> None:
    telemetry = Telemetry(0, clock, clock)
    for number in range(40):
        telemetry.set(metrics.LAG_MESSAGES, number, f"topic-{number:02}", 0)
        telemetry.set(metrics.WATERMARK_AGE, number, f"lane-{number:04}")
    text = drawn([answer(telemetry)])
    assert "topic-39" in text
    assert "topic-28" in text
    assert "topic-27" not in text
    assert "and 28 more topics" in text
    assert "lane-0039" in text
    assert "lane-0031" not in text
    assert "and 32 more lanes" in text


# --- several processes ------------------------------------------------------------------------------------------------

OBSERVED = st.lists(st.tuples(st.integers(0, 2), st.floats(0, 4_000, allow_nan=False)), max_size=60)


@hypothesis_settings(max_examples=50, deadline=None)
@given(OBSERVED)
def test_histograms_of_several_processes_together_are_those_of_one_that_saw_it_all(
    observed: list[tuple[int, float]],
) -> None:
    clock = Clock()
    every, parts = Telemetry(0, clock, clock), [Telemetry(one, clock, clock) for one in range(3)]
    for part, value in observed:
        every.observe(metrics.END_TO_END, value, "signal_log")
        parts[part].observe(metrics.END_TO_END, value, "signal_log")
    merged = together([msgspec.convert(one.status(), ProcessStatus) for one in parts])[metrics.END_TO_END.name]
    whole = msgspec.convert(every.status(), ProcessStatus).metrics[metrics.END_TO_END.name]
    assert len(merged) == len(whole)
    for ours, theirs in zip(merged, whole, strict=True):
        assert (ours.recent, ours.count, ours.p50, ours.p95, ours.p99) == (
            theirs.recent,
            theirs.count,
            theirs.p50,
            theirs.p95,
            theirs.p99,
        )
        assert ours.sum == pytest.approx(theirs.sum)


def test_counters_and_gauges_of_several_processes_together(clock: Clock) -> None:
    parts = [Telemetry(one, clock, clock) for one in range(2)]
    clock.now += 5
    for number, one in enumerate(parts):
        one.count(metrics.MESSAGES, 100 * (number + 1), "orders")
        one.set(metrics.LAG_MESSAGES, 7, "orders", number)
        one.set(metrics.STORE_UP, number)
        one.set(metrics.SNAPSHOT_BYTES, 10)
        one.set(metrics.WATERMARK_AGE, 3 + number, "lane-0000")
        one.observe(metrics.EPOCH_SECONDS, 10 - number)
    merged = together([msgspec.convert(one.status(), ProcessStatus) for one in parts])

    def only(metric: metrics.Metric) -> Series:
        (found,) = merged[metric.name]
        return found

    assert (only(metrics.MESSAGES).value, only(metrics.MESSAGES).per_second) == (300, 60)
    assert len(merged[metrics.LAG_MESSAGES.name]) == 2
    assert only(metrics.STORE_UP).value == 0, "away for one is away"
    assert only(metrics.SNAPSHOT_BYTES).value == 20
    assert only(metrics.WATERMARK_AGE).value == 4, "the age is that of the slowest"
    assert only(metrics.EPOCH_SECONDS).last == 10, "the longest of the last ones"


# --- asking -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:9464", "http://127.0.0.1:9464"),
        ("localhost:80", "http://localhost:80"),
        ("0.0.0.0:9464", "http://127.0.0.1:9464"),
        (":9464", "http://127.0.0.1:9464"),
        ("[::]:9464", "http://[::1]:9464"),
        ("[fe80::1]:9464", "http://[fe80::1]:9464"),
        ("http://andon-0.andon:9464/", "http://andon-0.andon:9464"),
        ("https://andon.example.com/job", "https://andon.example.com/job"),
    ],
)
def test_where_to_ask(text: str, url: str) -> None:
    assert url_of(text) == url


@pytest.mark.parametrize(
    "text", ["", "localhost", "9464", "::1:9464", "ftp://x:1", "http://", "http://x:99999", "x:1x"]
)
def test_what_is_no_place_to_ask(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|[Pp]ort"):
        url_of(text)


@contextmanager
def answering(code: int, body: bytes, wait: threading.Event | None = None) -> Iterator[str]:
    """A server that is not Andon's."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if wait is not None:
                wait.wait(20)
            try:
                self.send_response(code)
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                return

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        if wait is not None:
            wait.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("code", "body", "words"),
    [
        (404, b"no", "answers, but not as Andon does (HTTP 404)"),
        (200, b"<html>", "answers, but not as this version of Andon does: "),
        (200, b'{"status": "ok"}', "answers, but not as this version of Andon does: "),
    ],
)
def test_what_is_not_andon_is_said_so(code: int, body: bytes, words: str) -> None:
    with answering(code, body) as url:
        found = ask(url)
    assert found.status is None
    assert found.error.startswith(words)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def test_one_that_is_not_there_or_never_answers() -> None:
    assert ask(f"http://127.0.0.1:{free_port()}").error == "can't be reached: Connection refused"
    with answering(200, b"{}", threading.Event()) as url:
        began = time.monotonic()
        assert ask(url, patience_s=0.2).error == "can't be reached: timed out"
        assert time.monotonic() - began < 10


def test_several_are_asked_at_once_and_told_in_order(clock: Clock) -> None:
    wait = threading.Event()
    with answering(200, b"{}", wait) as slow, serve(busy(clock), "127.0.0.1:0", 60) as server:
        began = time.monotonic()
        found = ask_all([slow, server.url, slow, slow], patience_s=1.0)
        assert time.monotonic() - began < 2.5, "one after the other they would take three times the patience"
    assert [one.url for one in found] == [slow, server.url, slow, slow]
    assert [one.status is not None for one in found] == [False, True, False, False]


# --- the command ------------------------------------------------------------------------------------------------------


def run(*arguments: str) -> int:
    """As `andon status` runs it; the exit code."""
    try:
        code = status.main(list(arguments), "andon status", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code if isinstance(code, int) else 0


@pytest.fixture
def server(clock: Clock) -> Iterator[Server]:
    with serve(busy(clock), "127.0.0.1:0", 60) as running:
        yield running


def test_once_where_nobody_looks_and_exit_code_0_when_all_is_well(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--url", server.url) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "  ready\n" in said.out
    assert "orders/15" in said.out
    assert "\x1b" not in said.out


def test_exit_code_1_when_it_is_not_ready(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    telemetry = busy(clock)
    telemetry.condition("source", ok=False, why="the broker does not answer")
    with serve(telemetry, "127.0.0.1:0", 60) as server:
        assert run("--url", f"127.0.0.1:{server.port}") == 1
    assert "source: the broker does not answer" in capsys.readouterr().out


def test_what_can_not_be_reached_is_told_with_its_url_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert run("--url", url) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"{url} can't be reached: Connection refused\n"
        "is `andon run` running there? `observe.listen` in its settings says where it answers, "
        "--url names another place\n"
    )


def test_one_of_two_that_is_away_is_told_beside_the_other(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    assert run("--url", server.url, "--url", away, "--once") == 1
    said = capsys.readouterr()
    assert f"{away}  NOT REACHED\n  can't be reached: Connection refused\n" in said.out
    assert "4,140 messages/s" in said.out
    assert away in said.err


def test_json_for_machines(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    assert run("--url", server.url, "--url", away, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["well"] is False
    here, there = found["processes"]
    assert (here["url"], here["error"], here["status"]["ready"]) == (server.url, "", True)
    assert here["status"]["metrics"]["andon_messages_total"][0] == {
        "labels": {"topic": "orders"},
        "value": 288_400.0,
        "per_second": 4_120.0,
    }
    assert (there["status"], there["error"]) == (None, "can't be reached: Connection refused")


def test_without_a_url_the_settings_say_where(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("andon.toml").write_text(f'[observe]\nlisten = "0.0.0.0:{server.port}"\n', encoding="utf-8")
    Path("other.toml").write_text('[observe]\nlisten = "nowhere"\n', encoding="utf-8")
    assert run() == 0
    assert f"http://127.0.0.1:{server.port}" in capsys.readouterr().out
    assert run("--config", "other.toml") == 2
    assert "nowhere: must be a host and a port" in capsys.readouterr().err


def test_a_url_that_is_none_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--url", "ftp://x") == 2
    assert "Invalid value for --url: ftp://x: must be a URL such as http://127.0.0.1:9464" in capsys.readouterr().err


# --- live -------------------------------------------------------------------------------------------------------------


def interrupt_after(rounds: int, clock: Clock) -> Callable[[float], None]:
    """Stands for a person who presses Ctrl-C."""
    left = rounds

    def pause(seconds: float) -> None:
        nonlocal left
        clock.now += seconds
        left -= 1
        if not left:
            raise KeyboardInterrupt

    return pause


def test_it_is_drawn_again_each_second_until_ctrl_c(clock: Clock) -> None:
    telemetry = busy(clock)
    out = io.StringIO()
    asked = []

    def ask_it() -> list[Answer]:
        asked.append(clock.now)
        telemetry.count(metrics.MESSAGES, 6_660, "orders")
        return [answer(telemetry)]

    console = Console(file=out, width=100, height=60, force_terminal=True, highlight=False)
    answers = watch(ask_it, console, pause=interrupt_after(3, clock))
    assert [one - asked[0] for one in asked] == [0, 1, 2]
    assert out.getvalue().count("messages/s ·") == 3 + 1, "and once more, in full, when it ends"
    assert is_well(answers)


def test_json_live_is_a_line_a_second(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    telemetry = busy(clock)
    pause = interrupt_after(3, clock)
    watch(lambda: [answer(telemetry)], Console(), as_json=True, pause=pause)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["processes"][0]["status"]["idle_s"] for line in lines] == [0, 1, 2]


def test_live_into_a_pipe_is_a_board_a_second(clock: Clock) -> None:
    out, seen = io.StringIO(), []
    telemetry = busy(clock)
    until = interrupt_after(3, clock)

    def pause(seconds: float) -> None:
        seen.append(out.getvalue().count("messages/s ·"))
        until(seconds)

    watch(lambda: [answer(telemetry)], Console(file=out), pause=pause)
    assert seen == [1, 2, 3], "each when it was asked for, not all in the end"
    clear = interrupt_after(1, clock)
    watch(lambda: [Answer("http://127.0.0.1:1", error="can't be reached")], Console(file=out), pause=clear)
    assert "NOT REACHED" in out.getvalue()


def test_ctrl_c_before_the_first_answer(clock: Clock) -> None:
    calls: list[int] = []

    def ask_it() -> list[Answer]:
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return [answer(busy(clock))]

    assert is_well(watch(ask_it, Console(file=io.StringIO())))


def test_on_a_real_terminal_it_is_live_and_ctrl_c_ends_it_in_order(server: Server) -> None:
    ours, theirs = pty.openpty()
    code = f"import sys; from dataflows.cli.status import status; sys.exit(status.main(['--url', {server.url!r}]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env=environment(TERM="xterm", LINES="60"),
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    try:
        end = time.monotonic() + 60
        while seen.count(b"messages/s") < 4:  # the heading and the column, twice
            assert time.monotonic() < end, seen.decode(errors="replace")
            if readable([ours], 1.0):
                seen += os.read(ours, 65_536)
        process.send_signal(signal.SIGINT)
        while readable([ours], 10.0):
            try:
                chunk = os.read(ours, 65_536)
            except OSError:
                break
            if not chunk:
                break
            seen += chunk
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"ready" in seen
    assert b"Traceback" not in seen


def test_help_is_quick_to_load_and_says_what_the_exit_codes_mean(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    said = capsys.readouterr().out
    assert "Exit code 0: every process is healthy and ready" in said
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, dataflows.cli.status; print(*sys.modules)"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split()
    heavy = {"numpy", "prometheus_client", "bytewax", "clickhouse_connect", "confluent_kafka", "dataflows.settings"}
    assert heavy & set(loaded) == set()


def test_times_and_rates_are_written_for_people() -> None:
    assert [status_module._time(one) for one in (None, 0, 0.0421, 1.25, 90, 5_000, 200_000)] == [
        "–",
        "0 s",
        "42.1 ms",
        "1.25 s",
        "90 s",
        "83 min",
        "2 d 8 h",
    ]
    assert [status_module._rate(one) for one in (None, 0, 0.25, 99.94, 1_234.5)] == ["–", "0", "0.2", "99.9", "1,234"]
    assert [status_module._bytes(one) for one in (0, 999, 1_500, 2.5e6, 7e9)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "2.5 MB",
        "7 GB",
    ]
    assert Duration.parse("90s").seconds == 90
