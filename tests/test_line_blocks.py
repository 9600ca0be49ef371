"""Lines read by the block are those read one by one: the same messages, numbers and places, wherever reading begins."""

import gzip
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataflows import files, line_blocks
from dataflows.files import FilePartition, JsonLinesReader
from dataflows.flow import Stop
from dataflows.input_limit import InputLimit
from dataflows.lane import FileLane, LaneInput
from dataflows.line_blocks import LineBlocks
from dataflows.telemetry import Telemetry
from dataflows.watch import JobWatch
from operators.lane_state import PartitionState, TimeRules
from operators.stamping import LOOKAHEAD
from schemas.decode import EventDecoder, Fault
from schemas.durations import END_OF_TIME_US, to_us
from schemas.errors import SourceError
from schemas.lines import Lines, Places, Runs
from schemas.rows import DeadLetter
from tests.bad_messages import BAD_MESSAGES, LEVEL
from tests.test_lanes import message


class Read(NamedTuple):
    """A message with the number of its line, where that begins, and where the next one does."""

    raw: bytes
    number: int
    position: int


def one_by_one(text: bytes, position: int, number: int, longest: int, *, grows: bool) -> tuple[list[Read], int, int]:
    """The plain way: every line by itself; with where it stands in the end, and behind which line."""
    file = io.BytesIO(text)
    file.seek(position)
    out = []
    if position == 0 and text.startswith(MARK):
        position = file.seek(len(MARK))
    while line := file.readline(longest + 1):
        if len(line) > longest and not line.endswith(b"\n"):
            file.readline()
        elif grows and not line.endswith(b"\n"):
            break
        number += 1
        if line.strip():
            out.append(Read(line.strip(), number, position))
        position = file.tell()
    return out, position, number


def by_the_block(blocks: LineBlocks, most: list[int]) -> list[Read]:
    out, turn = [], 0
    while (block := blocks.next(most[turn % len(most)])) is not None:
        assert len(block.lines) <= most[turn % len(most)]
        columns = block.lines, block.numbers.tolist(), block.positions.tolist()
        out += [Read(*one) for one in zip(*columns, strict=True)]
        turn += 1
    return out


#: The byte order mark of UTF-8, which is of the file and not of its first message.
MARK = b"\xef\xbb\xbf"
#: Pieces of lines, and what ends or surrounds them.
PIECES = st.sampled_from(
    [*[b'{"a":1}'] * 4, b"\n", b"\n", b"\n", b"\n", b"\r\n", b"\r", b" ", b"\t", b"\x0b", b"{", b"}", b"x" * 30]
)
TEXTS = st.tuples(st.sampled_from([b"", MARK]), st.lists(PIECES, max_size=40).map(b"".join)).map(b"".join)
MOST = st.lists(st.integers(1, 9), min_size=1, max_size=4)


@settings(max_examples=600, deadline=None)
@given(
    text=TEXTS,
    block=st.sampled_from([1, 2, 3, 7, 20, 64, 4_096]),
    most=MOST,
    longest=st.sampled_from([1, 5, 30, 61, 10_000]),
    grows=st.booleans(),
    data=st.data(),
)
def test_blocks_give_the_lines_of_the_file(
    text: bytes, block: int, most: list[int], longest: int, grows: bool, data: st.DataObject
) -> None:
    whole, _, _ = one_by_one(text, 0, 0, longest, grows=grows)
    begun = data.draw(st.sampled_from([Read(b"", 1, 0), *whole]))
    expected, *behind = one_by_one(text, begun.position, begun.number - 1, longest, grows=grows)
    with patch.object(line_blocks, "BLOCK_BYTES", block):
        file = io.BytesIO(text)
        file.seek(begun.position)
        blocks = LineBlocks(file, begun.position, begun.number - 1, longest=longest, grows=grows)
        assert by_the_block(blocks, most) == expected
        assert [blocks.position, blocks.number] == behind


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(TEXTS, max_size=6), block=st.sampled_from([1, 5, 64, 4_096]), most=MOST)
def test_a_file_that_grows_gives_each_line_once_it_is_complete(
    pieces: list[bytes], block: int, most: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("lines") / "log"
    path.touch()
    written, out = b"", list[Read]()
    with patch.object(line_blocks, "BLOCK_BYTES", block), path.open("rb") as file:
        blocks = LineBlocks(file, 0, 0, longest=10_000, grows=True)
        for piece in pieces:
            written += piece
            with path.open("ab") as end:
                end.write(piece)
            out += by_the_block(blocks, most)
            expected, *behind = one_by_one(written, 0, 0, 10_000, grows=True)
            assert (out, [blocks.position, blocks.number]) == (expected, behind)


# --- what a reader makes of them -----------------------------------------------------------------------------------

GOOD = message(1, 1)
#: Lines that are messages, that are none, and that could be taken for as many as they are not.
SAID = [
    *[GOOD] * 6,
    GOOD[:-1] + b',"note":"9999-12-31"}',
    GOOD[:-1] + ',"note":"é"}'.encode(),
    GOOD.replace(b"Z", b"-11:00").replace(b"2026-11-21", b"9999-12-31"),
    GOOD + GOOD,
    GOOD + b",",
    b"[" + GOOD,
    GOOD + b"]",
    GOOD[: len(GOOD) // 2],
    GOOD[len(GOOD) // 2 :],
    b"{}",
    b"}{",
    b"{" * 300 + b"}" * 300,
    GOOD[:-1] + b',"note":' + b"[" * 300 + b"]" * 300 + b"}",
    GOOD[:-1] + b',"note":' + b" " * 600 + b"1}",
    *(bad.raw.replace(b"\n", b" ") for bad in BAD_MESSAGES if len(bad.raw) < 10_000 and bad.raw.strip()),
]
LINES = st.sampled_from(SAID)


def lines_of(raws: list[bytes], between: bytes = b"\n") -> Lines:
    text, spans = bytearray(), []
    for raw in raws:
        spans.append((len(text), len(text) + len(raw)))
        text += raw + between
    places: list[Places] = list(np.array(spans or [(0, 0)]).T)
    return Lines(bytes(text), places[0][: len(raws)], places[1][: len(raws)])


@settings(max_examples=300, deadline=None)
@example(raws=[GOOD, GOOD + GOOD, GOOD], between=b"\n")
@example(raws=[GOOD + GOOD] + [GOOD] * 63 + [GOOD[: len(GOOD) // 2], GOOD[len(GOOD) // 2 :]], between=b"\n")
@given(raws=st.lists(LINES, max_size=200), between=st.sampled_from([b"\n", b"\r\n", b"\n \n"]))
def test_lines_are_decoded_as_messages_are(raws: list[bytes], between: bytes) -> None:
    lines = lines_of(raws, between)
    assert list(lines) == raws
    assert EventDecoder().decode_lines(lines) == EventDecoder().decode(raws)


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("count", [1, 700])
def test_the_last_day_is_found_wherever_it_stands(before: int, count: int) -> None:
    good = msgspec.json.encode(LEVEL)
    bad = msgspec.json.encode(LEVEL | {"occurred_at": "9999-12-31T23:00:00-11:00", "note": "x" * before})
    for raws in ([good] * count + [bad], [bad] + [good] * count, [bad[:1] + b" " * before + bad[1:]] + [good] * count):
        for found in (EventDecoder().decode(raws), EventDecoder().decode_lines(lines_of(raws))):
            assert sum(isinstance(one, Fault) for one in found) == 1
            assert [one.path for one in found if isinstance(one, Fault)] == ["$.occurred_at"]


@settings(max_examples=50, deadline=None)
@given(
    raws=st.lists(st.sampled_from([*SAID, b"", b" "]), min_size=LOOKAHEAD + 50, max_size=2 * LOOKAHEAD),
    counts=st.lists(st.integers(20, LOOKAHEAD), min_size=1, max_size=4),
    block=st.sampled_from([64, 999]),
)
def test_what_a_reader_releases_does_not_hang_on_blocks_or_kills(
    raws: list[bytes], counts: list[int], block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("lines") / "log.jsonl"
    path.write_bytes(b"\n".join(raws))
    source = FilePartition(str(path), "log.jsonl", 0)

    def read(counts: list[int], *, kill: bool) -> tuple[list[object], int, int]:
        reader, out, turn = JsonLinesReader(source, TimeRules()), list[object](), 0
        while True:
            reader.fetch(counts[turn % len(counts)])
            turn += 1
            events, dead, _ = reader.queue.take_before(reader.queue.horizon_us)
            out += [*events, *dead]
            if reader.queue.ended:
                events, dead, _ = reader.queue.take_before(END_OF_TIME_US)
                reader.close()
                return [*out, *events, *dead], reader.queue.position, reader.queue.offset
            if kill and turn % 3 == 0:
                kept = msgspec.msgpack.decode(msgspec.msgpack.encode(reader.queue.snapshot()), type=PartitionState)
                reader.close()
                reader = JsonLinesReader(source, TimeRules(), kept)
                reader.fetch(2 * LOOKAHEAD)  # so that a kill after each third step still gets on

    whole, *behind = read([10_000], kill=False)
    assert len(whole) == sum(bool(raw.strip()) for raw in raws)
    said = [raws[0].removeprefix(MARK), *raws[1:]]
    assert all(one.raw == said[one.offset - 1].strip() for one in whole if isinstance(one, DeadLetter))
    with patch.object(line_blocks, "BLOCK_BYTES", block):
        for kill in (False, True):
            parts, *stands = read(counts, kill=kill)
            assert sorted(map(repr, parts)) == sorted(map(repr, whole))
            assert stands == behind


def test_a_followed_file_that_loses_what_was_read_of_it_ends_in_words(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes((GOOD + b"\n") * 3)
    source = FilePartition(str(path), "log.jsonl", 0)
    reader = JsonLinesReader(source, TimeRules(), now=lambda: END_OF_TIME_US // 2)
    assert reader.fetch(10)
    reader.queue.take_before(END_OF_TIME_US)
    kept = reader.queue.snapshot()
    assert not reader.fetch(10)
    path.write_bytes(GOOD + b"\n")
    told = f"has {len(GOOD) + 1} bytes, and {3 * len(GOOD) + 3} were read of it: it was emptied or replaced"
    with pytest.raises(SourceError, match=told):
        reader.fetch(10)
    with pytest.raises(SourceError, match=told):
        JsonLinesReader(source, TimeRules(), kept)


def test_a_followed_file_that_is_rotated_by_rename_is_said_until_it_is_back(tmp_path: Path) -> None:
    path, steady = tmp_path / "log.jsonl", tmp_path / "steady.jsonl"
    now = datetime(2026, 3, 2, tzinfo=UTC)
    telemetry = Telemetry(0, stalled_after_s=60, limit=InputLimit(60, 1.0))
    watch = JobWatch(telemetry, Stop(), lambda: to_us(now), 8.0)
    lanes = []
    for file in (path, steady):
        file.write_bytes(GOOD + b"\n")
        one = FilePartition(str(file), file.name, 0)
        source = LaneInput(partitions=(one,), rules=TimeRules(), batch=10, clock=lambda: now)
        lanes.append(FileLane(file.name, [file.name], source, None, watch.file_lane, watch.files_lost))

    def said() -> list[str]:
        for lane in lanes * 2:  # none takes back what another one says
            lane.next()
        return [one.why for one in telemetry.conditions() if one.name == "source" and not one.ok]

    assert said() == []
    rotated = path.rename(tmp_path / "log.jsonl.1")
    for _ in range(2):
        (words,) = said()
        assert words.startswith(f"{path}: is no longer the file that is followed")
        path.write_bytes((GOOD + b"\n") * 3)  # another one
    rotated.replace(path)
    assert said() == []
    for lane in lanes:
        lane.close()


def test_of_a_line_that_is_too_long_the_beginning_is_kept(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 100_000)
    path = tmp_path_factory.mktemp("lines") / "log.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join([GOOD, b"{" + b"x" * 500_000, message(2, 2)])))
    reader = JsonLinesReader(FilePartition(str(path), "log", 0), TimeRules())
    while not reader.queue.ended:
        reader.fetch(2)
    events, dead, (health,) = reader.queue.take_before(END_OF_TIME_US)
    reader.close()
    assert [event.offset for event in events] == [1, 3]
    assert [(letter.offset, len(letter.raw), letter.reason) for letter in dead] == [(2, 65_536, "transport")]
    assert isinstance(dead[0], DeadLetter)
    assert "100001 bytes" in dead[0].detail
    assert (health.messages, health.bytes) == (3, 2 * len(GOOD) + 65_536)


@settings(max_examples=200, deadline=None)
@given(runs=st.lists(st.lists(st.binary(max_size=3), max_size=4), max_size=5), drops=st.lists(st.integers(0, 6)))
def test_runs_are_one_list(runs: list[list[bytes]], drops: list[int]) -> None:
    every, plain = Runs(), list[bytes]()
    for run in runs:
        every.extend(Runs(run))
        plain += run
    for drop in drops:
        count = min(drop, len(plain))
        every.drop(count)
        del plain[:count]
        assert [every[index] for index in range(len(plain))] == plain
        assert len(every) == len(plain)
        with pytest.raises(IndexError):
            every[len(plain)]
