"""`andon deliver` as a real process before a receiver that misbehaves: killed, stopped, told nothing secret."""

import json
import random
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.incident_rows import Alert
from tests.processes import andon
from tests.webhook_alerts import alert, resolved
from tests.webhook_process import OLD, RECEIVER, SECRET, SECRETS, TOKEN, Process
from tests.webhook_receiver import ScriptedReceiver, until


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    made: list[Process] = []
    yield made
    for one in made:
        one.close()


def _groups(count: int, receiver: str = "ops") -> list[Alert]:
    """`count` groups of four alerts each, one group after the other."""
    names = [f"g{number}" for number in range(count)]
    return [
        one
        for name in names
        for one in (*(alert(number, name, receiver) for number in (1, 2, 3)), resolved(4, name, receiver))
    ]


def _check_order(keys: list[str], alerts: list[Alert]) -> None:
    """Every alert came, and those of each group in their order, none again after a later one."""
    assert set(keys) == {one.alert_id for one in alerts}
    for group in {one.group_key for one in alerts}:
        told = [key for key in keys if key.split(":")[1] == group]
        assert told == sorted(told)


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_points_everything_arrives_in_order(
    tmp_path: Path, processes: list[Process], seed: int
) -> None:
    """SIGKILL while requests are under way: sent but not noted, answered but not noted, and everything between."""
    drawn = random.Random(seed)
    steps = drawn.choices(["200", "503", "429 retry-after=0", "reset", "close", "500"], (12, 1, 1, 1, 1, 1), k=60)
    alerts = _groups(12)
    kills = 6
    with ScriptedReceiver(*steps) as receiver:
        process = Process(tmp_path, ops=receiver.url)
        processes.append(process)
        process.put(*alerts[: len(alerts) // 2])
        process.start()
        for _ in range(kills):
            before = len(receiver.received)
            more = drawn.randint(1, 6)
            receiver.wait(lambda came, least=before + more: len(came) >= least)  # type: ignore[misc] # bound now
            time.sleep(drawn.uniform(0, 0.01))  # no waiting for something: the point of the kill is what is drawn
            assert process.end(signal.SIGKILL) == -signal.SIGKILL
            process.put(*alerts)
            process.start()
        until(lambda: process.outbox.figures.counts() == {"ops": {"delivered": len(alerts)}})
        assert process.end(signal.SIGTERM) == 0
        came = receiver.received
    _check_order([one.key for one in came if one.taken], alerts)
    _check_order([one.key for one in came], alerts)
    lost = sum(one.step in ("reset", "close") for one in came)
    failed = sum(one.step[0] in "45" for one in came)
    assert len(came) <= len(alerts) + lost + failed + kills
    assert len({one.headers["webhook-id"] for one in came}) == len(alerts)


def test_a_dead_endpoint_delays_no_other(tmp_path: Path, processes: list[Process]) -> None:
    with ScriptedReceiver(always="hang") as deaf, ScriptedReceiver() as well:
        process = Process(tmp_path, deaf=deaf.url, well=well.url)
        processes.append(process)
        process.put(*_groups(10, "deaf"), *_groups(10, "well"))
        process.start()
        deaf.wait(lambda came: len(came) >= 1)
        well.wait(lambda came: len(came) == 40)
        assert len(deaf.received) < 15
        until(lambda: process.outbox.figures.counts()["well"] == {"delivered": 40})
        assert process.outbox.figures.counts()["deaf"] == {"waiting": 40}
        assert process.end(signal.SIGTERM) == 0


def test_sigterm_waits_for_what_is_under_way_and_loses_nothing(tmp_path: Path, processes: list[Process]) -> None:
    with ScriptedReceiver("hang") as receiver:
        process = Process(tmp_path, ops=receiver.url)
        processes.append(process)
        process.put(alert(1))
        process.start()
        receiver.wait(lambda came: len(came) == 1)
        assert process.end(signal.SIGTERM) == 0
        (record,) = process.outbox.records(10)[1]
        assert (record.outcome, record.detail, record.attempt) == ("retrying", "no answer in time", 1)
        process.start()
        until(lambda: process.outbox.figures.counts() == {"ops": {"delivered": 1}})
        assert process.end(signal.SIGTERM) == 0
        assert [one.step for one in receiver.received] == ["hang", "200"]


def test_what_was_under_way_at_a_kill_is_on_record(tmp_path: Path, processes: list[Process]) -> None:
    with ScriptedReceiver("hang") as receiver:
        process = Process(tmp_path, ops=receiver.url)
        processes.append(process)
        process.put(alert(1))
        process.start()
        receiver.wait(lambda came: len(came) == 1)
        process.end(signal.SIGKILL)
        process.start()
        until(lambda: process.outbox.figures.counts() == {"ops": {"delivered": 1}})
        first, second = process.outbox.records(10)[1]
        assert (first.attempt, first.outcome) == (1, "retrying")
        assert first.detail == "the process ended while this attempt was under way: it may have been delivered"
        assert (second.attempt, second.outcome, second.http_status) == (2, "delivered", 200)
        assert {one.headers["webhook-id"] for one in receiver.received} == {alert(1).alert_id}


def test_a_second_process_over_the_same_outbox_is_refused(tmp_path: Path, processes: list[Process]) -> None:
    with ScriptedReceiver() as receiver:
        process = Process(tmp_path, ops=receiver.url)
        processes.append(process)
        process.put(alert(1))
        process.start()
        receiver.wait(lambda came: len(came) == 1)
        second = andon("deliver", cwd=tmp_path, check=False, **SECRETS)
        assert second.returncode == 1
        assert "another process delivers from this outbox" in second.stderr


def test_over_an_embedded_database_it_says_that_no_alert_comes_in(tmp_path: Path, processes: list[Process]) -> None:
    processes.append(Process(tmp_path, ops="http://127.0.0.1:9/"))
    done = andon("deliver", "--drain", cwd=tmp_path, **SECRETS)
    (told,) = (line for line in map(json.loads, (done.stdout + done.stderr).splitlines()) if line["level"] == "warning")
    words = "is open to its job alone; delivery needs a server (clickhouse.dsn)"
    assert (told["event"], words in told["message"]) == ("no_intake", True)


def test_an_outbox_that_can_not_be_made_is_told_with_the_setting(tmp_path: Path, processes: list[Process]) -> None:
    processes.append(Process(tmp_path, ops="http://127.0.0.1:9/"))
    done = andon("deliver", "--outbox", "andon.toml/outbox.db", cwd=tmp_path, check=False, **SECRETS)
    told = "andon: delivery.outbox: its lock andon.toml/outbox.db.lock can't be taken: "
    assert (done.returncode, done.stderr.startswith(told)) == (1, True), done.stderr


def test_no_secret_is_in_logs_records_or_listings(tmp_path: Path, processes: list[Process]) -> None:
    """Receivers that repeat what they were sent, and everything that can fail, at the most talkative level."""
    with ScriptedReceiver("echo", "reset", "301 location=/x", "410") as receiver:
        process = Process(tmp_path, ops=receiver.url)
        processes.append(process)
        process.put(*_groups(3))
        process.put(alert(1, "g9", "nobody", annotations={"summary": SECRET}))
        process.start()
        until(lambda: "ops" in process.outbox.disabled())
        until(lambda: process.outbox.figures.counts()["nobody"] == {"dead": 1})
        assert process.end(signal.SIGTERM) == 0
        shown = process.output + str(process.outbox.records(100)) + str(process.outbox.disabled())
    listed = [
        andon("deliver", *one, "--json", cwd=tmp_path, **SECRETS).stdout for one in (("endpoints",), ("dead", "list"))
    ]
    assert '"event":"attempted"' in process.output
    assert "alert_given_up" in process.output
    for text in (shown, *listed):
        for secret in (SECRET, OLD, TOKEN, SECRET[6:], OLD[6:], TOKEN[7:]):
            assert secret not in text
    endpoints = {one["receiver"]: one for one in json.loads(listed[0])}
    assert endpoints["ops"]["state"] == "disabled"
    assert endpoints["nobody"]["dead"] == 1


def test_the_command_line_from_a_dead_letter_to_its_delivery(tmp_path: Path, processes: list[Process]) -> None:
    with ScriptedReceiver("401", "410") as receiver:
        process = Process(tmp_path, ops=receiver.url)
        processes.append(process)
        process.put(alert(1, "a"), alert(1, "b"))
        assert andon("deliver", "--drain", cwd=tmp_path, **SECRETS).returncode == 0
        assert process.outbox.figures.counts() == {"ops": {"dead": 1, "waiting": 1}}
        (dead,) = json.loads(andon("deliver", "dead", "list", "--json", cwd=tmp_path).stdout)
        assert (dead["receiver"], dead["http_status"], dead["detail"]) == ("ops", 401, "HTTP 401: ok")
        assert andon("deliver", "dead", "replay", cwd=tmp_path, check=False).returncode == 2
        assert andon("deliver", "dead", "replay", "no-such-alert", cwd=tmp_path, check=False).returncode == 1
        told = andon("deliver", "dead", "replay", "no-such-alert", dead["alert_id"], cwd=tmp_path, check=False)
        assert (told.returncode, told.stdout) == (1, "1 alert will be delivered again\n")
        assert "1 of those named: no dead letter" in told.stderr
        assert "0 alerts" in andon("deliver", "dead", "replay", "--all", cwd=tmp_path, check=False).stdout
        assert "is enabled" in andon("deliver", "enable", "ops", cwd=tmp_path).stdout
        assert andon("deliver", "enable", "ops", cwd=tmp_path, check=False).returncode == 1
        andon("deliver", "--drain", cwd=tmp_path, **SECRETS)
        assert process.outbox.figures.counts() == {"ops": {"delivered": 2}}
        assert "ops" in andon("deliver", "endpoints", cwd=tmp_path).stdout


def test_a_database_that_is_away_holds_nothing_up(tmp_path: Path, processes: list[Process]) -> None:
    with ScriptedReceiver() as receiver:
        process = Process(tmp_path, dsn="http://default@127.0.0.1:9/andon", ops=receiver.url)
        processes.append(process)
        process.put(alert(1))
        process.start()
        receiver.wait(lambda came: len(came) == 1)
        until(lambda: process.outbox.figures.counts() == {"ops": {"delivered": 1}})
        process.put(resolved(2))
        receiver.wait(lambda came: len(came) == 2)
        assert process.end(signal.SIGTERM) == 0
    assert len(process.outbox.records(10)[1]) == 2
    assert process.output.count('"event":"store_away"') == 1


def test_a_database_that_hangs_does_not_keep_a_stop(tmp_path: Path, processes: list[Process]) -> None:
    with ScriptedReceiver() as receiver, socket.create_server(("127.0.0.1", 0)) as deaf:
        process = Process(tmp_path, dsn=f"http://default@127.0.0.1:{deaf.getsockname()[1]}/andon", ops=receiver.url)
        processes.append(process)
        process.put(alert(1))
        process.start()
        receiver.wait(lambda came: len(came) == 1)
        until(lambda: process.outbox.figures.counts() == {"ops": {"delivered": 1}})
        began_s = time.monotonic()
        assert process.end(signal.SIGTERM) == 0
        assert time.monotonic() - began_s < 9  # stop_within is 5 s
    assert "is done again at the next start" in process.output


def test_settings_that_can_not_be_used_are_told_at_once(tmp_path: Path) -> None:
    told = andon("deliver", cwd=tmp_path, check=False)
    assert (told.returncode, told.stdout) == (2, "")
    assert "there is nobody to deliver to" in told.stderr
    (tmp_path / "andon.toml").write_text(RECEIVER.format(name="ops", url="ftp://x"), encoding="utf-8")
    told = andon("deliver", cwd=tmp_path, check=False)
    assert told.returncode == 2
    assert len(told.stderr.splitlines()) == 4
    assert "no outbox" in andon("deliver", "dead", "list", cwd=tmp_path, check=False).stderr
