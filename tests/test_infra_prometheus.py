"""A real job under a real Prometheus: what it reports is scraped, the shipped rules are judged and see real faults."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.metrics import METRICS
from tests.infra_monitoring import Alertmanager, Prometheus
from tests.kafka_broker import Broker
from tests.kafka_job import Job, wait_for
from tests.processes import ROOT
from tests.webhook_receiver import ScriptedReceiver

SHIPPED = ROOT / "infra" / "prometheus" / "andon.rules.yaml"
_KINDS = {"counter": "counter", "gauge": "gauge", "histogram": "histogram"}


def _is_ready(job: Job) -> bool:
    assert job.code is None, job.errors()
    return job.answer("/readyz")[0] == 200


def _soon(folder: Path) -> Path:
    """The shipped rules with a second in the place of the minutes that a condition has to hold."""
    document = yaml.safe_load(SHIPPED.read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = "1s"
    file = folder / "soon.rules.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


class Watched:
    """A job over a broker, watched by Prometheus, whose alerts go to an Alertmanager and from there to `receiver`."""

    def __init__(self, broker: Broker, job: Job, prometheus: Prometheus, soon: Path) -> None:
        self.broker, self.job, self.prometheus, self.soon = broker, job, prometheus, soon

    def wait_for(self, alert: str, state: str, file: Path | None = None) -> None:
        asked = file or self.soon
        wait_for(lambda: self.prometheus.states(asked)[alert] == state, f"{alert} to be {state}")


@pytest.fixture(scope="module")
def receiver() -> Iterator[ScriptedReceiver]:
    with ScriptedReceiver() as one:
        yield one


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, receiver: ScriptedReceiver) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    soon = _soon(folder)
    route = {"group_by": ["alertname"], "group_wait": "1s", "group_interval": "1s"}
    live: dict[str, dict[str, object]] = {"time": {"idle_grace": "1s"}, "engine": {"lanes": 1}}
    with (
        Broker() as broker,
        Alertmanager(folder / "alertmanager", route, receiver.url) as alertmanager,
        Job(folder / "job", broker, "chdb:///./andon.db", **live) as job,
    ):
        for topic in ("orders", "inventory"):
            broker.create(broker.topic(topic), 2)
        job.start()
        wait_for(lambda: job.answer("/readyz")[0] == 200, "the job to be ready")
        target = f"127.0.0.1:{job.port}"
        with Prometheus(folder / "prometheus", [target], [SHIPPED, soon], alertmanager) as prometheus:
            wait_for(lambda: prometheus.value("up") != [], "the first scrape")
            yield Watched(broker, job, prometheus, soon)


def test_everything_that_the_job_reports_is_scraped_under_its_type(watched: Watched) -> None:
    (target,) = watched.prometheus.ask("/api/v1/targets")["data"]["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    text = watched.job.ask("/metrics") or ""
    own = [metric for metric in METRICS if f"# TYPE {metric.name} " in text]
    assert len(own) > 30
    metadata: dict[str, list[dict[str, str]]] = watched.prometheus.ask("/api/v1/metadata")["data"]
    for metric in own:
        (said,) = metadata[metric.name]
        assert (said["type"], said["help"]) == (_KINDS[metric.kind], metric.help)
    reported = {line.partition("{")[0].partition(" ")[0] for line in text.splitlines() if line.startswith("andon_")}
    scraped = watched.prometheus.ask("/api/v1/label/__name__/values")["data"]
    assert reported <= set(scraped)
    ((labels, value),) = watched.prometheus.value("andon_ready")
    assert (labels["job"], labels["instance"], value) == ("andon", f"127.0.0.1:{watched.job.port}", 1.0)


def test_the_shipped_rules_are_judged_without_an_error_and_are_quiet(watched: Watched) -> None:
    def judged() -> list[dict[str, Any]]:
        return [rule for group in watched.prometheus.groups(SHIPPED) for rule in group["rules"]]

    named = [rule["alert"] for group in yaml.safe_load(SHIPPED.read_text())["groups"] for rule in group["rules"]]
    wait_for(lambda: all(rule["health"] != "unknown" for rule in judged()), "every rule to be judged")
    assert sorted(rule["name"] for rule in judged()) == sorted(named)
    assert {(rule["health"], rule.get("lastError", "")) for rule in judged()} == {("ok", "")}
    wait_for(lambda: set(watched.prometheus.states(watched.soon).values()) == {"inactive"}, "every rule to be quiet")


def test_messages_that_can_not_be_used_raise_their_alert(watched: Watched, receiver: ScriptedReceiver) -> None:
    now_ms = time.time_ns() // 1_000_000
    watched.broker.produce(watched.broker.topic("orders"), 0, [(b"{", now_ms + number) for number in range(200)])
    watched.wait_for("AndonDeadLetters", "firing")
    # as shipped it waits ten minutes first
    watched.wait_for("AndonDeadLetters", "pending", SHIPPED)
    watched.wait_for("AndonUnhealthy", "firing")
    came = receiver.wait(lambda posts: any(b"AndonDeadLetters" in post.body for post in posts))
    told = next(yaml.safe_load(post.body) for post in came if b"AndonDeadLetters" in post.body)
    (alert,) = told["alerts"]
    assert (told["status"], alert["labels"]["severity"]) == ("firing", "critical")
    assert alert["annotations"]["description"].startswith("100% of the messages are dead letters.")


def test_a_job_that_is_gone_raises_its_alert_and_its_return_ends_it(
    watched: Watched, receiver: ScriptedReceiver
) -> None:
    watched.job.kill()
    watched.wait_for("AndonAbsent", "firing")
    assert [value for _, value in watched.prometheus.value("up")] == [0.0]
    receiver.wait(lambda posts: any(b"AndonAbsent" in post.body for post in posts))
    watched.job.start()
    watched.wait_for("AndonAbsent", "inactive")
    wait_for(lambda: [value for _, value in watched.prometheus.value("up")] == [1.0], "the job to be scraped again")
    receiver.wait(lambda posts: any(b"AndonAbsent" in p.body and b'"status":"resolved"' in p.body for p in posts))


def test_a_broker_that_is_gone_raises_its_alert(watched: Watched) -> None:
    wait_for(lambda: _is_ready(watched.job), "the job to be ready")
    watched.wait_for("AndonSourceDown", "inactive")
    watched.broker.freeze()
    try:
        watched.wait_for("AndonSourceDown", "firing")
    finally:
        watched.broker.thaw()
    watched.wait_for("AndonSourceDown", "inactive")
