"""One exchange with a receiver that misbehaves: bounded, in words, to checked addresses only, without secrets."""

import ipaddress
import socket
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.webhooks.addresses import networks_of, refused
from sinks.webhooks.connecting import AddressRefusedError, Dialler
from sinks.webhooks.posting import Poster, Timeouts
from sinks.webhooks.receivers.choice import Endpoint, endpoint_of
from sinks.webhooks.request import Request
from sinks.webhooks.secret_values import SHOWN
from sinks.webhooks.settings import ReceiverSettings
from sinks.webhooks.verdicts import Answer, retry_after_us, verdict_of
from tests.webhook_alerts import NOON_US
from tests.webhook_receiver import Authority, ScriptedReceiver

_SECOND = 1_000_000
_QUICK = Timeouts(connect_s=2.0, read_s=0.4, total_s=1.0)
_REQUEST = Request(b'{"a":1}', {"Content-Type": "application/json", "Idempotency-Key": "k"})
_TOKEN = "Bearer tok-9d1f6c"  # noqa: S105 - a throw-away one


def _endpoint(url: str, **changes: Any) -> Endpoint:  # noqa: ANN401 - any field
    fields: dict[str, Any] = {"allow_http": True, "allow_networks": ("127.0.0.0/8",)}
    settings = ReceiverSettings(name="r", type="slack", url="env:HOOK", **(fields | changes))
    return endpoint_of(settings, {"HOOK": url, "TOKEN": _TOKEN})


def _sent(step: str, **changes: Any) -> tuple[Answer, ScriptedReceiver]:  # noqa: ANN401 - any field
    with ScriptedReceiver(step) as receiver:
        return Poster(_endpoint(receiver.url, **changes), _QUICK)(_REQUEST), receiver


# --- answers ----------------------------------------------------------------------------------------------------------


def test_a_good_answer_and_what_was_sent() -> None:
    answer, receiver = _sent("202", headers={"x-team": "fulfilment"}, authorization="env:TOKEN")
    assert (answer.status, answer.text, answer.error) == (202, "ok", "")
    (one,) = receiver.received
    assert (one.method, one.path, one.body) == ("POST", "/hook", _REQUEST.body)
    assert one.headers["x-team"] == "fulfilment"
    assert one.headers["authorization"] == _TOKEN
    assert one.headers["content-length"] == str(len(_REQUEST.body))


def test_a_path_goes_behind_the_urls_own() -> None:
    with ScriptedReceiver() as receiver:
        post = Poster(_endpoint(receiver.url + "/"), _QUICK)
        post(msgspec.structs.replace(_REQUEST, path="/api/v2/alerts"))
        assert receiver.received[0].path == "/hook/api/v2/alerts"


@pytest.mark.parametrize(
    ("step", "outcome"),
    [
        ("200", "delivered"),
        ("204", "delivered"),
        ("400", "rejected"),
        ("401", "rejected"),
        ("404", "rejected"),
        ("408", "retrying"),
        ("410", "disabled"),
        ("422", "rejected"),
        ("425", "retrying"),
        ("429", "retrying"),
        ("500", "retrying"),
        ("503", "retrying"),
        ("reset", "retrying"),
        ("close", "retrying"),
        ("garbage", "retrying"),
        ("hang", "retrying"),
        ("drip", "delivered"),
        ("slow", "delivered"),
        ("flood", "delivered"),
        ("early", "delivered"),
        ("101", "retrying"),
    ],
)
def test_every_way_to_answer_has_its_outcome_within_the_time(step: str, outcome: str) -> None:
    began_s = time.monotonic()
    answer, receiver = _sent(step)
    assert time.monotonic() - began_s < 15.0
    assert verdict_of(answer, NOON_US, _SECOND).outcome == outcome
    assert len(receiver.received) == receiver.connections == 1
    assert answer.error or answer.status is not None
    assert len(answer.text) <= 300


def test_of_an_answer_without_end_only_the_beginning_is_read() -> None:
    with ScriptedReceiver("flood") as receiver:
        answer = Poster(_endpoint(receiver.url), Timeouts(2.0, 5.0, 30.0))(_REQUEST)
        assert answer.text == "a" * 300
        assert receiver.flooded < 12_000_000  # what buffers hold; the rest of the gigabyte was not asked for


@pytest.mark.parametrize(("step", "outcome"), [("413", "rejected"), ("429 retry-after=7", "retrying")])
def test_an_answer_that_comes_before_the_body_was_read_is_heard(step: str, outcome: str) -> None:
    with ScriptedReceiver(f"hasty {step}") as receiver:
        large = msgspec.structs.replace(_REQUEST, body=bytes(30_000_000))  # more than fits on the way
        answer = Poster(_endpoint(receiver.url), Timeouts(connect_s=2.0, read_s=5.0, total_s=20.0))(large)
    verdict = verdict_of(answer, NOON_US, 3_600 * _SECOND)
    assert (str(answer.status), verdict.outcome) == (step.split(maxsplit=1)[0], outcome)
    assert verdict.not_before_us == (NOON_US + 7 * _SECOND if "retry" in step else None)


def test_redirects_are_not_followed() -> None:
    with ScriptedReceiver() as other:
        answer, receiver = _sent(f"301 location={other.url}")
        verdict = verdict_of(answer, NOON_US, _SECOND)
        assert (verdict.outcome, verdict.detail) == ("rejected", "HTTP 301: redirects are not followed")
        assert (receiver.connections, other.connections) == (1, 0)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    answer = Poster(_endpoint(f"http://127.0.0.1:{port}/x"), _QUICK)(_REQUEST)
    assert answer.error == "no connection: Connection refused"


def test_nothing_secret_comes_back_in_an_answer() -> None:
    with ScriptedReceiver("echo") as receiver:
        endpoint = _endpoint(receiver.url + "/T00/B11/verysecretpath", authorization="env:TOKEN")
        post = Poster(endpoint, Timeouts(20.0, 20.0, 30.0))
        body = f"you said {_TOKEN} to hook/T00/B11/verysecretpath".encode()
        answer = post(msgspec.structs.replace(_REQUEST, body=body))
    assert answer.text == f"you said {SHOWN} to {SHOWN}"
    assert "secret" not in endpoint.shown
    assert "verysecretpath" not in repr(endpoint)
    assert _TOKEN not in repr(endpoint)


@pytest.mark.parametrize(
    "said", ["no_service: T0P53CR3T-9f1b", r"no hook services\/B01TEAM99\/T0P53CR3T-9f1b", "key a b+c=0815 is revoked"]
)
def test_of_a_url_that_is_a_secret_no_part_comes_back(said: str) -> None:
    with ScriptedReceiver("echo") as receiver:
        url = receiver.url.replace("/hook", "/services/B01TEAM99/T0P53CR3T-9f1b?key=a%20b%2Bc%3D0815")
        post = Poster(_endpoint(url), _QUICK)
        answer = post(msgspec.structs.replace(_REQUEST, body=said.encode()))
    assert answer.status == 400
    assert not [part for part in ("B01TEAM99", "T0P53CR3T", "0815") if part in answer.text], answer.text
    assert SHOWN in answer.text


def test_a_token_comes_back_without_the_word_before_it_and_is_struck_out_too() -> None:
    with ScriptedReceiver("echo") as receiver:
        post = Poster(_endpoint(receiver.url, authorization="env:TOKEN"), Timeouts(20.0, 20.0, 30.0))
        answer = post(msgspec.structs.replace(_REQUEST, body=b"unknown token tok-9d1f6c"))
    assert answer.text == f"unknown token {SHOWN}"


# --- Retry-After ------------------------------------------------------------------------------------------------------


def test_retry_after_in_seconds_and_as_a_date() -> None:
    assert retry_after_us({"retry-after": "7"}, NOON_US) == NOON_US + 7 * _SECOND
    assert retry_after_us({"retry-after": "Mon, 02 Mar 2026 12:00:30 GMT"}, NOON_US) == NOON_US + 30 * _SECOND
    assert retry_after_us({"retry-after": "Monday, 02-Mar-26 12:00:30 GMT"}, NOON_US) == NOON_US + 30 * _SECOND
    for useless in ("", "soon", "-3", "٣", "Mon, 99 Foo 2026 12:00:30 GMT"):
        assert retry_after_us({"retry-after": useless}, NOON_US) is None
    assert retry_after_us({}, NOON_US) is None


def test_retry_after_is_heeded_up_to_a_limit() -> None:
    verdict = verdict_of(Answer(429, {"retry-after": "999999999999999"}), NOON_US, 60 * _SECOND)
    assert verdict.not_before_us == NOON_US + 60 * _SECOND
    assert verdict_of(Answer(503, {"retry-after": "5"}), NOON_US, 60 * _SECOND).not_before_us == NOON_US + 5 * _SECOND
    assert verdict_of(Answer(400, {"retry-after": "5"}), NOON_US, 60 * _SECOND).not_before_us is None


@given(st.text())
def test_any_retry_after_is_read_or_passed_over(text: str) -> None:
    found = retry_after_us({"retry-after": text}, NOON_US)
    assert found is None or isinstance(found, int)


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254"),
        *("0.0.0.0", "100.64.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.0.2.1"),  # noqa: S104
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "fec0::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b::a00:1"),
        *("::7f00:1", "2002:7f00:1::", "2002:a00:1::1", "2001:0:7f00:1::", "not an address"),
    ],
)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert refused(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_public_addresses_are_not(address: str) -> None:
    assert refused(address) == ""


def test_a_network_that_is_allowed_is_allowed_in_every_way_to_write_it() -> None:
    allowed = networks_of(["10.1.0.0/16", "fd00:1::/64"])
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "fd00:1::5"):
        assert refused(address, allowed) == ""
    for address in ("10.2.0.1", "::ffff:10.2.0.1", "fd00:2::1", "127.0.0.1"):
        assert refused(address, allowed)


@given(st.ip_addresses(v=4))
def test_what_is_refused_is_refused_as_a_mapped_address_too(address: ipaddress.IPv4Address) -> None:
    assert bool(refused(str(address))) == bool(refused(f"::ffff:{address}"))
    assert bool(refused(str(address))) == (not address.is_global or address.is_multicast or address.is_reserved)


class _Names:
    """A resolver that says something else each time."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
        del host
        self.asked += 1
        answers = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, (one, port)) for one in answers]


def test_a_name_that_is_rebound_gets_no_connection() -> None:
    """Public when looked up first, private afterwards: what is connected to is what was judged."""
    with ScriptedReceiver() as receiver:
        names = _Names(["192.0.2.1"], ["127.0.0.1"])
        url = f"http://hooks.test:{receiver.port}/hook"
        post = Poster(_endpoint(url, allow_networks=("192.0.2.0/24",)), _QUICK, names)
        first, second = post(_REQUEST), post(_REQUEST)
        assert first.error  # nobody answers at a documentation address
        assert "127.0.0.1 is a loopback address" in second.error
        assert (names.asked, receiver.connections) == (2, 0)


def test_one_exchange_looks_a_name_up_once_and_goes_to_that_address() -> None:
    with ScriptedReceiver() as receiver:
        names = _Names(["127.0.0.1"], ["10.0.0.1"])
        url = f"http://hooks.test:{receiver.port}/hook"
        assert Poster(_endpoint(url), _QUICK, names)(_REQUEST).status == 200
        assert names.asked == 1
        assert receiver.received[0].headers["host"] == f"hooks.test:{receiver.port}"


def test_of_several_addresses_only_the_good_ones_are_tried() -> None:
    with ScriptedReceiver() as receiver:
        names = _Names(["10.0.0.1", "::1", "127.0.0.1"])
        made = Dialler(networks_of(["127.0.0.0/8"]), 2.0, names).dial("hooks.test", receiver.port)
        assert made.getpeername()[0] == "127.0.0.1"
        made.close()


def test_an_address_that_answers_nothing_leaves_time_for_the_others() -> None:
    deaf = socket.create_server(("127.0.0.2", 0), backlog=0)
    filled = [socket.socket() for _ in range(4)]  # its queue is full: what asks to be let in now hears nothing
    try:
        for one in filled:
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        with ScriptedReceiver() as receiver:
            found = [(socket.AF_INET, deaf.getsockname())] * 2 + [(socket.AF_INET, ("127.0.0.1", receiver.port))]
            made = Dialler(networks_of(["127.0.0.0/8"]), 2.0, lambda _host, _port: found).dial("hooks.test", 443)
            assert made.getpeername() == ("127.0.0.1", receiver.port)
            made.close()
    finally:
        for one in (deaf, *filled):
            one.close()


def test_families_of_addresses_are_tried_in_turn() -> None:
    tried: list[str] = []

    class Noted(Dialler):
        def _connected(self, family: int, address: tuple[Any, ...], timeout_s: float) -> socket.socket:
            del family, timeout_s
            tried.append(str(address[0]))
            raise ConnectionRefusedError

    names = _Names(["2001:4860:4860::8888", "2001:4860:4860::8844", "8.8.8.8"])
    with pytest.raises(ConnectionRefusedError):
        Noted((), 2.0, names).dial("hooks.test", 443)
    assert tried == ["2001:4860:4860::8888", "8.8.8.8", "2001:4860:4860::8844"]


def test_the_peer_is_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedReceiver() as receiver:
        dialler = Dialler(networks_of(["127.0.0.0/8"]), 2.0, _Names(["127.0.0.1"]))
        monkeypatch.setattr(socket.socket, "getpeername", lambda _: ("169.254.169.254", 80))
        with pytest.raises(AddressRefusedError, match="link-local"):
            dialler.dial("hooks.test", receiver.port)


def test_a_private_address_is_refused_by_default_and_no_byte_is_sent() -> None:
    answer, receiver = _sent("200", allow_networks=())
    assert answer.error == "its address must not be connected to: 127.0.0.1 is a loopback address; see allow_networks"
    assert receiver.connections == 0


def test_a_look_up_that_hangs_is_given_up() -> None:
    with ScriptedReceiver() as receiver:

        def hang(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
            receiver.wait(lambda came: len(came) == 1)
            return [(socket.AF_INET, (host, port))]

        timeouts = Timeouts(connect_s=0.1, read_s=1.0, total_s=2.0)
        post = Poster(_endpoint("http://hooks.test/hook"), timeouts, hang)
        assert post(_REQUEST).error == "the name was not looked up in time"
        assert post(_REQUEST).error == "the name was not looked up in time"  # and no second thread hangs beside it
        Poster(_endpoint(receiver.url), _QUICK)(_REQUEST)


def test_a_name_that_nobody_knows() -> None:
    def unknown(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
        raise socket.gaierror(socket.EAI_NONAME, f"{host} {port} is not known")

    answer = Poster(_endpoint("http://hooks.test/hook"), _QUICK, unknown)(_REQUEST)
    assert answer.error == "no connection: hooks.test 80 is not known"


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def _sent_tls(url_host: str, context: ssl.SSLContext, ca_file: Path | None) -> Answer:
    with ScriptedReceiver(tls=context) as receiver:
        endpoint = _endpoint(f"https://{url_host}:{receiver.port}/hook", ca_file=str(ca_file or ""))
        answer = Poster(endpoint, _QUICK, _Names(["127.0.0.1"]))(_REQUEST)
        assert len(receiver.received) == (1 if answer.status else 0)
        return answer


def test_a_certificate_of_our_own_authority_is_taken(authority: Authority) -> None:
    answer = _sent_tls("hooks.test", authority.server("DNS:hooks.test"), authority.file)
    assert answer.status == 200, answer


def test_a_certificate_is_held_against_the_name_not_the_address(authority: Authority) -> None:
    answer = _sent_tls("hooks.test", authority.server("IP:127.0.0.1"), authority.file)
    assert "the certificate is not accepted" in answer.error
    assert "hooks.test" in answer.error


def test_a_certificate_of_an_unknown_authority_is_refused(authority: Authority) -> None:
    answer = _sent_tls("hooks.test", authority.server("DNS:hooks.test"), None)
    assert answer.error.startswith("TLS: the certificate is not accepted:")


def test_a_receiver_that_speaks_no_tls() -> None:
    with ScriptedReceiver(always="garbage") as receiver:
        answer = Poster(_endpoint(f"https://127.0.0.1:{receiver.port}/hook"), _QUICK)(_REQUEST)
    assert answer.error
    assert verdict_of(answer, NOON_US, 1).outcome == "retrying"


def test_a_handshake_that_hangs_is_broken_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        began_s = time.monotonic()
        answer = Poster(_endpoint(f"https://127.0.0.1:{port}/"), Timeouts(1.0, 30.0, 0.3))(_REQUEST)
        assert answer.error == "no answer within 0.3 s"
        assert time.monotonic() - began_s < 15.0
