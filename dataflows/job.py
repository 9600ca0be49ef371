"""The main job: settings and files made into a pipeline, and run."""

import hashlib
import signal
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import FrameType

import msgspec

from dataflows.engine import run_flow
from dataflows.files import FilePartition, check_lines, partitions_of
from dataflows.flow import Pipeline, Stop
from dataflows.lane import FileLane, LaneInput, lane_names
from dataflows.process_maps import load_process_map, shipped_process_maps
from dataflows.recovery import RunRecord, check_unbegun, held, writing
from dataflows.settings import Settings
from dataflows.store_waits import EMBEDDED_PATIENCE_S, SERVER_PATIENCE_S, StoreWaits, Tell
from operators.pipeline import PipelineSettings
from operators.process_map import ProcessMap
from schemas.adapters.mapping import Mapping
from schemas.adapters.tabular import RowCounts
from schemas.adapters.translations import Translation, count_read, identity_of, open_source
from schemas.durations import BEGIN_OF_TIME_US
from schemas.errors import SettingsError, StateError, Stopped
from schemas.problems import Problem, did_you_mean, path_text
from schemas.rows import Row
from schemas.toml_lines import line_of
from sinks.clickhouse.dsn import Embedded
from sinks.clickhouse.store import Store
from sinks.clickhouse.writer import BlockWriter

OnProgress = Callable[[float], None]
OnRows = Callable[[RowCounts], None]


def pipeline_settings(settings: Settings, process: ProcessMap, close_at_us: int = BEGIN_OF_TIME_US) -> PipelineSettings:
    """What the groups need, from all settings."""
    return PipelineSettings(
        process=process,
        lanes=lane_names(settings.engine.lanes),
        case_groups=settings.engine.case_groups,
        item_groups=settings.engine.item_groups,
        site_groups=settings.engine.site_groups,
        handoff_windows=settings.windows(process.window, process.slide),
        stock_windows=settings.windows(settings.stock.window),
        stock=settings.stock,
        dedup_horizon_us=settings.time.dedup_horizon,
        dedup_max_ids=settings.engine.dedup_max_ids,
        detectors=settings.detectors,
        incidents=settings.incidents,
        alerting=settings.alerting,
        models=settings.models,
        close_at_us=close_at_us,
    )


def process_map_of(settings: Settings, mapping: Translation | None, chosen: str | None = None) -> ProcessMap:
    """The process map that was asked for, else the mapping's own, else the settings'.

    Raises:
        SettingsError: it can't be used.
    """
    if chosen or mapping is None or not mapping.process_map:
        return load_process_map(chosen or settings.process.map)
    named, shipped = mapping.process_map, shipped_process_maps()
    if isinstance(mapping, Mapping) and named not in shipped and not Path(named).is_file():
        path = ("mapping", "process_map")
        expected = f"must be a file or a shipped process map: {', '.join(shipped)}{did_you_mean(named, shipped)}"
        line = line_of(mapping.text, path)
        raise SettingsError([Problem(mapping.file, path_text(path), f'"{named}"', expected, line)])
    return load_process_map(named)


def run_record(
    settings: Settings, recovery: Path | None, mapping: Translation | None = None, files: Sequence[FilePartition] = ()
) -> RunRecord:
    """The identity of this run, or of the run that is resumed from `recovery`; with a mapping `files` are tables.

    Raises:
        StateError: the work was cut otherwise when the state was kept, or tables were others, or read through another
            mapping; its record is gone; or the directory can't be written to.
    """
    engine = settings.engine
    read_as = "" if mapping is None else hashlib.sha256(identity_of(mapping)).hexdigest()
    groups = engine.case_groups, engine.item_groups, engine.site_groups
    if recovery is None:
        return RunRecord(uuid.uuid4().hex[:12], engine.lanes, *groups)
    tables = {} if mapping is None else {file.name: _digest(file.path) for file in files}
    fresh = RunRecord(uuid.uuid4().hex[:12], engine.lanes, *groups, read_as, tables)
    path = RunRecord.path(recovery)
    with writing(recovery):
        if not path.exists():
            check_unbegun(recovery)
            _keep(path, fresh)
            return fresh
        text = path.read_bytes()
    try:
        kept = msgspec.json.decode(text, type=RunRecord)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise StateError(f"{path} can't be read: {error}; start with a new recovery directory") from error
    for name in ("lanes", "case_groups", "item_groups", "site_groups"):
        if getattr(kept, name) != getattr(fresh, name):
            raise StateError(
                f"engine.{name} = {getattr(fresh, name)}, but the state in {recovery} was kept with "
                f"{getattr(kept, name)}: set it back, or start with a new recovery directory"
            )
    if mapping is not None and kept.mapping not in ("", read_as):
        raise StateError(
            f"{mapping.file} is not as it was when the state in {recovery} was kept, and what was read through it "
            "would not be read again: take the change back, or replay with --fresh and a new recovery directory"
        )
    changed = [file.path for file in files if kept.tables.get(file.name, "") not in ("", tables.get(file.name))]
    if changed:
        raise StateError(
            f"{', '.join(changed)} is not as it was when the state in {recovery} was kept, and rows of it that were "
            "read would be left out or read again: take the change back (what is new can come in a table of another "
            "name), or replay with --fresh and a new recovery directory"
        )
    if tables.keys() - kept.tables.keys():
        kept = msgspec.structs.replace(kept, mapping=read_as, tables=kept.tables | tables)
        with writing(recovery):
            _keep(path, kept)
    return kept


def _digest(path: str) -> str:
    with Path(path).open("rb") as table:
        return hashlib.file_digest(table, "sha256").hexdigest()


def _keep(path: Path, record: RunRecord) -> None:
    """Whole or not at all."""
    made = path.with_suffix(".new")
    made.write_bytes(msgspec.json.encode(record))
    made.replace(path)


class StoreWriter:
    """The block writer as the engine's sink wants it: what the store refuses is in the dead letters already.

    All of the engine's sink partitions share it.
    """

    def __init__(self, writer: BlockWriter) -> None:
        self._writer = writer

    def write(self, rows: Sequence[Row]) -> None:
        """Hand rows to the block writer."""
        self._writer.write(rows)

    def flush(self) -> None:
        """Have everything in the store."""
        self._writer.flush()


def run_job(
    settings: Settings,
    process: ProcessMap,
    files: Sequence[str],
    store: Store,
    *,
    mapping: Translation | None = None,
    recovery: Path | None = None,
    close_at_us: int = BEGIN_OF_TIME_US,
    on_progress: OnProgress | None = None,
    on_rows: OnRows | None = None,
    on_waiting: Tell | None = None,
) -> str:
    """Read `files` to their end and write what is found; gives the run's id.

    `on_rows` is told in the end what became of the rows of tables, `on_waiting` that the store does not take rows, and
    why: it is waited for, a server for ten minutes, an embedded database for one.

    Raises:
        SettingsError: the mapping does not fit a table.
        SourceError: a file can't be read.
        StateError: the kept state can't be resumed, or is in use.
        Stopped: a signal asked for it before the input had ended.
        StoreError: ClickHouse does not take what it is given.
    """
    partitions = inputs_of(files, mapping)
    groups = pipeline_settings(settings, process, close_at_us)
    source = LaneInput(
        partitions=tuple(partitions),
        rules=settings.time.rules(),
        batch=settings.engine.batch,
        mapping=mapping,
    )
    shares: dict[str, float] = dict.fromkeys(groups.lanes, 0.0)

    def progressed(lane: str, share: float) -> None:
        shares[lane] = share
        if on_progress is not None:
            on_progress(sum(shares.values()) / len(shares))

    lanes: list[FileLane] = []

    def open_lane(name: str, resume: bytes | None) -> FileLane:
        lanes.append(FileLane(name, groups.lanes, source, resume, progressed))
        return lanes[-1]

    stop = Stop()
    with ExitStack() as open_now:
        if recovery is not None:
            open_now.enter_context(held(recovery))
        record = run_record(settings, recovery, mapping, partitions)
        blocks = BlockWriter(
            store,
            record.run_id,
            max_rows=settings.clickhouse.block_rows,
            patience_s=EMBEDDED_PATIENCE_S if isinstance(store.target, Embedded) else SERVER_PATIENCE_S,
            watch=StoreWaits(stop, on_waiting),
        )
        writer = StoreWriter(open_now.enter_context(closing(blocks)))
        open_now.enter_context(_stopping(stop))
        pipeline = Pipeline(
            settings=groups,
            open_lane=open_lane,
            open_writer=lambda: writer,
            stop=stop,
            ahead=settings.engine.ahead,
            increments_from=settings.engine.increments_from,
        )
        run_flow(pipeline, recovery, settings.engine.epoch)
    if stop.requested:
        go_on = (
            f"the same command goes on from {recovery}" if recovery is not None else "nothing was kept to go on from"
        )
        raise Stopped(f"stopped at a snapshot, before the end of the input; {go_on}")
    if mapping is not None and on_rows is not None:
        on_rows(count_read(mapping, [one for lane in lanes for one in lane.inputs()]))
    return record.run_id


def inputs_of(files: Sequence[str], mapping: Translation | None = None) -> list[FilePartition]:
    """The partitions of `files`, each opened once, before anything is made or emptied for them.

    The engine would stop at the first that can't be read, and cry out beside our words.

    Raises:
        SettingsError: the mapping names columns that a table has not; with those of all tables.
        SourceError: a file can't be read, or is not what the mapping reads.
    """
    partitions = partitions_of(files)
    paths = [partition.path for partition in partitions]
    if mapping is None:
        check_lines(paths)
    else:
        _check_tables(mapping, paths)
    return partitions


def _check_tables(mapping: Translation, paths: Sequence[str]) -> None:
    problems: list[Problem] = []
    for path in paths:
        try:
            open_source(mapping, path)
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)


@contextmanager
def _stopping(stop: Stop) -> Iterator[None]:
    """SIGTERM and SIGINT ask for a stop at the next snapshot; a second one ends at once."""

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        if stop.requested:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.requested = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
