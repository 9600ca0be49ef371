"""`andon deliver` before a real Alertmanager: what the job wrote is grouped, silenced and resolved there."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest

from schemas.incident_rows import Alert
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import Store, open_store
from sinks.clickhouse.writer import BlockWriter
from tests.clickhouse_front import ClickHouseFront
from tests.infra_monitoring import Alertmanager
from tests.processes import start
from tests.webhook_alerts import alert, resolved
from tests.webhook_receiver import Received, ScriptedReceiver

_SETTINGS = """
[clickhouse]
dsn = "{dsn}"
[delivery]
listen = "127.0.0.1:0"
poll = "50ms"
retry_first = "20ms"
retry_longest = "100ms"
[[delivery.receiver]]
name = "ops"
type = "alertmanager"
url = "http://{address}"
resolve_after = "{resolve_after}"
allow_http = true
allow_networks = ["127.0.0.0/8"]
"""


class Delivery:
    """`andon deliver` over a database that alerts are written to as the job writes them."""

    def __init__(self, folder: Path, dsn: str, to: Alertmanager, resolve_after: str) -> None:
        self.folder = folder
        folder.mkdir()
        text = _SETTINGS.format(dsn=dsn, address=to.address, resolve_after=resolve_after)
        (folder / "andon.toml").write_text(text)
        self.store: Store = open_store(dsn)
        migrate(self.store)
        self.said = ""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = start("deliver", cwd=self.folder)
        return self

    def __exit__(self, *failed: object) -> None:
        if self._process is not None:
            assert self.end(signal.SIGTERM) == 0, self.said
        self.store.close()

    def end(self, how: signal.Signals) -> int:
        """Send a signal and wait for the end; the exit code."""
        assert self._process is not None
        self._process.send_signal(how)
        self.said = "".join(self._process.communicate(timeout=30))
        code, self._process = self._process.returncode, None
        return code

    def write(self, *alerts: Alert) -> None:
        """Into the database, as the job does."""
        writer = BlockWriter(self.store, "run")
        writer.write(list(alerts))
        writer.flush()


@pytest.fixture(scope="module")
def people() -> Iterator[ScriptedReceiver]:
    with ScriptedReceiver() as one:
        yield one


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory, people: ScriptedReceiver) -> Iterator[Alertmanager]:
    route = {"group_by": ["kind"], "group_wait": "2s", "group_interval": "1s", "repeat_interval": "1h"}
    with Alertmanager(tmp_path_factory.mktemp("alertmanager"), route, people.url) as one:
        yield one


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseFront]:
    with ClickHouseFront(tmp_path_factory.mktemp("front") / "db") as one:
        yield one


@pytest.fixture(scope="module")
def delivery(
    tmp_path_factory: pytest.TempPathFactory, front: ClickHouseFront, alertmanager: Alertmanager
) -> Iterator[Delivery]:
    folder = tmp_path_factory.mktemp("deliver") / "lasting"
    with Delivery(folder, front.dsn, alertmanager, resolve_after="10m") as one:
        yield one


def of(make: Callable[..., Alert], sequence: int, kind: str, node: str, **changes: object) -> Alert:
    """An alert of the group of `kind` at `node`, one of the present."""
    labels = {"kind": kind, "node": node, "severity": "high"}
    now_us = time.time_ns() // 1_000
    made = make(sequence, f"kind={kind},node={node}", labels=labels, **changes)
    ends = now_us if made.ends_at_us is not None else None
    times = {"sent_at_us": now_us, "arrival_us": now_us, "version": now_us, "ends_at_us": ends}
    return msgspec.structs.replace(made, starts_at_us=now_us - 60_000_000, **times)


def _told(posts: list[Received], kind: str) -> list[dict[str, Any]]:
    """What people were told of a kind, in order."""
    bodies = [msgspec.json.decode(post.body, type=dict[str, Any]) for post in list(posts)]
    return [body for body in bodies if body["groupLabels"] == {"kind": kind}]


def _nodes(body: dict[str, Any], status: str = "firing") -> set[str]:
    return {one["labels"]["node"] for one in body["alerts"] if one["status"] == status}


def test_alerts_are_grouped_as_alertmanager_is_configured(
    delivery: Delivery, alertmanager: Alertmanager, people: ScriptedReceiver
) -> None:
    delivery.write(
        of(alert, 1, "queue_saturation", "store-1"),
        of(alert, 1, "queue_saturation", "store-2"),
        of(alert, 1, "oversell", "store-1"),
    )
    alertmanager.until(lambda found: len(found) >= 3, "three alerts")
    groups = alertmanager.ask("/api/v2/alerts/groups")
    nodes = {one["labels"]["kind"]: sorted(each["labels"]["node"] for each in one["alerts"]) for one in groups}
    assert nodes["queue_saturation"] == ["store-1", "store-2"]
    assert nodes["oversell"] == ["store-1"]
    people.wait(lambda posts: bool(_told(posts, "oversell")))
    both = {"store-1", "store-2"}
    people.wait(lambda posts: any(_nodes(body) == both for body in _told(posts, "queue_saturation")))
    (told, _) = _told(people.received, "queue_saturation")[-1]["alerts"]
    assert told["annotations"]["incident_ids"] == "inc-7,inc-8"
    assert told["annotations"]["value_at_risk"] == "3120.50 EUR"
    assert (told["labels"]["alertname"], told["labels"]["severity"]) == ("queue_saturation", "high")


def test_a_silence_made_there_keeps_an_alert_quiet_until_it_ends(
    delivery: Delivery, alertmanager: Alertmanager, people: ScriptedReceiver
) -> None:
    silence = alertmanager.silence("stocktaking", kind="picking_backlog", node="store-7")
    delivery.write(of(alert, 1, "picking_backlog", "store-7"), of(alert, 1, "picking_backlog", "store-8"))

    def states() -> dict[str, tuple[str, list[str]]]:
        found = alertmanager.alerts("kind=picking_backlog")
        return {one["labels"]["node"]: (one["status"]["state"], one["status"]["silencedBy"]) for one in found}

    quiet = {"store-7": ("suppressed", [silence]), "store-8": ("active", [])}
    alertmanager.until(lambda _: states() == quiet, "one alert to be suppressed")
    people.wait(lambda posts: bool(_told(posts, "picking_backlog")))
    assert all(_nodes(body) == {"store-8"} for body in _told(people.received, "picking_backlog"))
    alertmanager.expire(silence)
    people.wait(lambda posts: any("store-7" in _nodes(body) for body in _told(posts, "picking_backlog")))
    assert states()["store-7"] == ("active", [])


def test_the_end_of_an_incident_resolves_its_alert_there(
    delivery: Delivery, alertmanager: Alertmanager, people: ScriptedReceiver
) -> None:
    delivery.write(of(alert, 1, "refund_lag", "store-3"), of(alert, 1, "refund_lag", "store-4"))
    people.wait(lambda posts: any(len(_nodes(body)) == 2 for body in _told(posts, "refund_lag")))
    delivery.write(of(resolved, 2, "refund_lag", "store-3"))
    people.wait(lambda posts: any(_nodes(body, "resolved") == {"store-3"} for body in _told(posts, "refund_lag")))
    still = {one["labels"]["node"] for one in alertmanager.alerts("kind=refund_lag")}
    assert still == {"store-4"}
    delivery.write(of(resolved, 2, "refund_lag", "store-4"))
    people.wait(lambda posts: any(body["status"] == "resolved" for body in _told(posts, "refund_lag")))
    assert alertmanager.alerts("kind=refund_lag") == []


def test_an_alert_whose_severity_rises_is_one_alert_there(delivery: Delivery, alertmanager: Alertmanager) -> None:
    delivery.write(of(alert, 1, "carrier_delay", "store-5"))
    alertmanager.until(lambda found: any(one["labels"]["kind"] == "carrier_delay" for one in found), "the alert")
    delivery.write(of(alert, 2, "carrier_delay", "store-5", severity="critical"))

    def severities() -> list[str]:
        return [one["labels"]["severity"] for one in alertmanager.alerts("kind=carrier_delay")]

    alertmanager.until(lambda _: severities() == ["critical"], "the alert to be critical only")


def test_what_holds_is_said_again_and_ends_by_itself_when_andon_falls_silent(
    tmp_path: Path, front: ClickHouseFront, alertmanager: Alertmanager, people: ScriptedReceiver
) -> None:
    def ends() -> set[str]:
        return {found["endsAt"] for found in alertmanager.alerts("kind=feed_stopped")}

    seen: set[str] = set()

    def said_again(_: list[dict[str, Any]]) -> bool:
        seen.update(ends())
        return len(seen) >= 4

    with Delivery(tmp_path / "deliver", front.dsn_of("brief"), alertmanager, resolve_after="3s") as delivery:
        delivery.write(of(alert, 1, "feed_stopped", "store-6"))
        # three times a third of its life: without being said again it would be over
        alertmanager.until(said_again, "the alert to be said again")
        assert all(body["status"] == "firing" for body in _told(people.received, "feed_stopped"))
        delivery.end(signal.SIGKILL)
    people.wait(lambda posts: any(body["status"] == "resolved" for body in _told(posts, "feed_stopped")))
    assert ends() == set()
