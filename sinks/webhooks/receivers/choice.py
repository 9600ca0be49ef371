"""From settings to receivers: which class, with which templates, keys and secrets."""

import re
from collections.abc import Callable, Mapping
from urllib.parse import unquote

import msgspec

from sinks.webhooks.receivers.alertmanager import Alertmanager
from sinks.webhooks.receivers.alertmanager_webhook import AlertmanagerWebhook
from sinks.webhooks.receivers.cloudevents import CloudEvent
from sinks.webhooks.receivers.jsm import JsmOperations
from sinks.webhooks.receivers.pagerduty import PagerDuty
from sinks.webhooks.receivers.parts import Parts
from sinks.webhooks.receivers.slack import Slack
from sinks.webhooks.receivers.standard import StandardWebhook
from sinks.webhooks.request import Receiver
from sinks.webhooks.secret_values import Secret, is_reference, read_secret
from sinks.webhooks.settings import PUBLIC_URLS, ReceiverSettings
from sinks.webhooks.signing import PREFIX, signing_key
from sinks.webhooks.template import Template

RECEIVERS: dict[str, Callable[[Parts], Receiver]] = {
    "standard": StandardWebhook,
    "pagerduty": PagerDuty,
    "alertmanager": Alertmanager,
    "alertmanager_webhook": AlertmanagerWebhook,
    "slack": Slack,
    "cloudevents": CloudEvent,
    "jsm": JsmOperations,
}

#: Between the parts of a URL's path and query.
_BETWEEN = re.compile(r"[/?&=;]")


class Endpoint(msgspec.Struct, frozen=True):
    """A receiver ready for use: how it is told, where it is, and what must not be shown of that.

    `url` may be a secret itself; `shown` is what logs say of it. `secrets` are struck out of whatever it answers.
    """

    name: str
    receiver: Receiver
    url: Secret
    shown: str
    authorization: Secret | None
    headers: dict[str, str]
    allow_networks: tuple[str, ...]
    ca_file: str
    secrets: tuple[Secret, ...]


def endpoint_of(settings: ReceiverSettings, environment: Mapping[str, str] | None = None) -> Endpoint:
    """The endpoint that `settings` declare.

    Raises:
        ValueError: a secret is not there, or a template can't be used (`find_problems` says all of them, and where).
    """
    url = url_of(settings, environment)
    secrets = [read_secret(one, environment) for one in settings.secrets]
    key = read_secret(settings.key, environment) if settings.key else None
    authorization = read_secret(settings.authorization, environment) if settings.authorization else None
    parts = Parts(
        summary=Template(settings.summary),
        link=Template(settings.link),
        image=Template(settings.image),
        signing=tuple(map(signing_key, secrets)),
        key=key,
        binary=settings.mode == "binary",
        source=settings.source,
        resolve_after_us=settings.resolve_after,
    )
    hidden = [*secrets, *(Secret(one.reveal().removeprefix(PREFIX)) for one in secrets)]
    hidden += [one for one in (key, authorization) if one is not None]
    if authorization is not None:  # receivers say which token they don't take, without the word before it
        hidden.append(Secret(authorization.reveal().split(maxsplit=1)[-1]))
    if is_reference(settings.url):
        hidden += [url, *map(Secret, _pieces(url.reveal()))]
    return Endpoint(
        name=settings.name,
        receiver=RECEIVERS[settings.type](parts),
        url=url,
        shown=_shown(url.reveal()),
        authorization=authorization,
        headers=dict(settings.headers),
        allow_networks=settings.allow_networks,
        ca_file=settings.ca_file,
        secrets=tuple(hidden),
    )


def url_of(settings: ReceiverSettings, environment: Mapping[str, str] | None = None) -> Secret:
    """Where the receiver is: as set, as the file or variable says, or where its kind always is.

    Raises:
        ValueError: the file or variable is not there.
    """
    if is_reference(settings.url):
        return read_secret(settings.url, environment)
    return Secret(settings.url or PUBLIC_URLS.get(settings.type, ""))


def _pieces(url: str) -> list[str]:
    """What a receiver may repeat of a URL that is a secret: all behind its host, or a part of it, encoded or not."""
    behind = url.partition("://")[2].partition("/")[2]
    parts = _BETWEEN.split(behind)
    return [behind, *parts, *map(unquote, parts)]


def _shown(url: str) -> str:
    """Scheme and host of a URL: its path and query may be secrets."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0].rpartition('@')[2]}"
