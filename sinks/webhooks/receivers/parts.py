"""What receivers are made of: their settings with templates parsed and secrets read."""

import msgspec

from schemas.durations import MINUTE_US
from schemas.incident_rows import Alert
from sinks.webhooks.secret_values import Secret
from sinks.webhooks.settings import DEFAULT_SUMMARY
from sinks.webhooks.signing import signature_headers
from sinks.webhooks.template import Template


class Parts(msgspec.Struct, frozen=True):
    """What a receiver may use of its settings. `signing` are the keys of its `whsec_` secrets."""

    summary: Template = Template(DEFAULT_SUMMARY)
    link: Template = Template("")
    image: Template = Template("")
    signing: tuple[bytes, ...] = ()
    key: Secret | None = None
    binary: bool = False
    source: str = "/andon"
    resolve_after_us: int = 5 * MINUTE_US

    def signed(self, alert_key: str, now_us: int, body: bytes) -> dict[str, str]:
        """The headers of a signature, none where there are no secrets."""
        return signature_headers(self.signing, alert_key, now_us // 1_000_000, body) if self.signing else {}

    def revealed_key(self) -> str:
        """The key of a service that wants one; settings are refused without."""
        assert self.key is not None
        return self.key.reveal()

    def link_of(self, alert: Alert) -> str:
        """Where a person looks at the incident, empty where nothing is set."""
        return self.link.fill_url(alert)
