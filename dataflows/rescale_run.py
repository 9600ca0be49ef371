"""Looking at a job before a rescale, doing the steps, looking again: everything that waits for the cluster."""

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from dataflows.recovery import Whole, whole_of
from dataflows.rescale_cluster import ClusterError, Job, Kubectl, claims_of, pods_of, share_of, status_of
from dataflows.rescale_plan import (
    DEAL,
    Check,
    Step,
    lag_of,
    numbers_fit,
    pods_fit,
    processes_fit,
    resumed,
    steps,
    tidying,
)
from schemas.errors import AndonError, StateError

_LOOK_S = 1.0
_TAIL = "--tail=5"
#: A pod that has been started again so often does not come up by waiting; one that meets a peer's end does.
_MOST_RESTARTS = 4


class Seen(msgspec.Struct, frozen=True):
    """What was seen before: the state and the lag, where the job could be asked."""

    checks: list[Check]
    state: Whole | None = None
    lag: float | None = None

    @property
    def good(self) -> bool:
        """Whether nothing speaks against the rescale."""
        return all(check.ok for check in self.checks)


class StepFailed(AndonError):  # noqa: N818 - names the condition, as the tree of errors does
    """A step has failed; says what is the case, and how to go on or back."""

    def __init__(self, step: Step, why: str, how: str) -> None:
        self.step, self.why = step, why
        super().__init__(f"{step.title}: {why}\n{step.failed}\n{how}")


class Shown(Protocol):
    """Where a person, or nobody, follows the steps."""

    def began(self, step: Step) -> None:
        """A step begins."""

    def waits(self, words: str) -> None:
        """It waits for something, and this is how it stands."""

    def looked(self, check: Check) -> None:
        """Something was looked at when all steps were done."""


def look(kubectl: Kubectl, job: Job, to: int) -> Seen:
    """Everything that is to be seen before: nothing is changed.

    Raises:
        ClusterError: the cluster can't be asked.
    """
    checks = numbers_fit(job, to)
    if job.begun_from is not None:
        words = f"a rescale from {job.begun_from} pods was begun and not ended: the job itself is not asked"
        return Seen([*checks, Check("begun", ok=True, words=words)])
    if job.replicas == 0:
        return Seen(checks)
    pods = pods_of(kubectl, job)
    checks += pods_fit(job, pods)
    claims = claims_of(kubectl, job)
    lost = [name for name in map(job.claim_of, range(job.replicas)) if name not in claims]
    checks.append(Check("volumes", not lost, f"not there: {', '.join(lost)}" if lost else f"{job.replicas} claims"))
    if not all(check.ok for check in checks):
        return Seen([*checks, Check("state", ok=False, words="not asked before the rest is well")])
    answers = [status_of(kubectl, job, pod.name) for pod in pods]
    lag = lag_of(answers)
    checks += processes_fit(answers)
    checks.append(Check("lag", ok=True, words=f"{lag:,.0f} messages"))
    try:
        state = whole_of([share_of(kubectl, job, pod.name) for pod in pods], running=True)
    except StateError as error:
        return Seen([*checks, Check("state", ok=False, words=str(error))], lag=lag)
    words = f"{state.parts} of {job.engine.lanes} parts, of one run"
    checks.append(Check("state", state.parts == job.engine.lanes, words))
    return Seen(checks, state, lag)


def plan(kubectl: Kubectl, job: Job, to: int) -> list[Step]:
    """The steps, without the last one, which waits for what is looked at after them.

    Raises:
        ClusterError: the cluster can't be asked.
    """
    return steps(job, to, claims_of(kubectl, job))


def carry_out(
    kubectl: Kubectl, job: Job, to: int, seen: Seen, planned: Sequence[Step], within_s: float, shown: Shown
) -> list[Check]:
    """Do the steps, look at what came of them, tidy up.

    Args:
        kubectl: how the cluster is told.
        job: as it was before.
        to: so many pods.
        seen: what was seen before.
        planned: the steps.
        within_s: so long each wait may take.
        shown: is told of each step.

    Raises:
        StepFailed: at the first that fails.
    """
    for step in planned:
        _do(kubectl, job, to, step, within_s, shown)
    done = Step("Look at the job", [], planned[-1].failed)
    shown.began(done)
    checks = []
    with _Failing(done, job, to):
        for check in _look_after(kubectl, job, to, seen, within_s, shown):
            checks.append(check)
            shown.looked(check)
            if not check.ok:
                raise ClusterError(f"{check.name}: {check.words}")
    _do(kubectl, job, to, tidying(job), within_s, shown)
    return checks


class _Failing:
    """What fails within becomes a `StepFailed` with words on how to go on and back."""

    def __init__(self, step: Step, job: Job, to: int) -> None:
        self._step, self._job, self._to = step, job, to

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, AndonError):
            before = self._job.begun_from or self._job.replicas
            how = f"On: `andon rescale --to {self._to} --apply` again, when the cause is mended: steps can be repeated."
            if before != self._to:
                how += f"\nBack: `andon rescale --to {before} --apply`."
            raise StepFailed(self._step, str(error), how) from error


def _do(kubectl: Kubectl, job: Job, to: int, step: Step, within_s: float, shown: Shown) -> None:
    shown.began(step)
    with _Failing(step, job, to):
        for command in step.commands:
            kubectl.run(*command.arguments, given=command.given)
        match step.until:
            case "gone":
                _wait(lambda: _gone(kubectl, job), within_s, shown)
            case "dealt":
                _wait(lambda: _dealt(kubectl), within_s, shown)
            case "ready":
                _wait(lambda: _unready(kubectl, job, to), within_s, shown)


def _wait(left: Callable[[], str], within_s: float, shown: Shown) -> None:
    """Until nothing is left to wait for.

    Raises:
        ClusterError: it takes longer than `within_s`; says what was left.
    """
    ends_s = time.monotonic() + within_s
    said = ""
    while words := left():
        if words != said:
            shown.waits(words)
            said = words
        if time.monotonic() > ends_s:
            raise ClusterError(f"waited {within_s:g} s, and {words}")
        time.sleep(_LOOK_S)


def _gone(kubectl: Kubectl, job: Job) -> str:
    pods = pods_of(kubectl, job)
    return f"{', '.join(pod.name for pod in pods)} not yet gone" if pods else ""


def _dealt(kubectl: Kubectl) -> str:
    status = kubectl.get("job", DEAL).get("status") or {}
    conditions = {one["type"] for one in status.get("conditions") or () if one["status"] == "True"}
    if "Failed" in conditions:
        raise ClusterError(f"refused: {_tail(kubectl, f'job/{DEAL}') or 'it says nothing'}")
    return "" if "Complete" in conditions else f"job/{DEAL} is at work"


def _unready(kubectl: Kubectl, job: Job, to: int) -> str:
    pods = pods_of(kubectl, job)
    unready = [pod for pod in pods if not pod.ready]
    if len(pods) == to and not unready:
        return ""
    told = [f"{pod.name}: {pod.why()}: {_tail(kubectl, pod.name, '--all-containers')}" for pod in unready if pod.waits]
    words = "; ".join([f"{len(pods) - len(unready)} of {to} pods are ready", *told])
    if any(pod.waits and pod.restarts >= _MOST_RESTARTS for pod in unready):
        raise ClusterError(f"the pods end again and again; {words}")
    return words


def _tail(kubectl: Kubectl, *of: str) -> str:
    """The last lines of a log; what hinders asking for them is said in their place."""
    try:
        return " / ".join(kubectl.run("logs", *of, _TAIL).split("\n")).strip(" /")
    except ClusterError as error:
        return f"(no log: {error})"


def _look_after(kubectl: Kubectl, job: Job, to: int, seen: Seen, within_s: float, shown: Shown) -> Iterator[Check]:
    pods = pods_of(kubectl, msgspec.structs.replace(job, replicas=to))
    yield from pods_fit(msgspec.structs.replace(job, replicas=to), pods)
    state = whole_of([share_of(kubectl, job, pod.name) for pod in pods], running=True)
    yield Check("state", state.parts == job.engine.lanes, f"{state.parts} of {job.engine.lanes} parts, of one run")
    yield resumed(seen.state, state, to)
    answers = [status_of(kubectl, job, pod.name) for pod in pods]
    yield from processes_fit(answers)
    first = lag_of(answers)
    enough = max(first - 1, seen.lag or 0.0)
    last = [first]

    def falls() -> str:
        last.append(lag_of([status_of(kubectl, job, pod.name) for pod in pods]))
        return "" if last[-1] <= enough else f"lag is {last[-1]:,.0f} messages, and was {first:,.0f} at the first look"

    if first:
        _wait(falls, within_s, shown)
    yield Check("lag", ok=True, words=f"{last[-1]:,.0f} messages, after {first:,.0f} at the start")


def shown_command(kubectl: Kubectl, arguments: Sequence[str], given: str = "") -> str:
    """A command as a person can paste it into a shell."""
    line = shlex.join(kubectl.line(*arguments))
    return f"{line} <<'EOF'\n{given}EOF" if given else line
