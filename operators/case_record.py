"""A case that is nothing but one pass, of the only handoff of its kind: one record of bytes, numbers at fixed places.

That is what most cases are where a kind has one handoff. Such a record is begun, ended and forgotten without an object
(operators/case_lone.py, operators/case_kind.py), and a snapshot has it as it is. As soon as there is more to say of a
case, `unpacked` makes a `Case` of it, and that it stays.
"""

from struct import Struct

import msgspec

from operators.case_passes import place_of
from operators.case_state import Case, LoneCase, PassKey, PassRecord

#: What such a record begins with, and no packed `Case`: its pass is open, or has ended in time.
OPEN, ENDED = 1, 2
#: No such time.
NONE_US = -(1 << 63)
#: In this order: `OPEN`, whether the case's beginning was seen, the handoff's place in the map; when the case is to be
#: looked at and asked whether it is over, and its last arrival (see `Case`); the pass's start and deadline; how many
#: bytes are the start's id and its scope, which follow. The version is the arrival (1 at least).
OPEN_FORM = Struct("<BBHqqqqqHH")
#: The same with `ENDED`, end and version behind the deadline, and how many bytes are the end's id and its scope, which
#: follow last.
ENDED_FORM = Struct("<BBHqqqqqqqHHHH")
OPEN_SIZE = OPEN_FORM.size
#: Texts of so many bytes fit.
MOST_BYTES = 65_535

_DUE_AT = 4
_DUE = Struct("<q")


class _Due(msgspec.Struct, array_like=True, gc=False):
    """The first field of a packed `Case` (or `LoneCase`), behind what tells them apart."""

    tag: int
    due_us: int


_decode_due = msgspec.msgpack.Decoder(_Due).decode
_decode = msgspec.msgpack.Decoder[Case | LoneCase](Case | LoneCase).decode
packed = msgspec.msgpack.Encoder().encode


def due_of(record: bytes) -> int:
    """When a case is to be looked at, of whatever it is kept as."""
    due_us: int
    if record[0] <= ENDED:
        (due_us,) = _DUE.unpack_from(record, _DUE_AT)
        return due_us
    return _decode_due(record).due_us


def due_at(record: bytes, due_us: int) -> bytes:
    """The same record, to be looked at then."""
    return record[:_DUE_AT] + _DUE.pack(due_us) + record[_DUE_AT + _DUE.size :]


def unpacked(record: bytes) -> Case:
    """A case as an object, of whatever it is kept as."""
    if record[0] > ENDED:
        case = _decode(record)
        return case if isinstance(case, Case) else _unfolded(case)
    if record[0] == OPEN:
        _, began, entry, due_us, expiry_us, last_us, start_us, deadline_us, *lengths = OPEN_FORM.unpack_from(record)
        end_us, version, at = None, max(1, last_us), OPEN_SIZE
    else:
        _, began, entry, due_us, expiry_us, last_us, start_us, deadline_us, end_us, version, *lengths = (
            ENDED_FORM.unpack_from(record)
        )
        at = ENDED_FORM.size
    texts = []
    for length in lengths:
        texts.append(record[at : at + length].decode())
        at += length
    start_id, start_scope, end_id, end_scope = texts if end_us is not None else (*texts, "", "")
    return _unfolded(
        LoneCase(
            due_us,
            expiry_us,
            last_us,
            entry,
            start_us,
            end_us,
            start_id,
            end_id,
            start_scope,
            end_scope,
            None if deadline_us == NONE_US else deadline_us,
            version,
            bool(began),
        )
    )


def _unfolded(case: LoneCase) -> Case:
    ids, scopes = [""], [""]
    record = PassRecord(
        case.start_us,
        case.end_us,
        place_of(ids, case.start_id),
        place_of(ids, case.end_id),
        place_of(scopes, case.start_scope),
        place_of(scopes, case.end_scope),
        case.deadline_us,
        case.version,
    )
    passes: dict[PassKey, PassRecord] = {case.entry: record}
    return Case(case.due_us, case.expiry_us, case.last_arrival_us, ids, scopes, passes, case.began)
