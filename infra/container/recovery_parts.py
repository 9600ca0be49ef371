"""Which pod has which part of a job's state, where each pod has a volume of its own.

The engine keeps state in as many files (parts) as there are lanes. Each part must be in the directory of exactly one
process; which one is all the same. Run in the image as `python /opt/andon/lib/andon/recovery_parts.py …`:

- `share --run NAME --first N`, before each start of a pod: where there is state, leaves it alone; makes the pod's share
  of empty parts where the volume is empty and the run is new. An empty volume of a run that has written rows already is
  refused: the state has been lost, or the pod came later; empty parts beside kept ones would be a state with holes.
- `deal --to N DIRECTORY…`, while the job is stopped: deals all parts to the first N directories, which are in the
  order of the pods. Broken off, it is run again.
- `show DIRECTORY`, at any time: what is in a directory, as JSON (`dataflows.recovery.Share`).

All are idempotent. A run's name gives its id, the same in each pod: a job that is begun anew gets a new name. Rows of
a run are written only when all its pods run, so none can be there before each has had its share.
"""

import argparse
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from dataflows.recovery import RunRecord, Share, parts_in, read_part, whole
from dataflows.settings import Settings, load_settings
from schemas.errors import AndonError, StateError

_MAKING = ".making"
_RUN_ID_LENGTH = 12
_CHUNK = 1 << 20
#: Every run writes here, whatever its input.
_ROWS = "pipeline_health_log"


def share(settings: Settings, run: str, first: int, has_rows: Callable[[str], bool]) -> str:
    """See to the pod's share of the parts; gives what was done in words.

    Args:
        settings: as the pod's process reads them.
        run: the run's name.
        first: with how many pods it began.
        has_rows: whether a run, by its id, has written anything; asked only where the volume is empty.

    Raises:
        StateError: the volume can't be started from.
    """
    engine = settings.engine
    recovery = Path(engine.recovery)
    making, record = recovery / _MAKING, RunRecord.path(recovery)
    if record.exists() and not making.exists():
        if not parts_in(recovery):
            raise StateError(f"{recovery} has a run and no part of its state: deal the parts before this pod starts")
        return f"{recovery} has parts {_listed(recovery)}"
    if parts_in(recovery) and not making.exists():
        raise StateError(f"{recovery} has parts {_listed(recovery)} and no {record.name}, which goes with them")
    if engine.process >= first:
        words = f"the job began with {first} pods and this is number {engine.process}, with an empty volume"
        raise StateError(f"{words}: deal the parts before it starts")
    if not making.exists():
        if has_rows(_run_id(run)):
            words = f"{recovery} is empty, and the run {run} has written rows already: its state has been lost"
            raise StateError(f"{words}; restore it, or begin anew under another name")
        _make(making, engine.lanes, engine.process, first)
    for part in parts_in(making).values():
        part.replace(recovery / part.name)
    _write_record(record, settings, run)
    making.rmdir()
    _sync(recovery)
    return f"{recovery} was empty: made parts {_listed(recovery)}"


def deal(directories: Sequence[Path], to: int) -> str:
    """Deal all parts evenly to the first `to` directories; gives what was done in words.

    A part is written whole where it goes before it is taken away where it was, so it is always whole somewhere. Where
    an earlier run was broken off, the copy that is not yet taken away counts.

    Raises:
        StateError: what is there is not the whole state of one run.
    """
    if not 1 <= to <= len(directories):
        raise StateError(f"can't deal to {to} of {len(directories)} directories")
    record = _one_record(directories)
    lanes = msgspec.json.decode(record, type=RunRecord).lanes
    if to > lanes:
        raise StateError(f"{lanes} parts do not reach for {to} pods: engine.lanes is the most there can be")
    sources = _sources(directories, lanes, to)
    whole(map(read_part, sources.values()))
    moved = 0
    for number, source in sources.items():
        target = directories[number % to]
        if source.parent != target:
            _move(source, target / source.name)
            moved += 1
    for directory in directories[:to]:
        _write(RunRecord.path(directory), record)
    return f"{moved} of {lanes} parts moved; each of {to} pods has {lanes // to} to {-(-lanes // to)}"


def show(directory: Path) -> Share:
    """What is in a directory.

    Raises:
        StateError: a part of it can't be read.
    """
    record = RunRecord.path(directory)
    parts = [read_part(path) for path in parts_in(directory).values()]
    return Share(str(directory), record.read_text(encoding="utf-8") if record.exists() else "", parts)


def _sources(directories: Sequence[Path], lanes: int, to: int) -> dict[int, Path]:
    """The file that counts of each part: where there are two, the one that is not yet taken away."""
    found = [parts_in(directory) for directory in directories]
    missing = sorted(set(range(lanes)) - {number for parts in found for number in parts})
    if missing:
        raise StateError(f"parts {', '.join(map(str, missing))} of {lanes} are in none of the directories")
    sources = {}
    for number in range(lanes):
        copies = [parts[number] for parts in found if number in parts]
        elsewhere = [one for one in copies if one.parent != directories[number % to]]
        if len(elsewhere) > 1:
            raise StateError(f"part {number} is in {' and '.join(str(one.parent) for one in elsewhere)}")
        sources[number] = (elsewhere or copies)[0]
    return sources


def _make(making: Path, lanes: int, process: int, first: int) -> None:
    from dataflows.engine import init_recovery  # noqa: PLC0415 - a start over kept state does not load the engine

    unfinished = making.with_name(f"{_MAKING}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    init_recovery(unfinished, lanes)
    for number, part in parts_in(unfinished).items():
        if number % first != process:
            part.unlink()
    kept = set(parts_in(unfinished).values())
    for path in unfinished.iterdir():
        if path not in kept:
            path.unlink()  # the engine has closed them: what it keeps beside them is empty
    unfinished.rename(making)


def _write_record(path: Path, settings: Settings, run: str) -> None:
    engine = settings.engine
    record = RunRecord(_run_id(run), engine.lanes, engine.case_groups, engine.item_groups, engine.site_groups)
    _write(path, msgspec.json.encode(record))


def _run_id(run: str) -> str:
    return hashlib.sha256(run.encode()).hexdigest()[:_RUN_ID_LENGTH]


def _rows_in(settings: Settings) -> Callable[[str], bool]:
    def has_rows(run_id: str) -> bool:
        from sinks.clickhouse.dsn import quoted, read_password  # noqa: PLC0415 - asked for an empty volume only
        from sinks.clickhouse.store import open_store  # noqa: PLC0415 - as above

        password = read_password(settings.clickhouse.password_file)
        with open_store(settings.clickhouse.dsn, password=password) as store:
            there = store.query(
                "SELECT count() FROM system.tables WHERE database = {database:String} AND name = {table:String}",
                {"database": store.database, "table": _ROWS},
            )
            if not there.rows[0][0]:
                return False
            table = f"{quoted(store.database)}.{_ROWS}"
            written = store.query(f"SELECT count() FROM {table} WHERE run_id = {{run:String}}", {"run": run_id})  # noqa: S608 - a checked name
            return bool(written.rows[0][0])

    return has_rows


def _one_record(directories: Sequence[Path]) -> bytes:
    records = {path.read_bytes() for path in map(RunRecord.path, directories) if path.exists()}
    if len(records) != 1:
        raise StateError(f"{len(records)} different runs are in {', '.join(map(str, directories))}; there must be one")
    return records.pop()


def _move(source: Path, target: Path) -> None:
    """The engine's log beside a part goes first: a part without its log would be an older state."""
    log, new_log = Path(f"{source}-wal"), Path(f"{target}-wal")
    for left in (new_log, Path(f"{target}-shm")):
        left.unlink(missing_ok=True)
    if log.exists():
        _copy(log, new_log)
    _copy(source, target)
    source.unlink()
    for left in (log, Path(f"{source}-shm")):
        left.unlink(missing_ok=True)
    _sync(source.parent)


def _copy(source: Path, target: Path) -> None:
    made = target.with_name(f"{target.name}.new")
    with source.open("rb") as reading, made.open("wb") as writing:
        shutil.copyfileobj(reading, writing, _CHUNK)
        writing.flush()
        os.fsync(writing.fileno())
    made.replace(target)
    _sync(target.parent)


def _write(path: Path, content: bytes) -> None:
    made = path.with_name(f"{path.name}.new")
    with made.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    made.replace(path)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _listed(directory: Path) -> str:
    return ", ".join(map(str, parts_in(directory)))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; gives the exit code: 0 done, 1 refused."""
    parser = argparse.ArgumentParser(prog="recovery_parts", description="Which pod has which part of a job's state.")
    commands = parser.add_subparsers(dest="command", required=True)
    sharing = commands.add_parser("share", help="see to this pod's share before it starts")
    sharing.add_argument("--config", help="settings file, as of andon run")
    sharing.add_argument("--run", required=True, help="the run's name: another one for a job that is begun anew")
    sharing.add_argument("--first", type=int, required=True, help="with how many pods the job began")
    dealing = commands.add_parser("deal", help="deal the parts of a stopped job to another number of pods")
    dealing.add_argument("--to", type=int, required=True, help="to how many pods")
    dealing.add_argument("directories", nargs="+", type=Path, help="the pods' directories, in their order")
    showing = commands.add_parser("show", help="what is in a directory, as JSON")
    showing.add_argument("directory", type=Path, help="of a pod")
    told = parser.parse_args(arguments)
    try:
        if told.command == "share":
            settings = load_settings(told.config)
            words = share(settings, told.run, told.first, _rows_in(settings))
        elif told.command == "deal":
            words = deal(told.directories, told.to)
        else:
            words = msgspec.json.encode(show(told.directory)).decode()
    except (AndonError, OSError) as error:
        sys.stderr.write(f"andon: {error}\n")
        return 1
    sys.stdout.write(f"{words}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
