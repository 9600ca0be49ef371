"""Alert rules: on metrics that are reported, each with a test that promtool runs, each with words for a person."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dataflows.delivery_telemetry import DeliveryTelemetry
from dataflows.flow import Stop
from dataflows.telemetry import Telemetry
from dataflows.watch import JobWatch
from tests.infra_rules import problems_of
from tests.processes import ROOT
from tests.test_infra_dashboards import asked

PROMETHEUS = ROOT / "infra" / "prometheus"
RULES = PROMETHEUS / "andon.rules.yaml"
TESTS = PROMETHEUS / "andon.rules.test.yaml"
SEVERITIES = {"critical", "warning", "info"}


@pytest.fixture(scope="module")
def promtool() -> str:
    found = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if found is None:
        assert "ANDON_TEST_OPS" not in os.environ, "promtool is missing"
        pytest.skip("promtool is not installed; `make test-ops` fetches it")
    return found


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def run(*command: str, cwd: Path = PROMETHEUS) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_rules_are_valid(promtool: str) -> None:
    done = run(promtool, "check", "rules", "--lint=all", "--lint-fatal", RULES.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules())} rules found" in done.stdout


def test_rules_fire_when_they_should(promtool: str) -> None:
    done = run(promtool, "test", "rules", TESTS.name)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_that_never_fires_fails_its_test(promtool: str, rule: dict[str, Any], tmp_path: Path) -> None:
    only = {"groups": [{"name": "one", "rules": [rule | {"expr": f"({rule['expr']}) and on() vector(1) == 0"}]}]}
    (tmp_path / RULES.name).write_text(yaml.safe_dump(only))
    tested = yaml.safe_load(TESTS.read_text())
    tested["tests"] = [one for one in tested["tests"] if one["name"] == rule["alert"]]
    (tmp_path / TESTS.name).write_text(yaml.safe_dump(tested))
    assert run(promtool, "test", "rules", TESTS.name, cwd=tmp_path).returncode == 1


def test_every_rule_has_a_test_with_a_quiet_and_a_firing_moment() -> None:
    tested = {}
    for one in yaml.safe_load(TESTS.read_text())["tests"]:
        for moment in one["alert_rule_test"]:
            tested.setdefault(moment["alertname"], set()).add(bool(moment["exp_alerts"]))
    assert tested == {rule["alert"]: {False, True} for rule in rules()}


def test_rules_ask_for_metrics_that_are_reported() -> None:
    for rule in rules():
        assert problems_of(rule["expr"]) == [], rule["alert"]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("andon_health == 0", "nobody reports andon_health"),
        ("rate(andon_epoch_seconds[5m])", "nobody reports andon_epoch_seconds"),
        ("andon_healthy_bucket", "nobody reports andon_healthy_bucket"),
        ('andon_state_entries{kind="ids"}', "andon_state_entries has no label kind"),
        ("sum by (table) (andon_lag_seconds)", "no label table"),
        ("vector(1)", "asks for nothing"),
    ],
)
def test_what_nobody_reports_is_found(expression: str, words: str) -> None:
    assert problems_of(expression) == [words]


def test_counters_that_rules_watch_are_there_before_they_rise() -> None:
    """A series that begins with its first rise has none for Prometheus, so that nobody would be told of it."""
    job, delivery = Telemetry(0), DeliveryTelemetry(["duty"], intake=True, stalled_after_s=60)
    JobWatch(job, Stop(), lambda: 0, 8.0)
    reported = (job.render() + delivery.telemetry.render()).decode()
    watched = {name for rule in rules() for name in re.findall(r"increase\((\w+_total)", rule["expr"])}
    assert len(watched) > 4
    assert {name for name in watched if not re.search(rf"^{name}[{{ ]", reported, re.MULTILINE)} == set()


def test_rules_speak_to_a_person() -> None:
    for rule in rules():
        assert rule["alert"].startswith("Andon")
        assert rule["labels"]["severity"] in SEVERITIES
        assert {"summary", "description"} == set(rule["annotations"])
        # what is named in a text is in what the expression gives, or it would be empty
        given = re.findall(r"\$labels\.(\w+)", rule["annotations"]["description"])
        kept = re.search(r"by \(([^)]*)\)", rule["expr"])
        if kept is not None:
            assert set(given) <= {one.strip() for one in kept.group(1).split(",")}, rule["alert"]


def test_the_dashboards_expressions_are_promql(promtool: str, tmp_path: Path) -> None:
    recorded = [{"record": f"panel:{number}", "expr": expr} for number, (_, _, expr) in enumerate(asked("expr"))]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    done = run(promtool, "check", "rules", "--lint=none", "panels.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
