"""Silences: what is not to be told for a while, and by whose word."""

import msgspec

from operators.alerting.matchers import Labels, Matcher, all_fit, parse_matchers
from operators.alerting.state import Quiet
from schemas.durations import to_us
from schemas.events import SilenceCreated, SilenceExpired
from schemas.incident_rows import Silence

#: Who ends what nobody ended.
SELF = "andon"


class Silences:
    """The silences that have not ended, by id.

    One that can't be used (no matchers, matchers that fit everything or can't be read, an end that is not after its
    beginning, or `MAX_SILENCES` there already) is on record as ended when it came, with the reason as its comment.

    `version` is that of the last row. Memory: a record for each silence until its end.
    """

    MAX_SILENCES = 10_000

    def __init__(self) -> None:
        self.kept: dict[str, Quiet] = {}
        self.version = 0
        self._matchers: dict[str, tuple[Matcher, ...]] = {}

    def create(self, event: SilenceCreated, now_us: int) -> Silence:
        """Begin a silence, or replace the one of the same id."""
        starts_us = now_us if event.starts_at is None else to_us(event.starts_at)
        previous = self.kept.get(event.silence_id)
        version = self._next_version(now_us)
        quiet = Quiet(
            event.silence_id,
            event.matchers,
            starts_us,
            to_us(event.ends_at),
            event.created_by,
            event.comment or "",
            version,
        )
        try:
            matchers = self._usable(quiet, now_us)
        except ValueError as error:
            if previous is not None:  # which stays in force
                quiet = self.kept[quiet.silence_id] = msgspec.structs.replace(previous, version=version)
            said = f"refused: {error}"
            return silence_row(quiet, now_us, version=version, ended_by="" if previous else SELF, comment=said)
        self.kept[quiet.silence_id] = quiet
        self._matchers[quiet.silence_id] = matchers
        return silence_row(quiet, now_us)

    def expire(self, event: SilenceExpired, now_us: int) -> list[Silence]:
        """End a silence; nothing where there is none of that id (any more)."""
        quiet = self.kept.get(event.silence_id)
        if quiet is None:
            return []
        self._forget(quiet.silence_id)
        comment = " / ".join(filter(None, (quiet.comment, event.comment)))
        version = self._next_version(now_us)
        return [silence_row(quiet, now_us, version=version, ended_by=event.created_by, comment=comment)]

    def end(self, silence_id: str, now_us: int) -> None:
        """Let go of a silence whose end has come; nothing where it was replaced by one that ends later."""
        quiet = self.kept.get(silence_id)
        if quiet is not None and quiet.ends_us <= now_us:
            self._forget(silence_id)

    def quietened_by(self, labels: Labels, now_us: int) -> Quiet | None:
        """The silence that is on and fits, the one that ends last; None where none does."""
        fitting = (
            quiet
            for quiet in self.kept.values()
            if quiet.starts_us <= now_us < quiet.ends_us and all_fit(self._matchers[quiet.silence_id], labels)
        )
        return max(fitting, key=lambda quiet: (quiet.ends_us, quiet.silence_id), default=None)

    def restore(self, kept: dict[str, Quiet], version: int) -> None:
        """Take over what a snapshot has."""
        self.kept, self.version = kept, version
        self._matchers = {silence_id: parse_matchers(quiet.matchers) for silence_id, quiet in kept.items()}

    def _usable(self, quiet: Quiet, now_us: int) -> tuple[Matcher, ...]:
        matchers = parse_matchers(quiet.matchers)
        if all_fit(matchers, {}):
            raise ValueError("at least one matcher must ask for a label that is there, or it would silence everything")
        if quiet.ends_us <= max(quiet.starts_us, now_us):
            raise ValueError("its end is not after its beginning, or has passed")
        if quiet.silence_id not in self.kept and len(self.kept) >= self.MAX_SILENCES:
            raise ValueError(f"there are {self.MAX_SILENCES:,} silences already")
        return matchers

    def _next_version(self, now_us: int) -> int:
        """Above that of any row before, even of one of the same time whose silence is not kept any more."""
        self.version = max(now_us, self.version + 1)
        return self.version

    def _forget(self, silence_id: str) -> None:
        del self.kept[silence_id], self._matchers[silence_id]


def silence_row(
    quiet: Quiet, now_us: int, *, version: int | None = None, ended_by: str = "", comment: str | None = None
) -> Silence:
    """What is on record of a silence; where somebody ended it, it ends now."""
    return Silence(
        silence_id=quiet.silence_id,
        incident_id="",
        matchers=quiet.matchers,
        starts_at_us=quiet.starts_us,
        ends_at_us=now_us if ended_by else quiet.ends_us,
        created_by=quiet.created_by,
        comment=quiet.comment if comment is None else comment,
        expired_by=ended_by,
        arrival_us=now_us,
        version=quiet.version if version is None else version,
    )
