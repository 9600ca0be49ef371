"""`andon rescale`: what it looks at, what it would do, what it says where a step fails; a state that is not whole."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import yaml

from dataflows import rescale_run
from dataflows.recovery import Execution, Front, Part, Share, Whole, whole, whole_of
from dataflows.rescale_cluster import Job, Kubectl, read_job
from dataflows.rescale_plan import Check, Step, deal_job, numbers_fit, resumed, steps
from dataflows.rescale_run import Seen, StepFailed, carry_out, look
from schemas.errors import StateError
from tests.infra_kubectl import KubectlFront, RefusedError
from tests.infra_kubernetes_api import KubernetesApi
from tests.infra_manifests import KUBERNETES
from tests.infra_stateful_set import Namespace
from tests.infra_stateful_set_image import Image, build
from tests.processes import andon
from tests.test_infra_backup import SCRIPT as BACKUP
from tests.test_infra_parts import numbers, shared

IMAGE = "andon:0.1.0"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build(tmp_path_factory.mktemp("image"))


@pytest.fixture
def front(tmp_path: Path, image: Image, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubectlFront]:
    """The production overlay, applied to a cluster in which no pod is ever started but those of Jobs.

    A Job here takes half a second; a cluster's is looked at once a second.
    """
    monkeypatch.setattr(rescale_run, "_LOOK_S", 0.05)
    with (
        Namespace("production", tmp_path / "namespace", {IMAGE: image}, pace=0.01) as namespace,
        KubectlFront(namespace, tmp_path / "k") as made,
    ):
        yield made


def kubectl_of(front: KubectlFront) -> Kubectl:
    return Kubectl(str(front.program), namespace="andon")


def job_of(front: KubectlFront) -> Job:
    return read_job(kubectl_of(front), "andon")


# --- before -----------------------------------------------------------------------------------------------------------


def test_the_job_is_read_as_its_pods_read_it(front: KubectlFront) -> None:
    front.namespace.config("andon-processes")["ANDON_ENGINE_SITE_GROUPS"] = "12"
    job = job_of(front)
    assert (job.replicas, job.engine.lanes, job.engine.case_groups, job.engine.site_groups) == (4, 16, 128, 12)
    assert job.addresses[3] == "andon-3.andon-peers.andon.svc.cluster.local:2101"
    assert job.selected == "app.kubernetes.io/component=pipeline,app.kubernetes.io/name=andon"
    assert all(check.ok for check in numbers_fit(job, 6))


def immutable(front: KubectlFront) -> None:
    job = job_of(front)
    next(one for one in front.namespace.resources if one["metadata"]["name"] == job.processes_map)["immutable"] = True


AGAINST: dict[str, tuple[Callable[[KubectlFront], object], int, str]] = {
    "lanes": (lambda _: None, 17, "16 lanes, 17 pods"),
    "case groups": (lambda made: made.namespace.config("andon-processes").update(ANDON_ENGINE_CASE_GROUPS="5"), 6, "5"),
    "item groups": (lambda made: made.namespace.config("andon-processes").update(ANDON_ENGINE_ITEM_GROUPS="5"), 6, "5"),
    "balance": (lambda _: None, 5, "increments of the state would not be found"),
    "addresses": (lambda made: made.namespace.stateful_set["spec"].update(replicas=3), 6, "4 addresses in ConfigMap"),
    "config map": (immutable, 6, "is immutable"),
    "backup": (lambda made: made.annotations.update({"andon/replicas-before-backup": "4"}), 6, "wait for its end"),
    "replicas": (lambda made: made.namespace.stateful_set["spec"].update(replicas=0), 6, "somebody has stopped"),
    "pods": (lambda _: None, 6, "0 of 4 are there"),
    "one version": (lambda _: None, 6, "nothing"),
    "volumes": (lambda _: None, 6, "recovery-andon-0, recovery-andon-1, recovery-andon-2, recovery-andon-3"),
    "state": (lambda _: None, 6, "not asked before the rest is well"),
}


@pytest.mark.parametrize("what", AGAINST)
def test_what_speaks_against_it_is_found_and_nothing_is_changed(front: KubectlFront, what: str) -> None:
    breaking, to, words = AGAINST[what]
    breaking(front)
    seen = look(kubectl_of(front), job_of(front), to)
    assert not seen.good
    (check,) = (one for one in seen.checks if one.name == what)
    assert not check.ok
    assert words in check.words
    assert {call[2] for call in front.called} == {"get"}


def test_a_number_that_leaves_some_pods_more_work_is_said(front: KubectlFront) -> None:
    front.namespace.config("andon-processes").update(ANDON_ENGINE_INCREMENTS_FROM="0")
    assert [one.words for one in numbers_fit(job_of(front), 5) if one.name == "balance"] == [
        "5 does not divide 48: some pods get more groups than others (allowed)"
    ]


# --- the steps --------------------------------------------------------------------------------------------------------


def test_what_is_applied_is_what_the_example_in_the_manifests_says(front: KubectlFront) -> None:
    example = list(yaml.safe_load_all((KUBERNETES / "rescale" / "deal.yaml").read_text()))
    job = job_of(front)
    claims = {job.claim_of(number) for number in range(4)}
    (applied,) = (
        json.loads(command.given) for step in steps(job, 6, claims) for command in step.commands if command.given
    )
    assert applied["items"] == example
    assert deal_job(job, 6, 6) == example[-1]


def test_volumes_of_pods_that_are_no_more_are_dealt_from_too(front: KubectlFront) -> None:
    job = job_of(front)
    claims = {job.claim_of(number) for number in range(6)}
    deal = steps(job, 2, claims)[1].commands[-1].given
    assert '"--to", "2", "/state/0", "/state/1", "/state/2", "/state/3", "/state/4", "/state/5"' in deal
    assert 'PersistentVolumeClaim"' not in deal


class Followed:
    """What a person would have seen."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.waited: list[str] = []

    def began(self, step: Step) -> None:
        self.titles.append(step.title)

    def waits(self, words: str) -> None:
        self.waited.append(words)

    def looked(self, check: Check) -> None:
        raise AssertionError(f"no job runs here, and {check} was seen")


def volumes(front: KubectlFront, count: int, lanes: int = 16) -> list[Path]:
    """The claims of a job with this many pods, with its state."""
    for number in range(count):
        front.namespace.make_claim(f"recovery-andon-{number}")
    made = [front.namespace.claims[f"recovery-andon-{number}"] / "state" for number in range(count)]
    for source, target in zip(shared(front.namespace.folder / "made", count, lanes), made, strict=True):
        source.rename(target)
    return made


FAILING = {
    "annotate": ("Stop the job", "its state is as it was"),
    "--replicas=0": ("Stop the job", "its state is as it was"),
    "apply": ("Deal its state to 2", "Each part of its state is whole"),
    "patch": ("Name 2 processes", "Its state is dealt to 2 pods"),
    "--replicas=2": ("Start 2 pods", "not all of them are ready"),
}


@pytest.mark.parametrize("at", FAILING)
def test_the_first_step_that_fails_is_the_last(front: KubectlFront, at: str) -> None:
    def refuse(command: list[str]) -> None:
        if at in command:
            raise RefusedError("Error from server (Forbidden): not you")

    made = volumes(front, 4)
    before = numbers(made)
    front.before = refuse
    kubectl, job, followed = kubectl_of(front), job_of(front), Followed()
    planned = steps(job, 2, set(front.namespace.claims))
    with pytest.raises(StepFailed) as failed:
        carry_out(kubectl, job, 2, Seen([]), planned, 60, followed)
    title, state = FAILING[at]
    words = str(failed.value)
    assert words.startswith(title)
    assert "Forbidden" in words
    assert state in words
    assert words.endswith("Back: `andon rescale --to 4 --apply`.")
    assert at in front.called[-1]
    assert followed.titles[-1].startswith(title)
    dealt = at in {"patch", "--replicas=2"}
    assert numbers(made) == ([[*range(0, 16, 2)], [*range(1, 16, 2)], [], []] if dealt else before)


def test_a_state_that_is_not_whole_is_not_dealt_and_the_job_says_why(front: KubectlFront) -> None:
    made = volumes(front, 4)
    (made[2] / "part-6.sqlite3").unlink()
    before = numbers(made)
    kubectl, job = kubectl_of(front), job_of(front)
    with pytest.raises(StepFailed, match=r"Deal its state(?s:.*)parts 6 of 16 are in none of the directories"):
        carry_out(kubectl, job, 2, Seen([]), steps(job, 2, set(front.namespace.claims)), 60, Followed())
    assert numbers(made) == before
    assert job_of(front).begun_from == 4, "so that the same command goes on"


def test_pods_that_do_not_come_up_are_waited_for_so_long_and_no_longer(front: KubectlFront) -> None:
    volumes(front, 4)
    kubectl, job, followed = kubectl_of(front), job_of(front), Followed()
    planned = steps(job, 2, set(front.namespace.claims))[-1:]
    with pytest.raises(StepFailed, match=r"waited 0\.5 s, and 0 of 2 pods are ready"):
        carry_out(kubectl, job, 2, Seen([]), planned, 0.5, followed)
    assert followed.waited == ["0 of 2 pods are ready"]


def test_the_command_line_says_no_in_words_and_in_json(front: KubectlFront, tmp_path: Path) -> None:
    options = ("rescale", "--to", "6", "--kubectl", str(front.program), "--namespace", "andon")
    said = andon(*options, "--json", cwd=tmp_path, check=False)
    assert said.returncode == 1
    told = json.loads(said.stdout)
    assert (told["from"], told["to"], told["applied"], told["steps"]) == (4, 6, False, [])
    assert {"name": "pods", "ok": False, "words": "0 of 4 are there and ready"} in told["before"]
    said = andon(*options, "--apply", cwd=tmp_path, check=False)
    assert said.returncode == 1
    assert "  NOT  pods: 0 of 4" in said.stdout
    assert "not rescaled, and nothing changed" in said.stderr
    assert {call[2] for call in front.called} == {"get"}
    said = andon("rescale", "--to", "6", "--kubectl", "/nowhere", cwd=tmp_path, check=False)
    assert (said.returncode, said.stderr) == (
        1,
        "andon: /nowhere can't be run: No such file or directory; --kubectl names it\n",
    )
    assert andon("rescale", "--to", "0", cwd=tmp_path, check=False).returncode == 2


def test_a_rescale_that_was_begun_goes_on_without_asking_the_job(front: KubectlFront, tmp_path: Path) -> None:
    front.annotations["andon/rescale-from"] = "3"
    front.namespace.stateful_set["spec"]["replicas"] = 0
    options = ("--kubectl", str(front.program), "--namespace", "andon")
    said = andon("rescale", "--to", "2", *options, cwd=tmp_path)
    assert "a rescale from 3 pods was begun and not ended" in said.stdout
    assert f"{front.program} --namespace andon scale statefulset/andon --replicas=2" in said.stdout.splitlines()
    assert {call[2] for call in front.called} == {"get"}, "printed, not done"


def test_no_backup_is_made_of_volumes_that_are_being_dealt(tmp_path: Path) -> None:
    with KubernetesApi(tmp_path, 2) as api:
        api.annotations["andon/rescale-from"] = "2"
        cluster = BACKUP["Cluster"](api.url, tmp_path)
        with pytest.raises(BACKUP["BackupError"], match="a rescale is under way"):
            BACKUP["back_up"](cluster, "andon", "", keep=1, within_s=5, now=datetime.now(UTC))
        assert not any(call.startswith(("PATCH", "POST")) for call in api.calls)


# --- the state --------------------------------------------------------------------------------------------------------


def state(**other: Part) -> list[Part]:
    """Four parts as two processes leave them after two starts of the job, stopped at epoch 40; `other` for some."""
    parts = {
        "p0": Part(0, 4, 39, [Execution(1, 2, 20)], [Front(1, 1, 40)]),
        "p1": Part(1, 4, 39, [], [Front(0, 1, 20)]),
        "p2": Part(2, 4, 39, [], []),
        "p3": Part(3, 4, 39, [Execution(0, 2, 1)], [Front(0, 0, 20), Front(1, 0, 40)]),
    }
    return list((parts | other).values())


def test_parts_that_go_together_are_a_state() -> None:
    assert whole(state(), "run") == Whole("run", 4, 1, 2, 20, 40)
    behind = msgspec.structs.replace(state()[2], committed=37)
    assert whole(state(p2=behind)).reached == 40, "killed before the commit of an epoch that all had ended"
    fresh = [Part(number, 2, None, [], []) for number in range(2)]
    assert whole(fresh) == Whole("", 2, None, 0, 0, 0)


BROKEN: dict[str, tuple[dict[str, Part], str]] = {
    "older": ({"p2": Part(2, 4, 19, [], [])}, "part 2 has come to epoch 19, the job to 39: it is of an older moment"),
    "older start": ({"p0": Part(0, 4, 19, [], [])}, "how the job was started last is older"),
    "older front": (
        {"p0": Part(0, 4, 29, [Execution(1, 2, 20)], [Front(1, 1, 30)])},
        "part 1 has come to epoch 39, the job to 29: another part is of an older moment",
    ),
    "no start": ({"p0": Part(0, 4, 19, [], []), "p3": Part(3, 4, 19, [], [])}, "not of the same moment"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_parts_of_different_moments_are_no_state(what: str) -> None:
    other, words = BROKEN[what]
    with pytest.raises(StateError, match=words):
        whole(state(**other))
    assert whole(state()[:4], running=True)


def test_a_state_is_whole_and_of_one_run() -> None:
    with pytest.raises(StateError, match="parts 1 of 4 are missing"):
        whole([part for part in state() if part.number != 1], running=True)
    shares = [Share("a", "run", state()[:2]), Share("b", "run", state()[2:])]
    assert whole_of([*shares, Share("c", "an older run", [])]).parts == 4
    with pytest.raises(StateError, match="2 different runs are in a, b"):
        whole_of([shares[0], Share("b", "other", state()[2:])])
    with pytest.raises(StateError, match="part 2 is in b and c"):
        whole_of([*shares, Share("c", "run", state()[2:3])])


def test_a_job_that_began_anew_has_not_resumed() -> None:
    before = Whole("run", 4, 1, 2, 20, 40)
    assert resumed(before, Whole("run", 4, 2, 3, 42, 42), 3).ok
    for wrong in (
        Whole("run", 4, 1, 3, 42, 42),
        Whole("run", 4, 2, 2, 42, 42),
        Whole("run", 4, 2, 3, 39, 39),
        Whole("other", 4, 2, 3, 42, 42),
        Whole("run", 4, None, 0, 0, 0),
    ):
        assert not resumed(before, wrong, 3).ok
    assert resumed(None, Whole("run", 4, 2, 3, 42, 42), 3).ok
    assert not resumed(None, Whole("run", 4, 0, 3, 1, 1), 3).ok
