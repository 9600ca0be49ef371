"""What the engine's files of a recovery directory say of themselves, and whether those of all processes go together.

The engine keeps state in as many files (parts) as there are lanes, each in the directory of one process. In them it
notes each execution (a start of the job), how far each worker came in it, and the last epoch committed in the part.
Files of different moments, such as a volume of an older backup among newer ones, would be resumed by the engine as a
state with holes; they are told apart by those notes.
"""

import fcntl
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from schemas.errors import AndonError, StateError

_RUN_FILE = "andon-run.json"
#: The engine's files are made in here, within the recovery directory, and moved out when all are there.
_MAKING = "parts.new"
_PART = re.compile(r"^part-(\d+)\.sqlite3$")
#: A part's commit follows its epoch's end in all processes: a stop leaves none behind, a kill some.
_COMMITS_BEHIND = 10
#: With less room than this, that is what a job ended for.
_ROOM = 1 << 20
#: What SQLite said, in the engine's words: `SqliteFailure(Error {…}, Some("database or disk is full"))`.
_SAID = re.compile(r'SqliteFailure\(.*?Some\("(.*?)"\)\)')


class RunRecord(msgspec.Struct, frozen=True):
    """What is kept beside the engine's recovery files: whose they are, and with which cut of the work.

    `mapping` is a hash of what tables were read through, `tables` has one of each table by its partition's name: their
    positions count the messages that the mapping made of them, in the order of their times.
    """

    run_id: str
    lanes: int
    case_groups: int
    item_groups: int
    site_groups: int
    mapping: str = ""
    tables: dict[str, str] = {}

    @staticmethod
    def path(recovery: Path) -> Path:
        """Where it is kept."""
        return recovery / _RUN_FILE


class Execution(msgspec.Struct, frozen=True, array_like=True):
    """A start of the job: its number, its workers, and the epoch it went on from."""

    number: int
    workers: int
    resumed_at: int


class Front(msgspec.Struct, frozen=True, array_like=True):
    """How far a worker of an execution came: all epochs before `epoch` are kept."""

    execution: int
    worker: int
    epoch: int


class Part(msgspec.Struct, frozen=True):
    """One file: which of how many, the last epoch committed (None: none yet), and the notes that are in it."""

    number: int
    count: int
    committed: int | None
    executions: list[Execution]
    fronts: list[Front]


class Share(msgspec.Struct, frozen=True):
    """What is in one directory: the run's record, empty where there is none, and the parts."""

    place: str
    record: str
    parts: list[Part]


class Whole(msgspec.Struct, frozen=True):
    """The state that all parts are together.

    The last execution (None: the job has not begun), its workers, the epoch it went on from, and the one that the next
    will go on from.
    """

    record: str
    parts: int
    execution: int | None
    workers: int
    resumed_at: int
    reached: int


@contextmanager
def held(recovery: Path, process: int = 0) -> Iterator[None]:
    """Make a recovery directory and hold it as long as this process lives: two jobs over one would ruin its state.

    Raises:
        StateError: another job holds it, or it can't be written to.
    """
    with writing(recovery):
        recovery.mkdir(parents=True, exist_ok=True)
        file = (recovery / f"process-{process}.lock").open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            words = f"{recovery} is in use by another running job (or another process with the same number)"
            raise StateError(words) from None
        yield


@contextmanager
def writing(recovery: Path) -> Iterator[None]:
    """What the system refuses within a recovery directory, in words.

    Raises:
        StateError: it has refused something.
    """
    try:
        yield
    except OSError as error:
        raise _not_kept(recovery, error.strerror or str(error)) from error


def engine_refusal(error: BaseException, recovery: Path | None) -> StateError | None:
    """What the engine says of its files in a recovery directory, in words; None where it says something else."""
    said = _SAID.search(str(error))
    if recovery is None or (said is None and type(error).__module__ != "bytewax.recovery"):
        return None
    return _not_kept(recovery, said.group(1) if said else str(error))


def own_error(error: BaseException | None) -> AndonError | None:
    """Our own error under the engine's wrapping."""
    while error is not None:
        if isinstance(error, AndonError):
            return error
        error = error.__cause__ or error.__context__
    return None


def other_run(here: str, there: str) -> StateError:
    """A process that began with an empty directory beside others that resumed would leave holes in the state."""
    words = f"the state here is of run {here}, that of another process of this job is of run {there}"
    return StateError(f"{words}: give each its share of one state back, or start all with new recovery directories")


def check_room(recovery: Path) -> None:
    """Write a file, and take it away again.

    For when the engine has ended without a word: in several processes it does not tell that its files can't grow.

    Raises:
        StateError: there is no room for it.
    """
    tried = recovery / f"room-{os.getpid()}"
    with writing(recovery):
        try:
            tried.write_bytes(bytes(_ROOM))
        finally:
            tried.unlink(missing_ok=True)


def _not_kept(recovery: Path, why: str) -> StateError:
    mend = "mend that (room, rights, files that are gone), or name another recovery directory"
    return StateError(f"state can't be kept in {recovery}, or read from there: {why}; {mend}")


def make_parts(recovery: Path, make: Callable[[Path], None]) -> None:
    """Have the engine make its files, by `make`, in a recovery directory that has none.

    Killed half way, all are made anew the next time: the engine would never start from some of them.

    Raises:
        StateError: they can't be made there.
    """
    making = recovery / _MAKING
    if parts_in(recovery) and not making.exists():
        return
    with writing(recovery):
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        try:
            make(making)
        except BaseException as error:
            refused = engine_refusal(error, recovery)
            if refused is None:
                raise
            raise refused from None
        for part in parts_in(making).values():
            part.replace(recovery / part.name)
        shutil.rmtree(making)


def parts_in(directory: Path) -> dict[int, Path]:
    """The engine's files in a directory, by number; none where there is no directory."""
    named = ((_PART.match(path.name), path) for path in sorted(directory.glob("part-*.sqlite3")))
    return {int(match.group(1)): path for match, path in named if match is not None}


def read_part(path: Path) -> Part:
    """Read a part, while the job runs or not.

    Raises:
        StateError: the file is not one of the engine's, or can't be read.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as opened:
            number, count = opened.execute("SELECT part_index, part_count FROM parts").fetchone()
            committed = opened.execute(
                "SELECT max(commit_epoch) FROM commits WHERE part_index = ?", (number,)
            ).fetchone()
            executions = opened.execute("SELECT ex_num, worker_count, resume_epoch FROM exs ORDER BY 1").fetchall()
            fronts = opened.execute("SELECT ex_num, worker_index, worker_frontier FROM fronts ORDER BY 1, 2").fetchall()
    except (sqlite3.Error, TypeError) as error:
        raise StateError(f"{path} can't be read as a part of the state: {error}") from error
    return Part(number, count, committed[0], [Execution(*row) for row in executions], [Front(*row) for row in fronts])


def check_unbegun(recovery: Path) -> None:
    """Where no run is on record, no part may have been begun: nobody knows with which cut of the work it was kept.

    Taken up with another one, what was kept of groups that are others now would be passed over in silence.

    Raises:
        StateError: a part has been; or can't be read.
    """
    for path in parts_in(recovery).values():
        part = read_part(path)
        if part.executions or part.fronts:
            raise StateError(
                f"{path} has state, and {RunRecord.path(recovery)}, which goes with it, is missing: give it back (from "
                "the same backup, or another process's directory of this job), or start with a new recovery directory"
            )


def whole(parts: Iterable[Part], record: str = "", *, running: bool = False) -> Whole:
    """The parts as one state.

    Args:
        parts: of all processes.
        record: the run's record that goes with them.
        running: they were read while the job ran, one after the other: how far each had come says nothing then.

    Raises:
        StateError: they are not the whole state of one execution.
    """
    by_number = {part.number: part for part in parts}
    count = next(iter(by_number.values())).count if by_number else 0
    missing = sorted(set(range(count)) - set(by_number))
    if missing or not by_number:
        raise StateError(f"parts {_listed(missing)} of {count} are missing" if missing else "there are no parts")
    executions = {one.number: one for part in by_number.values() for one in part.executions}
    begun = {front.execution for part in by_number.values() for front in part.fronts}
    if not executions:
        if begun:
            raise StateError("the part that says how the job was started is not of the same moment as the others")
        return Whole(record, count, None, 0, 0, 0)
    last = executions[max(executions)]
    came = {one.worker: one.epoch for part in by_number.values() for one in part.fronts if one.execution == last.number}
    reached = min(came.values()) if len(came) == last.workers else last.resumed_at
    if not running:
        _go_together(by_number.values(), begun, last, reached)
    return Whole(record, count, last.number, last.workers, last.resumed_at, reached)


def whole_of(shares: Sequence[Share], *, running: bool = False) -> Whole:
    """As `whole`, of the shares of all processes.

    Raises:
        StateError: as there; or the shares are of different runs, or a part is in two of them.
    """
    records = {share.record for share in shares if share.parts}
    if len(records) > 1:
        raise StateError(f"{len(records)} different runs are in {', '.join(share.place for share in shares)}")
    places: dict[int, str] = {}
    for share in shares:
        for part in share.parts:
            if part.number in places:
                raise StateError(f"part {part.number} is in {places[part.number]} and {share.place}")
            places[part.number] = share.place
    return whole([part for share in shares for part in share.parts], next(iter(records), ""), running=running)


def _go_together(parts: Iterable[Part], begun: set[int], last: Execution, reached: int) -> None:
    if max(begun, default=last.number) > last.number:
        raise StateError("the part that says how the job was started last is older than the others")
    for part in parts:
        committed = part.committed or 0
        came = f"part {part.number} has come to epoch {committed}, the job to {reached - 1}"
        if committed >= reached:
            raise StateError(f"{came}: another part is of an older moment")
        if committed < reached - 1 - _COMMITS_BEHIND:
            raise StateError(f"{came}: it is of an older moment than the others")


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
