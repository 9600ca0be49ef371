"""The image and the laptop's stack: what is in them, that commands are commands, that settings are settings."""

import copy
import json
import os
import re
import shutil
import subprocess
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dataflows.cli import run_command
from dataflows.live import check_live
from dataflows.settings import load_settings
from tests.infra_manifests import OVERLAYS, containers, manifests, pods
from tests.processes import ROOT

INFRA = ROOT / "infra"
CONTAINERFILE = (INFRA / "Containerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((INFRA / "compose.yaml").read_text())
#: Files that the image has from `infra/container`, where a manifest runs them.
SCRIPTS = "/opt/andon/lib/andon"


def instructions() -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n", " ", CONTAINERFILE)
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def test_the_image_ends_as_a_user_without_rights() -> None:
    last = {name: value for name, value in instructions() if name in {"USER", "ENTRYPOINT", "STOPSIGNAL"}}
    assert last == {"USER": "10001:10001", "ENTRYPOINT": '["andon"]', "STOPSIGNAL": "SIGTERM"}


def test_the_image_is_made_in_two_stages_from_a_pinned_base() -> None:
    stages = [value for name, value in instructions() if name == "FROM"]
    assert len(stages) == 2
    assert len({stage.split()[0] for stage in stages}) == 1
    assert stages[0].startswith("python:${PYTHON_VERSION}-slim-bookworm${PYTHON_DIGEST}")
    version = next(value for name, value in instructions() if name == "ARG" and value.startswith("PYTHON_VERSION="))
    assert re.fullmatch(r"PYTHON_VERSION=3\.11\.\d+", version)
    installs = [value for name, value in instructions() if name == "RUN" and "pip install" in value]
    assert "-c constraints.txt" in installs[0]
    assert all("-c constraints.txt" in one or "--no-deps" in one for one in installs)


def test_what_is_copied_is_there_and_is_let_through() -> None:
    let_through = {line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")}
    assert (ROOT / ".containerignore").read_text() == (INFRA / "Containerfile.dockerignore").read_text()
    copied = [value.split()[:-1] for name, value in instructions() if name == "COPY" and "--from" not in value]
    for source in (one for sources in copied for one in sources):
        assert (ROOT / source).exists(), source
        assert any(source == one or source.startswith(f"{one}/") for one in let_through), source
    packages = {"schemas", "operators", "sinks", "scenarios", "dataflows"}
    assert packages <= {one for sources in copied for one in sources}


def needed(name: str, seen: set[str]) -> set[str]:
    """Everything that a distribution needs on this platform, without extras."""
    for line in distribution(name).requires or []:
        requirement = Requirement(line)
        one = canonicalize_name(requirement.name)
        extras = requirement.extras or {""}
        if one in seen or not any(
            requirement.marker is None or requirement.marker.evaluate({"extra": extra}) for extra in extras
        ):
            continue
        seen.add(one)
        needed(one, seen)
    return seen


def test_all_that_the_image_installs_is_pinned_and_the_embedded_database_is_not_in_it() -> None:
    pinned = {
        canonicalize_name(line.partition("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    installed = needed("andon", set())
    assert {"bytewax", "confluent-kafka", "clickhouse-connect"} <= installed
    assert installed <= pinned
    assert not any(name.startswith("chdb") for name in installed)


def parses(arguments: list[str]) -> bool:
    """Whether the command line has such a command with such options: asked for its help, it does nothing else."""
    return run_command([*arguments, "--help"]) == 0


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_commands_in_manifests_are_commands(overlay: str) -> None:
    for _, _, template in pods(manifests(overlay)):
        for container, _ in containers(template["spec"]):
            if "command" in container:
                python, script, *_ = container["command"]
                assert python == "python"
                assert script.startswith(SCRIPTS)
                assert (INFRA / "container" / Path(script).name).exists()
                assert f"infra/container/{Path(script).name}" in CONTAINERFILE
            else:
                assert parses(container["args"])
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if "exec" in container.get(probe, {}):
                    andon, *arguments = container[probe]["exec"]["command"]
                    assert andon == "andon"
                    assert parses(arguments)


def test_a_command_that_is_none_is_found() -> None:
    assert not parses(["run", "--recovry", "x"])
    assert not parses(["rum"])
    assert not parses(["deliver", "ends"])


def ours() -> dict[str, dict[str, Any]]:
    return {name: one for name, one in COMPOSE["services"].items() if one["image"].startswith("andon:")}


def test_commands_of_the_stack_are_commands() -> None:
    assert set(ours()) == {"migrate", "run", "deliver", "simulator"}
    for name, service in ours().items():
        if name == "simulator":
            (line,) = service["command"]
            words = line.replace("$$(date -u -d yesterday +%FT00:00:00Z)", "2026-03-02T00:00:00Z").replace('"', "")
            assert words.startswith("exec andon ")
            assert parses(words.split()[2:])
        else:
            assert parses(service["command"])


def test_settings_of_the_stack_are_settings() -> None:
    settings = load_settings(str(INFRA / "compose" / "andon.toml"), {})
    check_live(settings, "infra/compose/andon.toml")
    services = COMPOSE["services"]
    assert settings.kafka.bootstrap.partition(":")[0] in services
    assert "@clickhouse:8123/" in settings.clickhouse.dsn
    stop_s = float(services["run"]["stop_grace_period"].removesuffix("s"))
    assert stop_s >= settings.engine.stop_within.seconds + settings.engine.epoch.seconds + 5


def test_the_stack_is_pinned_and_listens_on_loopback_only() -> None:
    for name, service in COMPOSE["services"].items():
        tag = service["image"].partition(":")[2]
        assert tag, name
        assert tag != "latest", name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (INFRA / source).exists(), f"{name}: {source}"
        assert set(service.get("depends_on", {})) <= set(COMPOSE["services"]), name
    assert all(service["read_only"] and service["cap_drop"] == ["ALL"] for service in ours().values())


@pytest.fixture(scope="module")
def compose_spec() -> str:
    """The reader of compose files that docker compose is built on."""
    found = os.environ.get("COMPOSE_SPEC") or shutil.which("compose-spec")
    if found is None:
        assert "ANDON_TEST_OPS" not in os.environ, "compose-spec is missing"
        pytest.skip("compose-spec is not installed; `make test-ops` fetches it")
    return found


def read(compose_spec: str, file: Path) -> subprocess.CompletedProcess[str]:
    command = [compose_spec, "--format", "json", str(file)]
    return subprocess.run(command, cwd=file.parent, capture_output=True, text=True, timeout=120, check=False)


def test_the_stack_is_a_compose_file(compose_spec: str) -> None:
    done = read(compose_spec, INFRA / "compose.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "level=warning" not in done.stderr
    services = json.loads(done.stdout)["services"]
    assert services.keys() == COMPOSE["services"].keys()
    for name, service in services.items():
        mounted = [Path(one["source"]) for one in service.get("volumes") or [] if one["type"] == "bind"]
        assert all(path.exists() for path in mounted), name
        built = service.get("build")
        assert built is None or (Path(built["context"]) / built["dockerfile"]).is_file()
    assert services["run"]["read_only"] is True, "as merged from what all services of ours share"
    (simulated,) = services["simulator"]["command"]
    assert "$(date -u" in simulated, "for the shell there, not for compose"


@pytest.mark.parametrize(
    ("service", "change"),
    [
        ("run", {"stop_grace_perod": "45s"}),
        ("run", {"cap_drop": "ALL"}),
        ("kafka", {"ports": ["127.0.0.1:x:19092"]}),
        ("deliver", {"depends_on": {"migrate": {"condition": "service_is_well"}}}),
        ("grafana", {"environment": {"A": ["list"]}}),
    ],
)
def test_what_is_wrong_in_a_compose_file_is_seen(
    compose_spec: str, tmp_path: Path, service: str, change: dict[str, object]
) -> None:
    broken = copy.deepcopy(COMPOSE)
    broken["services"][service] |= change
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(broken))
    assert read(compose_spec, tmp_path / "compose.yaml").returncode != 0


def test_prometheus_of_the_stack_scrapes_the_job_and_has_the_rules() -> None:
    told = yaml.safe_load((INFRA / "compose" / "prometheus.yaml").read_text())
    (target,) = told["scrape_configs"][0]["static_configs"][0]["targets"]
    assert target == "run:9464"
    mounted = [volume.split(":")[1] for volume in COMPOSE["services"]["prometheus"]["volumes"]]
    assert set(told["rule_files"]) <= set(mounted)
