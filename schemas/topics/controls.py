"""Topic `controls`: what people tell Andon about its alerts."""

from typing import Literal

from schemas.topics.base import EventBase, Id, Label, Text, Time


class _Control(EventBase, frozen=True, kw_only=True, gc=False):
    """What a person tells Andon. It goes through the log, so that a replay knows it when the live job did."""

    system: Literal["andon"]  # type: ignore[assignment] # no business system says this, and Andon no business fact
    created_by: Label
    comment: Text | None = None


class SilenceCreated(_Control, frozen=True, kw_only=True, gc=False, tag="silence.created"):
    """Alerts about what all of `matchers` fit are not to be told for a while; the same id again replaces it."""

    silence_id: Id
    matchers: list[Text]
    ends_at: Time
    starts_at: Time | None = None


class SilenceExpired(_Control, frozen=True, kw_only=True, gc=False, tag="silence.expired"):
    """The silence ends now."""

    silence_id: Id


class IncidentAcknowledged(_Control, frozen=True, kw_only=True, gc=False, tag="incident.acknowledged"):
    """Somebody sees to the incident: it need not be told again, until `until` where that is given."""

    incident_id: Id
    until: Time | None = None


class IncidentUnacknowledged(_Control, frozen=True, kw_only=True, gc=False, tag="incident.unacknowledged"):
    """Nobody sees to the incident any more."""

    incident_id: Id
