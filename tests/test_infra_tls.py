"""TLS under an own, throw-away authority: the database alone, then every connection at once in one flow.

Nobody else's certificate is taken: what speaks under another authority, or none, is refused with the reason.
"""

import json
import shutil
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests import kafka_broker
from tests.clickhouse_front import ClickHouseFront
from tests.infra_tls import ApacheOverTls, TansuBehindTls, TlsFront, authority
from tests.kafka_job import Job, wait_for
from tests.processes import andon, start
from tests.webhook_receiver import ScriptedReceiver

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl makes the authority, and is not installed"
)
_TLS = {"TLSv1.2", "TLSv1.3"}
_DELIVERY = """
[clickhouse]
dsn = "{dsn}"
[delivery]
listen = "127.0.0.1:0"
poll = "50ms"
retry_first = "20ms"
retry_longest = "100ms"
stale_after = "30d"
[[delivery.receiver]]
name = "default"
type = "standard"
url = "{url}"
secrets = ["env:HOOK_SECRET"]
ca_file = "{authority}"
allow_networks = ["127.0.0.0/8"]
"""


def test_the_database_is_spoken_to_over_tls_under_an_own_authority(tmp_path: Path) -> None:
    ours, theirs = authority(tmp_path / "ours", "Ours"), authority(tmp_path / "theirs", "Theirs")
    with ClickHouseFront(tmp_path / "db") as plain, TlsFront(tmp_path / "ours", plain.port) as front:
        dsn = f"https://default@127.0.0.1:{front.port}/andon"
        done = andon("migrate", "--clickhouse", dsn, cwd=tmp_path, SSL_CERT_FILE=str(ours))
        assert "up to date" in done.stdout
        assert andon("migrate", "--status", "--clickhouse", dsn, cwd=tmp_path, SSL_CERT_FILE=str(ours)).returncode == 0
        assert front.versions
        assert front.versions <= _TLS
        for trusted in ({"SSL_CERT_FILE": str(theirs)}, {}):
            refused = andon("sql", "SELECT 1", "--clickhouse", dsn, cwd=tmp_path, check=False, **trusted)
            assert refused.returncode == 1
            assert "certificate" in refused.stderr


def _orders() -> Iterator[tuple[bytes | None, int]]:
    """Two hours of orders of yesterday, in the second every third sent twice; and a message far behind."""
    begin = datetime.now(UTC) - timedelta(days=1)
    for number in range(240):
        for copy in range(1 + (number > 120 and number % 3 == 0)):
            at = begin + timedelta(seconds=30 * number + 10 * copy)
            event = {
                "event_id": f"e-{number}-{copy}",
                "type": "order.created",
                "version": 1,
                "source": "shop-1",
                "system": "ecom",
                "channel": "web",
                "occurred_at": at.isoformat(),
                "order_id": f"o-{number}",
                "customer_id": f"c-{number}",
                "currency": "EUR",
                "total": "20.00",
                "promised_at": (begin + timedelta(days=3)).isoformat(),
                "lines": [{"line_id": "1", "sku": f"s-{number}", "qty": 1, "unit_price": "20.00"}],
            }
            yield json.dumps(event).encode(), int(at.timestamp() * 1_000)
    yield b"the end", int((begin + timedelta(hours=4)).timestamp() * 1_000)


@pytest.mark.parametrize("kind", [TansuBehindTls, ApacheOverTls])
def test_from_the_broker_to_a_receiver_all_is_spoken_over_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[TansuBehindTls | ApacheOverTls]
) -> None:
    ours, theirs = authority(tmp_path / "ours", "Ours"), authority(tmp_path / "theirs", "Theirs")
    folder = ours.parent
    broker = kind(folder)
    if isinstance(broker, TansuBehindTls):
        monkeypatch.setattr(kafka_broker, "_CLIENT", {**kafka_broker._CLIENT, **broker.client})
    receiving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    receiving.load_cert_chain(folder / "server.pem", folder / "server.key")
    monkeypatch.setenv("SSL_CERT_FILE", str(ours))
    with (
        broker,
        ClickHouseFront(tmp_path / "db") as plain,
        TlsFront(folder, plain.port) as database,
        ScriptedReceiver(tls=receiving) as receiver,
    ):
        broker.create("orders", 1)
        broker.produce("orders", 0, _orders())
        dsn = f"https://default@127.0.0.1:{database.port}/andon"
        with (
            Job(tmp_path / "job", broker, dsn, **_reading(broker.client)) as job,
            TlsFront(folder, job.port) as metrics,
        ):
            job.start()
            (tmp_path / "deliver").mkdir()
            settings = _DELIVERY.format(dsn=dsn, url=receiver.url, authority=ours)
            (tmp_path / "deliver" / "andon.toml").write_text(settings)
            secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - the one of the published vector
            delivering = start("deliver", cwd=tmp_path / "deliver", HOOK_SECRET=secret)
            try:
                (told, *_) = receiver.wait(lambda posts: len(posts) > 0, within_s=60)
                assert b"duplicate_orders" in told.body
                said = _scraped(metrics, ours)
                assert "andon_messages_total" in said
            finally:
                _end(delivering)
            job.stop()
            with pytest.raises(urllib.error.URLError, match="certificate verify failed"):
                _scraped(metrics, theirs)
        trusting = broker.client | {"ssl.ca.location": str(theirs)}
        with Job(tmp_path / "other", broker, dsn, **_reading(trusting)) as job:
            job.start()
            wait_for(lambda: job.logged("broker_unreachable") != [], "the job to say that it can't read")
            assert "certificate verify failed" in job.errors()
            assert job.messages() == 0
    for front in (database, metrics):
        assert front.versions
        assert front.versions <= _TLS


def _reading(client: dict[str, str]) -> dict[str, dict[str, object]]:
    """Settings of a job that reads the orders with these properties of the client library."""
    return {"kafka": {"topics": ["orders"]}, "kafka.client": {f'"{name}"': value for name, value in client.items()}}


def _scraped(front: TlsFront, trusted: Path) -> str:
    """The metrics, as who trusts this authority reads them."""
    context = ssl.create_default_context(cafile=str(trusted))
    with urllib.request.urlopen(f"https://127.0.0.1:{front.port}/metrics", context=context, timeout=10) as answer:
        return str(answer.read().decode())


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=30)
    assert process.returncode == 0, said
