"""What is in an outbox, in figures: how many alerts wait or are dead, for how long, and what the file takes."""

from sinks.webhooks.outbox_file import OutboxFile


class OutboxFigures:
    """Reads an outbox and changes nothing; shares its file and its lock.

    Every method raises `StateError` where the file can't be read.
    """

    def __init__(self, file: OutboxFile) -> None:
        self._file = file

    def counts(self) -> dict[str, dict[str, int]]:
        """Receiver → state → number of alerts."""
        counted: dict[str, dict[str, int]] = {}
        with self._file.reading() as run:
            for receiver, state, count in run("SELECT receiver, state, count(*) FROM alert GROUP BY 1, 2"):
                counted.setdefault(receiver, {})[state] = count
        return counted

    def waited_for(self) -> list[str]:
        """Receivers that alerts wait for."""
        with self._file.reading() as run:
            return [row[0] for row in run("SELECT DISTINCT receiver FROM alert WHERE state = 'waiting'")]

    def oldest_waiting_us(self, receiver: str) -> int | None:
        """When the alert that waits longest came in."""
        with self._file.reading() as run:
            row = run("SELECT min(put_at_us) FROM alert WHERE state = 'waiting' AND receiver = ?", receiver).fetchone()
        return None if row[0] is None else int(row[0])

    def standing_of_receivers(self) -> dict[str, tuple[dict[str, int], int | None]]:
        """Receiver → its alerts that are `new`, `retrying` or `dead`, and when the one that waits longest came in.

        Cost: over what waits and what is dead, not over what was delivered.
        """
        found: dict[str, tuple[dict[str, int], int | None]] = {}
        with self._file.reading() as run:
            waiting = run(
                "SELECT receiver, iif(failures > 0, 'retrying', 'new'), count(*), min(put_at_us) FROM alert "
                "WHERE state = 'waiting' GROUP BY 1, 2"
            ).fetchall()
            dead = run("SELECT receiver, count(*) FROM alert WHERE state = 'dead' GROUP BY 1").fetchall()
        for receiver, state, count, oldest_us in waiting:
            counts, known_us = found.get(receiver, ({}, None))
            counts[state] = count
            found[receiver] = counts, oldest_us if known_us is None else min(known_us, oldest_us)
        for receiver, count in dead:
            found.setdefault(receiver, ({}, None))[0]["dead"] = count
        return found

    def unrecorded(self) -> int:
        """Attempts that are not in the database yet."""
        with self._file.reading() as run:
            return int(run("SELECT count(*) FROM record").fetchone()[0])

    def size_bytes(self) -> int:
        """What the file takes on disk, its write-ahead log among it."""
        return self._file.size_bytes()
