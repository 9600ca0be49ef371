"""Answers over HTTP, asked over a real socket: who asks gets words, and asking disturbs nobody."""

import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dataflows.flow import Cluster, Stop
from dataflows.input_limit import InputLimit
from dataflows.job import pipeline_settings
from dataflows.observe import Server, serve
from dataflows.process_maps import load_process_map
from dataflows.settings import Settings
from dataflows.telemetry import REQUIRED, Telemetry
from dataflows.watch import JobWatch
from operators.groups import make_group
from operators.lane_state import Merged
from operators.pipeline import SITE, group_names
from schemas import metrics
from schemas.errors import SettingsError
from tests.logs import START_US


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telemetry(clock: Clock) -> Telemetry:
    return Telemetry(0, clock, clock, limit=InputLimit(ratio=0.1, minimum=10))


@pytest.fixture
def server(telemetry: Telemetry) -> Iterator[Server]:
    with serve(telemetry, "127.0.0.1:0", stalled_after_s=45) as running:
        yield running


def get(server: Server, path: str, method: str = "GET") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read().decode()
    finally:
        connection.close()


def wait_for(condition: Callable[[], bool], what: str, deadline_s: float = 20.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"waited {deadline_s} s for {what}"
        time.sleep(0.01)


def test_metrics_can_be_scraped(server: Server, telemetry: Telemetry) -> None:
    telemetry.count(metrics.MESSAGES, 12, "orders")
    code, kind, body = get(server, "/metrics")
    assert (code, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    found = {family.name: family for family in text_string_to_metric_families(body)}
    assert found["andon_messages"].samples[0].value == 12
    assert get(server, "/metrics?name=x")[0] == 200


def test_healthz_fails_when_no_progress_is_made_and_says_for_how_long(
    server: Server, telemetry: Telemetry, clock: Clock
) -> None:
    assert get(server, "/healthz") == (200, "text/plain; charset=utf-8", "ok\n")
    clock.now += 123
    assert get(server, "/healthz")[::2] == (503, "no progress for 123 s (bound 45 s)\n")
    telemetry.beat()
    assert get(server, "/healthz")[0] == 200


def test_a_snapshot_that_goes_on_from_group_to_group_is_progress(
    server: Server, telemetry: Telemetry, clock: Clock
) -> None:
    """Where much state goes to a slow volume, it takes longer than a process may stand still, again at each start."""
    watch = JobWatch(telemetry, Stop(), lambda: 0, 8.0)
    settings = pipeline_settings(Settings(), load_process_map("default"))
    for name in group_names(SITE, 8):
        clock.now += 40
        watch.group_kept(make_group(name, settings), 40.0, 1)
        assert get(server, "/healthz")[0] == 200
    clock.now += 46
    assert get(server, "/healthz")[0] == 503


def test_readyz_names_each_condition_that_fails_a_line_each(server: Server, telemetry: Telemetry) -> None:
    code, _, body = get(server, "/readyz")
    assert (code, body.splitlines()) == (503, [f"{name}: not yet" for name in REQUIRED])
    for name in REQUIRED:
        telemetry.condition(name, ok=True)
    assert get(server, "/readyz")[::2] == (200, "ok\n")
    telemetry.condition("store", ok=False, why="ClickHouse said\nno")
    telemetry.condition("source", ok=False)
    assert get(server, "/readyz")[::2] == (503, "source: fails\nstore: ClickHouse said no\n")


def test_readyz_names_the_processes_that_a_start_waits_for(server: Server, telemetry: Telemetry) -> None:
    """The engine tells nothing until all of them are there: one that can't be scheduled keeps all waiting."""
    watch = JobWatch(telemetry, Stop(), lambda: 0, 8.0)
    cluster = Cluster(1, ("andon-0:2101", "andon-1:2101", "andon-2:2101"))
    watch.begun("r1", ["lane-0000"], cluster, "4 topics", "a store")
    _, _, body = get(server, "/readyz")
    waits = [line for line in body.splitlines() if line.startswith("resumed: ")]
    assert waits == ["resumed: until its state is read and all other processes are there: andon-0:2101, andon-2:2101"]
    watch.released("lane-0000", Merged([], [], [], START_US, START_US, final=False))
    assert "resumed" not in get(server, "/readyz")[2]


def test_bad_input_is_said_everywhere_but_is_no_reason_to_restart(server: Server, telemetry: Telemetry) -> None:
    for name in REQUIRED:
        telemetry.condition(name, ok=True)
    telemetry.dead_letter_window(100, 50)
    code, _, body = get(server, "/healthz")
    assert code == 200, "Kubernetes would restart a job that a restart can't help"
    assert body.startswith("ok\ninput: 50.0% of the 100 messages")
    code, _, body = get(server, "/readyz")
    assert code == 503
    assert body.startswith("input: 50.0% of the 100 messages")
    assert "\nandon_healthy 0.0\n" in get(server, "/metrics")[2]
    assert json.loads(get(server, "/status")[2])["healthy"] is False


def test_one_condition_can_be_asked_for_whatever_the_others_are(server: Server, telemetry: Telemetry) -> None:
    """A startup probe over all of them would restart a job for ever that begins with input that is bad."""
    assert get(server, "/readyz/resumed")[::2] == (503, "not yet\n")
    telemetry.condition("resumed", ok=True)
    telemetry.dead_letter_window(100, 50)
    assert get(server, "/readyz/resumed")[::2] == (200, "ok\n")
    assert get(server, "/readyz/source")[::2] == (503, "not yet\n")
    assert get(server, "/readyz/input")[0] == get(server, "/readyz")[0] == 503
    assert get(server, "/readyz/nothing")[0] == get(server, "/readyz/")[0] == 404


def test_status_is_json(server: Server, telemetry: Telemetry) -> None:
    telemetry.set(metrics.STORE_UP, 1)
    code, kind, body = get(server, "/status")
    assert (code, kind) == (200, "application/json")
    assert json.loads(body)["metrics"]["andon_store_up"] == [{"labels": {}, "value": 1.0}]


@pytest.mark.parametrize("path", ["/", "/metric", "/metrics/", "/healthz/x", "/../etc/passwd"])
def test_everything_else_is_not_found(server: Server, path: str) -> None:
    code, _, body = get(server, path)
    assert (code, body) == (404, "answers are at /metrics, /healthz, /readyz and /status\n")


def test_heads_have_no_body_and_other_methods_are_refused(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(b"HEAD /healthz HTTP/1.0\r\n\r\n")
        said = b"".join(iter(lambda: raw.recv(4_096), b""))
    assert said.startswith(b"HTTP/1.0 200 ")
    assert said.endswith(b"\r\n\r\n")
    assert get(server, "/healthz", "POST")[0] == 501


def test_asking_logs_nothing(
    server: Server, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for path in ("/metrics", "/healthz", "/readyz", "/status", "/nothing"):
        get(server, path)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_a_client_that_hangs_up_or_says_nothing_disturbs_nobody(
    server: Server, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    silent = socket.create_connection(("127.0.0.1", server.port))
    rude = socket.create_connection(("127.0.0.1", server.port))
    rude.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # reset, not close
    rude.close()
    assert get(server, "/healthz")[0] == 200
    silent.close()
    wait_for(lambda: not any("process_request" in one.name for one in threading.enumerate()), "both to be over")
    assert capfd.readouterr().err == ""
    assert caplog.records == []


def test_a_fault_of_ours_ends_one_answer_and_is_logged_once(
    server: Server, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> bytes:
        raise RuntimeError("out of ink")

    monkeypatch.setattr(telemetry, "render", broken)
    for _ in range(3):
        with pytest.raises(http.client.RemoteDisconnected):
            get(server, "/metrics")
    assert get(server, "/healthz")[0] == 200
    assert [record.getMessage() for record in caplog.records] == ["an answer over HTTP failed: out of ink"]


def test_a_port_that_is_taken_is_a_problem_of_the_settings(server: Server, telemetry: Telemetry) -> None:
    listen = f"127.0.0.1:{server.port}"
    with pytest.raises(SettingsError) as raised:
        serve(telemetry, listen, 60)
    assert str(raised.value) == (
        f'settings: observe.listen = "{listen}": can\'t listen there: Address already in use; '
        "name another address, or port 0 for any that is free"
    )


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ("9464", "must be a host and a port"),
        ("localhost:http", "must be a host and a port"),
        ("localhost:70000", "must have a port up to 65535"),
        ("::1:9464", "must be a host and a port"),
        ("192.0.2.1:9464", "can't listen there"),
        ("no such host:9464", "can't listen there"),
    ],
)
def test_an_address_that_can_not_be_listened_at_is_one_too(telemetry: Telemetry, listen: str, words: str) -> None:
    with pytest.raises(SettingsError, match=r"observe\.listen") as raised:
        serve(telemetry, listen, 60)
    assert words in str(raised.value)


def test_a_port_that_was_free_is_said(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "andon.observe")
    with serve(telemetry, "127.0.0.1:0", 60) as first:
        pass
    with serve(telemetry, f"127.0.0.1:{first.port}", 60):
        assert caplog.messages == [f"observe.listen took a free port: http://127.0.0.1:{first.port}"]


def test_a_closed_server_has_let_go_of_its_port(telemetry: Telemetry) -> None:
    first = serve(telemetry, "127.0.0.1:0", 60)
    first.close()
    first.close()
    with serve(telemetry, f"127.0.0.1:{first.port}", 60) as second:
        assert get(second, "/healthz")[0] == 200


def test_all_interfaces_and_ipv6(telemetry: Telemetry) -> None:
    with serve(telemetry, ":0", 60) as everywhere:
        assert get(everywhere, "/healthz")[0] == 200
    if socket.has_ipv6:
        try:
            six = serve(telemetry, "[::1]:0", 60)
        except SettingsError:
            pytest.skip("this machine has no IPv6 loopback")
        with six:
            assert six.url == f"http://[::1]:{six.port}"
            connection = http.client.HTTPConnection("::1", six.port, timeout=10)
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b"ok\n"
            connection.close()
