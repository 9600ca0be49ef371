"""What the log of `andon deliver` says: lifecycle and the abnormal. Each attempt is in the record, not here."""

from collections.abc import Sequence

from dataflows.logs import get_log
from schemas.durations import SECOND_US, people_duration
from schemas.errors import StoreUnavailable
from schemas.incident_rows import Alert
from sinks.webhooks.receivers.choice import Endpoint
from sinks.webhooks.verdicts import Verdict


class DeliveryLog:
    """A `DeliveryWatch` whose words go to the log."""

    def __init__(self) -> None:
        self._log = get_log("delivery")

    def turned(self, thread: str) -> None:
        """Nothing: a turn is normal running."""

    def attempted(self, alert: Alert, attempt: int, verdict: Verdict, latency_ms: float) -> None:
        """An attempt was made."""
        words = f"{alert.receiver}: {verdict.outcome}, {verdict.detail}"
        self._log.debug("attempted", words, alert_id=alert.alert_id, attempt=attempt, latency_ms=round(latency_ms, 1))

    def given_up(self, alert: Alert, why: str) -> None:
        """An alert went to the dead letters."""
        words = f"an alert to {alert.receiver} was given up (`andon deliver dead list`): {why}"
        self._log.error("alert_given_up", words, key=alert.receiver, alert_id=alert.alert_id)

    def disabled(self, receiver: str, why: str) -> None:
        """An endpoint is gone."""
        words = (
            f"{receiver} says that it is gone ({why}): nothing is sent there until `andon deliver enable {receiver}`"
        )
        self._log.error("endpoint_disabled", words, key=receiver, receiver=receiver)

    def endpoint(self, receiver: str, why: str) -> None:
        """The breaker opened or closed."""
        if why:
            words = f"{receiver} takes nothing ({why}): its alerts wait"
            self._log.warning("endpoint_failing", words, key=receiver, receiver=receiver)
        else:
            self._log.info("endpoint_back", f"{receiver} takes alerts again", receiver=receiver)

    def begun(self, endpoints: Sequence[Endpoint], source: str, lost: int) -> None:
        """The process delivers."""
        listed = ", ".join(f"{one.name} ({one.shown})" for one in endpoints)
        words = f"delivering alerts {source} to {listed}"
        self._log.info("started", words, **({"attempts_cut_short": lost} if lost else {}))

    def no_intake(self, dsn: str) -> None:
        """The database is an embedded one."""
        words = f"no new alerts come in: {dsn} is open to its job alone; delivery needs a server (clickhouse.dsn)"
        self._log.warning("no_intake", words)

    def ended(self, *, waited_out: bool) -> None:
        """It has ended as it was asked to."""
        words = "stopped" if waited_out else "stopped; what was still under way is done again at the next start"
        self._log.info("stopped", words)

    def store_away(self, error: StoreUnavailable) -> None:
        """The database can't be asked."""
        words = "ClickHouse does not answer: no new alerts come in meanwhile; what is in the outbox is delivered"
        self._log.warning("store_away", words, error=str(error))

    def store_back(self, away_s: float) -> None:
        """It can again."""
        self._log.info("store_back", f"ClickHouse answers again, after {people_duration(away_s * SECOND_US)}")
