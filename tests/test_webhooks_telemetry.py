"""What `andon deliver` reports of itself, asked over HTTP of the real process, and what makes it unhealthy."""

import http.client
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dataflows.delivery_telemetry import KEEPER, DeliveryTelemetry
from dataflows.settings import load_settings
from schemas.durations import SECOND_US
from schemas.metrics import DELIVERY_METRICS
from sinks.webhooks.outbox import Outbox
from sinks.webhooks.verdicts import Verdict
from tests.clickhouse_front import ClickHouseFront
from tests.infra_manifests import OVERLAYS, manifests, named, pod_of, settings_file
from tests.processes import andon
from tests.webhook_alerts import NOON_US, alert, resolved
from tests.webhook_process import SECRETS, Process
from tests.webhook_receiver import ScriptedReceiver, until

Samples = dict[tuple[str, ...], float]
LABELS = {metric.name: metric.labels for metric in DELIVERY_METRICS}


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def _samples(text: str) -> Samples:
    """(name, label values in the catalogue's order …) → value, of all samples of a scrape."""
    return {
        (sample.name, *(sample.labels[label] for label in LABELS.get(sample.name, sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _ask(process: Process, path: str) -> tuple[int, str]:
    """Status and body; (0, "") while nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except ConnectionError:
        return 0, ""
    finally:
        connection.close()


def _reports(process: Process, *series: str) -> float | None:
    return _samples(_ask(process, "/metrics")[1]).get(series)


@pytest.fixture
def process() -> Iterator[list[Process]]:
    made: list[Process] = []
    yield made
    for one in made:
        one.close()


def _made(telemetry_of: tuple[str, ...], clock: Clock, *, intake: bool = False) -> DeliveryTelemetry:
    return DeliveryTelemetry(telemetry_of, intake=intake, stalled_after_s=60, clock=clock, wall=clock)


def test_it_is_alive_while_every_thread_makes_turns_and_not_when_one_hangs() -> None:
    clock = Clock()
    told = _made(("ops", "duty"), clock)
    for _ in range(10):
        clock.now += 30
        for thread in ("ops", "duty", "ops", KEEPER):
            told.turned(thread)
        assert told.telemetry.stalled() == ""
    for _ in range(3):
        clock.now += 30
        told.turned("ops")
        told.turned(KEEPER)
    assert told.telemetry.stalled() == "no progress for 90 s (bound 60 s)"
    told.turned("duty")
    assert told.telemetry.stalled() == ""


def test_what_is_counted_of_attempts_and_what_became_of_alerts() -> None:
    clock = Clock()
    clock.now = NOON_US / SECOND_US + 90
    told = _made(("ops",), clock)
    told.attempted(alert(1), 1, Verdict("retrying", "HTTP 503"), 250.0)
    told.attempted(alert(1), 2, Verdict("delivered", "HTTP 200"), 750.0)
    told.attempted(alert(2), 1, Verdict("rejected", "HTTP 401"), 10.0)
    told.given_up(alert(2), "HTTP 401")
    found = _samples(told.telemetry.render().decode())
    assert {one[2]: value for one, value in found.items() if one[0] == "andon_delivery_attempts_total"} == {
        "retrying": 1,
        "delivered": 1,
        "rejected": 1,
    }
    assert found["andon_deliveries_total", "ops", "delivered"] == 1
    assert found["andon_deliveries_total", "ops", "dead"] == 1
    assert found["andon_delivery_seconds_sum", "ops"] == pytest.approx(1.01)
    assert found["andon_alert_delay_seconds_sum", "ops"] == pytest.approx(90)
    assert found["andon_alert_delay_seconds_count", "ops"] == 1


def _own(told: DeliveryTelemetry) -> dict[tuple[str, ...], float]:
    """What is said of the outbox: nothing that goes on by itself."""
    samples = _samples(told.telemetry.render().decode())
    passing = ("process_", "andon_last_progress_")
    return {key: value for key, value in samples.items() if not key[0].startswith(passing)}


def test_how_the_outbox_stands(tmp_path: Path) -> None:
    clock = Clock()
    told = _made(("ops", "idle"), clock)
    with Outbox(tmp_path / "outbox.db") as outbox:
        outbox.put([alert(1), alert(2), alert(1, "b")], NOON_US)
        outbox.put([alert(1, "c"), alert(1, "d", "stranger")], NOON_US + 10 * SECOND_US)
        waiting = outbox.first("ops")
        assert waiting is not None
        outbox.begin(waiting.alert, NOON_US)
        told.look(outbox, NOON_US + 60 * SECOND_US)
        before = _own(told)
        outbox.disable("ops", "HTTP 410", NOON_US)
        told.look(outbox, NOON_US + 62 * SECOND_US)
        clock.now += 5
        assert _own(told) == before, "not read again within 5 s"
        told.look(outbox, NOON_US + 65 * SECOND_US)
        after = _samples(told.telemetry.render().decode())
    assert before["andon_outbox_alerts", "ops", "new"] == 4
    assert before["andon_outbox_alerts", "stranger", "new"] == 1
    assert before["andon_outbox_alerts", "idle", "new"] == 0
    assert [before["andon_outbox_oldest_seconds", name] for name in ("ops", "stranger", "idle")] == [60, 50, 0]
    assert before["andon_outbox_bytes",] > 4_096
    states = [
        [one["andon_endpoint_state", "ops", state] for state in ("closed", "disabled")] for one in (before, after)
    ]
    assert states == [[1, 0], [0, 1]]
    assert after["andon_condition", "outbox"] == 1


def test_a_dead_receiver_is_in_the_metrics_and_makes_nothing_unhealthy(tmp_path: Path, process: list[Process]) -> None:
    with ScriptedReceiver(always="503") as dead, ScriptedReceiver("401") as well:
        process.append(one := Process(tmp_path, dead=dead.url, well=well.url))
        one.put(alert(1, "a", "dead"), alert(2, "a", "dead"), alert(1, "b", "well"), alert(1, "c", "well"))
        one.start()
        until(lambda: _reports(one, "andon_endpoint_state", "dead", "open") == 1)
        until(lambda: _reports(one, "andon_outbox_alerts", "dead", "retrying") == 1)
        until(lambda: _reports(one, "andon_outbox_alerts", "well", "dead") == 1)
        found = _samples(_ask(one, "/metrics")[1])
        assert found["andon_delivery_attempts_total", "dead", "retrying"] >= 5
        assert found["andon_outbox_alerts", "dead", "new"] == 1
        assert found["andon_outbox_oldest_seconds", "dead"] > 0
        assert found["andon_outbox_oldest_seconds", "well"] == 0
        assert found["andon_deliveries_total", "well", "delivered"] == 1
        assert found["andon_deliveries_total", "well", "dead"] == 1
        assert found["andon_delivery_attempts_total", "well", "rejected"] == 1
        assert found["andon_endpoint_state", "well", "closed"] == 1
        assert found["andon_outbox_records",] >= 7, "nobody takes them: the database is embedded"
        assert _ask(one, "/healthz") == (200, "ok\n")
        assert _ask(one, "/readyz") == (200, "ok\n")
        dead.always = "200"
        until(lambda: _reports(one, "andon_deliveries_total", "dead", "delivered") == 2)
        until(lambda: _reports(one, "andon_endpoint_state", "dead", "closed") == 1)
        until(lambda: _reports(one, "andon_outbox_oldest_seconds", "dead") == 0)
        assert one.end(signal.SIGTERM) == 0


def test_only_what_is_about_delivery_is_reported(tmp_path: Path, process: list[Process]) -> None:
    """Rules about the job (a histogram that stands still, a gauge that is absent) must not be answered from here."""
    with ScriptedReceiver() as receiver:
        process.append(one := Process(tmp_path, ops=receiver.url))
        one.start()
        until(lambda: _ask(one, "/readyz") == (200, "ok\n"))
        families = {family.name for family in text_string_to_metric_families(_ask(one, "/metrics")[1])}
        reported = {metric.name.removesuffix("_total") for metric in DELIVERY_METRICS}
        assert {name for name in families if name.startswith("andon_")} == reported
        assert "process_resident_memory_bytes" in families
        assert one.end(signal.SIGTERM) == 0


def test_a_database_that_is_away_makes_it_unready_not_unhealthy(tmp_path: Path, process: list[Process]) -> None:
    with ClickHouseFront(tmp_path / "clickhouse") as front, ScriptedReceiver() as receiver:
        process.append(one := Process(tmp_path, dsn=front.dsn, ops=receiver.url))
        andon("migrate", cwd=tmp_path, **SECRETS)
        began_s = time.time()
        one.start()
        until(lambda: _ask(one, "/readyz") == (200, "ok\n"))
        first_s = _reports(one, "andon_intake_timestamp_seconds")
        assert first_s is not None
        assert first_s > began_s
        front.kill()
        until(lambda: _ask(one, "/readyz")[0] == 503)
        assert _ask(one, "/readyz")[1].startswith("store: ")
        assert _ask(one, "/healthz") == (200, "ok\n")
        away_s = _reports(one, "andon_intake_timestamp_seconds")
        one.put(alert(1), resolved(2))
        until(lambda: _reports(one, "andon_deliveries_total", "ops", "delivered") == 2)
        assert _reports(one, "andon_intake_timestamp_seconds") == away_s
        front.start()
        until(lambda: _ask(one, "/readyz") == (200, "ok\n"), 60)
        until(lambda: (_reports(one, "andon_intake_timestamp_seconds") or 0) > (away_s or 0))
        assert one.end(signal.SIGTERM) == 0


def test_a_port_that_is_taken_is_told_with_the_setting(tmp_path: Path, process: list[Process]) -> None:
    with ScriptedReceiver() as receiver:
        process.append(one := Process(tmp_path, ops=receiver.url))
        config = tmp_path / "andon.toml"
        config.write_text(config.read_text().replace(f"127.0.0.1:{one.port}", f"127.0.0.1:{receiver.port}"))
        told = andon("deliver", cwd=tmp_path, check=False, **SECRETS)
        assert told.returncode == 2
        assert f'delivery.listen = "127.0.0.1:{receiver.port}": can\'t listen there' in told.stderr


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_manifests_ask_it_where_it_answers(overlay: str, tmp_path: Path) -> None:
    """Setting, port, probes, service, monitor and policy of `andon deliver` name one and the same."""
    resources = manifests(overlay)
    pod = pod_of(named(resources, "Deployment", "andon-deliver"))
    assert pod is not None
    (container,) = pod["spec"]["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    settings = load_settings(str(settings_file(resources, tmp_path)), environment)
    ((name, port),) = ((one["name"], one["containerPort"]) for one in container["ports"])
    assert settings.delivery.listen == f"0.0.0.0:{port}"
    asked = {probe: container[f"{probe}Probe"]["httpGet"] for probe in ("startup", "readiness", "liveness")}
    assert {probe: (one["path"], one["port"]) for probe, one in asked.items()} == {
        "startup": ("/healthz", name),
        "readiness": ("/readyz", name),
        "liveness": ("/healthz", name),
    }
    service, monitor = named(resources, "Service", "andon-deliver"), named(resources, "ServiceMonitor", "andon-deliver")
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert [(one["path"], one["port"]) for one in monitor["spec"]["endpoints"]] == [("/metrics", name)]
    policy = named(resources, "NetworkPolicy", "andon-deliver")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [one["port"] for rule in policy["ingress"] for one in rule["ports"]] == [port]
