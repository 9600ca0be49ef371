"""The durable outbox: alerts that wait for their receivers, in their order, and what became of each attempt.

One SQLite file. `put` is idempotent on `alert_id` for as long as an alert is kept. Of each group and receiver only the
first that waits, by (sent_at, sequence), is given out: the next one follows when it is delivered or dead. An attempt is
noted before it is made, its outcome together with what it changes; what a killed process had under way is tried again
under the same key. Other processes may put into, list and replay one outbox; one delivers from it.

Memory: one alert a call, and what a listing asks for. Disk: what waits (up to `give_up_after` of alerts), and what is
settled for `keep`; the record of the last 100,000 attempts while it can't be written to the database.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from schemas.incident_rows import Alert, AlertDelivery
from sinks.webhooks.attempts import delivery_of, is_over
from sinks.webhooks.outbox_figures import OutboxFigures
from sinks.webhooks.outbox_file import OutboxFile, Statements

_WAITING = "SELECT alert_id, payload, put_at_us, next_at_us, attempts, failures, replayed FROM alert "
MOST_RECORDS = 100_000
_LOST = "the process ended while this attempt was under way: it may have been delivered"


class Waiting(msgspec.Struct, frozen=True):
    """The first alert of its group that waits."""

    alert: Alert
    put_at_us: int
    next_at_us: int
    attempts: int
    failures: int
    replayed: bool


class Told(msgspec.Struct, frozen=True):
    """What a receiver was told of a group so far; zeros and None where nothing.

    `is_open`: it was told something, and not since that all is over.
    """

    settled_sequence: int = 0
    delivered_at_us: int = 0
    delivered_sequence: int = 0
    is_open: bool = False
    standing: Alert | None = None


class Standing(msgspec.Struct, frozen=True):
    """Something a receiver holds that is to be said again at `resend_at_us`."""

    alert: Alert
    resend_at_us: int
    failures: int


class Dead(msgspec.Struct, frozen=True):
    """An alert that was given up, and why."""

    alert_id: str
    receiver: str
    group_key: str
    action: str
    sequence: int
    attempts: int
    given_up_at_us: int
    http_status: int | None
    detail: str


class Outbox:
    """See the module. A context manager; one lock, so that threads may share it. `figures` tell what is in it.

    Every method raises `StateError` where the file can't be read or written (a full disk, say).
    """

    def __init__(self, path: str | Path) -> None:
        self._file = OutboxFile(Path(path))
        self.figures = OutboxFigures(self._file)
        self._encode = msgspec.msgpack.Encoder().encode
        self._alert = msgspec.msgpack.Decoder(Alert).decode
        self._delivery = msgspec.msgpack.Decoder(AlertDelivery).decode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    # --- in ---------------------------------------------------------------------------------------------------------

    def put(self, alerts: Iterable[Alert], now_us: int) -> int:
        """Take alerts; gives how many were new. When this returns they survive a crash."""
        taken = 0
        with self._file.changing() as run:
            for alert in alerts:
                done = run(
                    "INSERT OR IGNORE INTO alert (alert_id, receiver, group_key, sequence, sent_at_us, priority, "
                    "payload, put_at_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    *(alert.alert_id, alert.receiver, alert.group_key, alert.sequence, alert.sent_at_us),
                    *(alert.priority, self._encode(alert), now_us),
                )
                if done.rowcount:
                    taken += 1
                    _choose_head(run, alert.receiver, alert.group_key)
        return taken

    def unknown(self, alert_ids: Sequence[str]) -> list[str]:
        """Those of `alert_ids` that are not here."""
        with self._file.reading() as run:
            return [one for one in alert_ids if not run("SELECT 1 FROM alert WHERE alert_id = ?", one).fetchone()]

    def cursor(self, source: str) -> int | None:
        """How far a source was read, in its own measure."""
        with self._file.reading() as run:
            row = run("SELECT at FROM cursor WHERE source = ?", source).fetchone()
        return None if row is None else int(row[0])

    def move_cursor(self, source: str, at: int) -> None:
        """Note how far a source was read; it never goes back."""
        with self._file.changing() as run:
            run("INSERT INTO cursor VALUES (?, ?) ON CONFLICT DO UPDATE SET at = max(at, excluded.at)", source, at)

    # --- out --------------------------------------------------------------------------------------------------------

    def first(self, receiver: str) -> Waiting | None:
        """The alert to try next: of all groups' first ones that which is due soonest (it may not be due yet).

        Of those that have not been tried, the most urgent one, then the oldest.
        """
        with self._file.reading() as run:
            row = run(
                _WAITING + "WHERE receiver = ? AND head = 1 ORDER BY next_at_us, priority, sent_at_us LIMIT 1",
                receiver,
            ).fetchone()
        return None if row is None else self._waiting(row)

    def aged(self, receiver: str, before_us: int, limit: int) -> list[Waiting]:
        """Alerts of a receiver that came in before then and still wait, oldest first."""
        with self._file.reading() as run:
            rows = run(
                _WAITING + "WHERE receiver = ? AND state = 'waiting' AND put_at_us < ? "
                "ORDER BY sent_at_us, sequence, alert_id LIMIT ?",
                *(receiver, before_us, limit),
            ).fetchall()
        return list(map(self._waiting, rows))

    def told(self, alert: Alert) -> Told:
        """What the alert's receiver was told of its group."""
        with self._file.reading() as run:
            row = run(
                "SELECT settled_sequence, delivered_at_us, delivered_sequence, standing FROM told "
                "WHERE receiver = ? AND group_key = ?",
                alert.receiver,
                alert.group_key,
            ).fetchone()
        if row is None:
            return Told()
        return Told(row[0], row[1], abs(row[2]), row[2] > 0, None if row[3] is None else self._alert(row[3]))

    def postpone(self, alert: Alert, next_at_us: int) -> None:
        """Don't try it before then; no attempt was made."""
        with self._file.changing() as run:
            run("UPDATE alert SET next_at_us = ? WHERE alert_id = ?", next_at_us, alert.alert_id)

    def begin(self, alert: Alert, now_us: int) -> int:
        """Note that an attempt is made now; gives its number, from 1."""
        with self._file.changing() as run:
            row = run(
                "UPDATE alert SET attempts = attempts + 1, begun_at_us = ? WHERE alert_id = ? RETURNING attempts",
                now_us,
                alert.alert_id,
            ).fetchone()
        return int(row[0])

    def retry(self, delivery: AlertDelivery, next_at_us: int) -> None:
        """The attempt failed; there will be another."""
        with self._file.changing() as run:
            run(
                "UPDATE alert SET begun_at_us = NULL, failures = failures + 1, next_at_us = ?, http_status = ?, "
                "detail = ? WHERE alert_id = ?",
                *(next_at_us, delivery.http_status, delivery.detail, delivery.alert_id),
            )
            self._record(run, delivery)

    def delivered(self, alert: Alert, delivery: AlertDelivery, now_us: int, resend_at_us: int | None = None) -> None:
        """The receiver has it; with `resend_at_us` it is to be said again then, until the group is resolved."""
        standing = None if resend_at_us is None else self._encode(alert)
        sequence = -alert.sequence if is_over(alert) else alert.sequence
        with self._file.changing() as run:
            self._settle(run, alert, "delivered", delivery, now_us)
            run(
                "UPDATE told SET delivered_at_us = ?, delivered_sequence = ?, standing = ?, resend_at_us = ?, "
                "resend_failures = 0 WHERE receiver = ? AND group_key = ?",
                *(alert.sent_at_us, sequence, standing, resend_at_us, alert.receiver, alert.group_key),
            )

    def give_up(self, alert: Alert, delivery: AlertDelivery, now_us: int) -> None:
        """It goes to the dead letters; the next of its group follows.

        Nothing is said again of a group whose resolution could not be told: the receiver's own time ends it.
        """
        with self._file.changing() as run:
            self._settle(run, alert, "dead", delivery, now_us)
            if is_over(alert):
                run(
                    "UPDATE told SET standing = NULL, resend_at_us = NULL WHERE receiver = ? AND group_key = ?",
                    *(alert.receiver, alert.group_key),
                )

    def recover(self, now_us: int) -> int:
        """Note attempts that a killed process had under way; gives how many. They are due at once."""
        with self._file.changing() as run:
            rows = run("SELECT payload, attempts, begun_at_us FROM alert WHERE begun_at_us IS NOT NULL").fetchall()
            for payload, attempts, begun_at_us in rows:
                alert = self._alert(payload)
                self._record(run, delivery_of(alert, attempts, "retrying", _LOST, begun_at_us))
            run(
                "UPDATE alert SET begun_at_us = NULL, next_at_us = min(next_at_us, ?) WHERE begun_at_us NOTNULL", now_us
            )
        return len(rows)

    # --- what has to be said again ------------------------------------------------------------------------------------

    def next_standing(self, receiver: str) -> Standing | None:
        """What is to be said again soonest."""
        with self._file.reading() as run:
            row = run(
                "SELECT standing, resend_at_us, resend_failures FROM told WHERE receiver = ? AND standing IS NOT NULL "
                "ORDER BY resend_at_us LIMIT 1",
                receiver,
            ).fetchone()
        return None if row is None else Standing(self._alert(row[0]), row[1], row[2])

    def resent(self, alert: Alert, now_us: int, resend_at_us: int | None, failures: int) -> None:
        """Said again, or not: when next; None for never."""
        with self._file.changing() as run:
            run(
                "UPDATE told SET standing = iif(?1 IS NULL, NULL, standing), resend_at_us = ?1, resend_failures = ?2, "
                "touched_at_us = ?3 WHERE receiver = ?4 AND group_key = ?5",
                *(resend_at_us, failures, now_us, alert.receiver, alert.group_key),
            )

    # --- endpoints ----------------------------------------------------------------------------------------------------

    def disable(self, receiver: str, why: str, now_us: int) -> None:
        """Send nothing there until it is enabled."""
        with self._file.changing() as run:
            run("INSERT OR IGNORE INTO disabled VALUES (?, ?, ?)", receiver, now_us, why)

    def enable(self, receiver: str) -> bool:
        """Send there again, what waits at once; False where it was not disabled."""
        with self._file.changing() as run:
            run("UPDATE alert SET next_at_us = 0 WHERE receiver = ? AND head = 1", receiver)
            return bool(run("DELETE FROM disabled WHERE receiver = ?", receiver).rowcount)

    def disabled(self) -> dict[str, tuple[int, str]]:
        """Disabled endpoints: since when, and why."""
        with self._file.reading() as run:
            return {row[0]: (row[1], row[2]) for row in run("SELECT receiver, since_us, why FROM disabled")}

    # --- dead letters -------------------------------------------------------------------------------------------------

    def dead(self, receiver: str | None = None, limit: int = 1_000) -> list[Dead]:
        """Alerts that were given up, newest first."""
        with self._file.reading() as run:
            rows = run(
                "SELECT payload, attempts, settled_at_us, http_status, detail FROM alert "
                "WHERE state = 'dead' AND (?1 IS NULL OR receiver = ?1) ORDER BY settled_at_us DESC, alert_id LIMIT ?2",
                receiver,
                limit,
            ).fetchall()
        found = []
        for payload, attempts, settled_at_us, status, detail in rows:
            alert = self._alert(payload)
            known = (alert.alert_id, alert.receiver, alert.group_key, alert.action, alert.sequence)
            found.append(Dead(*known, attempts, settled_at_us, status, detail))
        return found

    def replay(self, now_us: int, *, alert_ids: Sequence[str] | None = None, receiver: str | None = None) -> int:
        """Let dead letters wait again, chosen by id, receiver, both or neither; gives how many."""
        with self._file.changing() as run:
            chosen = [
                (alert_id, name, group)
                for alert_id, name, group in run("SELECT alert_id, receiver, group_key FROM alert WHERE state = 'dead'")
                if (alert_ids is None or alert_id in alert_ids) and receiver in (None, name)
            ]
            for alert_id, _, _ in chosen:
                run(
                    "UPDATE alert SET state = 'waiting', put_at_us = ?, next_at_us = 0, failures = 0, replayed = 1, "
                    "settled_at_us = NULL WHERE alert_id = ?",
                    now_us,
                    alert_id,
                )
            for name, group in {(name, group) for _, name, group in chosen}:
                _choose_head(run, name, group)
        return len(chosen)

    # --- the record ---------------------------------------------------------------------------------------------------

    def records(self, limit: int) -> tuple[int, list[AlertDelivery]]:
        """Attempts not yet in the database, oldest first, and the number to give to `shipped` when they are."""
        with self._file.reading() as run:
            rows = run("SELECT id, payload FROM record ORDER BY id LIMIT ?", limit).fetchall()
        return (rows[-1][0] if rows else 0), [self._delivery(row[1]) for row in rows]

    def shipped(self, last: int) -> None:
        """Attempts up to this number are in the database."""
        with self._file.changing() as run:
            run("DELETE FROM record WHERE id <= ?", last)

    def forget(self, before_us: int) -> int:
        """Drop what was settled before then, and records that nobody takes; gives how many alerts."""
        with self._file.changing() as run:
            dropped = run("DELETE FROM alert WHERE state != 'waiting' AND settled_at_us < ?", before_us).rowcount
            run("DELETE FROM told WHERE touched_at_us < ?", before_us)
            run("DELETE FROM record WHERE id <= (SELECT max(id) FROM record) - ?", MOST_RECORDS)
        return int(dropped)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _waiting(self, row: tuple[Any, ...]) -> Waiting:
        return Waiting(self._alert(row[1]), row[2], row[3], row[4], row[5], bool(row[6]))

    def _settle(self, run: Statements, alert: Alert, state: str, delivery: AlertDelivery, now_us: int) -> None:
        run(
            "UPDATE alert SET state = ?, head = 0, begun_at_us = NULL, settled_at_us = ?, http_status = ?, detail = ? "
            "WHERE alert_id = ?",
            *(state, now_us, delivery.http_status, delivery.detail, alert.alert_id),
        )
        run(
            "INSERT INTO told VALUES (?, ?, ?, ?, 0, 0, NULL, NULL, 0, ?) ON CONFLICT DO UPDATE SET "
            "settled_sequence = iif(excluded.settled_at_us >= settled_at_us, excluded.settled_sequence, "
            "settled_sequence), settled_at_us = max(excluded.settled_at_us, settled_at_us), "
            "touched_at_us = excluded.touched_at_us",
            *(alert.receiver, alert.group_key, alert.sent_at_us, alert.sequence, now_us),
        )
        _choose_head(run, alert.receiver, alert.group_key)
        self._record(run, delivery)

    def _record(self, run: Statements, delivery: AlertDelivery) -> None:
        run("INSERT INTO record (payload) VALUES (?)", self._encode(delivery))


def _choose_head(run: Statements, receiver: str, group_key: str) -> None:
    """Let the first of a group that waits be its head; one that becomes it untried is due at once."""
    first = run(
        "SELECT alert_id, head, attempts FROM alert WHERE state = 'waiting' AND receiver = ? AND group_key = ? "
        "ORDER BY sent_at_us, sequence, alert_id LIMIT 1",
        receiver,
        group_key,
    ).fetchone()
    if first is None or (first[1] and first[2]):
        return
    run(
        "UPDATE alert SET head = 0 WHERE state = 'waiting' AND receiver = ? AND group_key = ? AND head = 1",
        receiver,
        group_key,
    )
    run("UPDATE alert SET head = 1, next_at_us = 0 WHERE alert_id = ?", first[0])
