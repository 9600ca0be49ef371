"""What is wrong with the settings of delivery: everything at once, each with key, value and what is accepted.

Values that may be secrets, put where they don't belong, are never shown.
"""

import ipaddress
import re
import ssl
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import get_args
from urllib.parse import urlsplit

from msgspec.structs import replace

from schemas.accepted import as_toml
from schemas.durations import SECOND_US, Duration
from schemas.problems import Problem, path_text
from schemas.toml_lines import KeyPath, line_of
from sinks.webhooks.receivers.choice import url_of
from sinks.webhooks.secret_values import ACCEPTS, is_reference, read_secret
from sinks.webhooks.settings import PUBLIC_URLS, DeliverySettings, Kind, ReceiverSettings
from sinks.webhooks.signing import signing_key
from sinks.webhooks.template import Template

#: One thread each: more endpoints than these want another process.
MOST_RECEIVERS = 64
_LONGEST_WAIT_S = 120
_SIGNED = ("standard", "alertmanager_webhook", "cloudevents")
_KEYED = ("pagerduty", "jsm")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,1000}")
_OURS = re.compile(
    r"content-|host$|connection$|transfer-|expect$|te$|trailer$|upgrade$|webhook-|ce-|idempotency-key$", re.IGNORECASE
)
_SECRET_NAME = re.compile(r"auth|secret|token|key|password|cookie|signature", re.IGNORECASE)


#: Where below `[delivery]`, what stands there (empty where it may be a secret), what is accepted.
_Told = tuple[KeyPath, str, str]


def find_problems(
    settings: DeliverySettings,
    environment: Mapping[str, str] | None = None,
    *,
    file: str = "settings",
    text: str = "",
    untyped: Container[int] = (),
) -> list[Problem]:
    """Every problem; secrets are read, nothing is connected to.

    `text` is the document, for its lines. Of receivers whose number is in `untyped` the type is not known: told is what
    is wrong whichever it is.
    """
    told = list(_of_times(settings))
    if len(settings.receiver) > MOST_RECEIVERS:
        told.append((("receiver",), str(len(settings.receiver)), f"must be at most {MOST_RECEIVERS}"))
    names: set[str] = set()
    for index, receiver in enumerate(settings.receiver):
        kinds = get_args(Kind) if index in untyped else (receiver.type,)
        found = _of_any(receiver, kinds, environment)
        if receiver.name in names:
            found.append((("name",), as_toml(receiver.name), "is another receiver's, too: each needs its own"))
        names.add(receiver.name)
        told += [(("receiver", index, *path), value, expected) for path, value, expected in found]
    paths = [(("delivery", *path), value, expected) for path, value, expected in told]
    return [Problem(file, path_text(path), value, expected, line_of(text, path)) for path, value, expected in paths]


def _of_any(receiver: ReceiverSettings, kinds: Iterable[Kind], environment: Mapping[str, str] | None) -> list[_Told]:
    """What is wrong with a receiver whichever of the kinds it is."""
    first, *others = [list(_of_receiver(replace(receiver, type=kind), environment)) for kind in kinds]
    return [told for told in first if all(told in other for other in others)]


def _of_times(settings: DeliverySettings) -> Iterator[_Told]:
    for name in ("connect_timeout", "read_timeout", "total_timeout", "stop_within"):
        if getattr(settings, name) > _LONGEST_WAIT_S * SECOND_US:
            yield (name,), as_toml(getattr(settings, name).written), f'must be at most "{_LONGEST_WAIT_S}s"'
    for shorter, longer in (
        ("retry_first", "retry_longest"),
        ("breaker_pause", "breaker_longest"),
        ("stale_after", "keep"),
        ("overlap", "keep"),
        ("give_up_after", "keep"),
    ):
        if getattr(settings, longer) < getattr(settings, shorter):
            least = getattr(settings, shorter).written
            yield (longer,), as_toml(getattr(settings, longer).written), f'must be at least {shorter} ("{least}")'
    for part in ("poll", "total_timeout"):  # a turn of a thread takes so long where nothing is wrong with it
        if settings.stalled_after < 2 * getattr(settings, part):
            least = Duration(2 * getattr(settings, part)).written
            yield (
                ("stalled_after",),
                as_toml(settings.stalled_after.written),
                f'must be at least twice {part} ("{least}")',
            )


def _of_receiver(receiver: ReceiverSettings, environment: Mapping[str, str] | None) -> Iterator[_Told]:
    yield from _of_url(receiver, environment)
    yield from _of_secrets(receiver, environment)
    yield from _of_headers(receiver.headers)
    for key in ("summary", "link", "image"):
        text = getattr(receiver, key)
        try:
            Template(text)
        except ValueError as error:
            yield (key,), as_toml(text), str(error)
        if key != "summary" and text and not text.startswith(("https://", "http://")):
            yield (
                (key,),
                as_toml(text),
                "must be a URL beginning with https:// (or http://), with fields behind its host",
            )
    for index, network in enumerate(receiver.allow_networks):
        try:
            ipaddress.ip_network(network)
        except ValueError:
            yield ("allow_networks", index), as_toml(network), 'must be a network such as "10.1.0.0/16" or "fd00::/8"'
    if receiver.ca_file:
        try:
            ssl.create_default_context(cafile=receiver.ca_file)
        except (OSError, ValueError) as error:  # a ValueError: no file can be called so
            yield (
                ("ca_file",),
                as_toml(receiver.ca_file),
                f"must be a file of PEM certificates: {getattr(error, 'strerror', None) or error}",
            )
    if receiver.type == "cloudevents" and not receiver.source:
        yield ("source",), '""', "must be the URI that names this Andon as the source of events"
    if receiver.type == "alertmanager" and receiver.resolve_after < 3 * SECOND_US:
        yield ("resolve_after",), as_toml(receiver.resolve_after.written), 'must be at least "3s"'


def _of_url(receiver: ReceiverSettings, environment: Mapping[str, str] | None) -> Iterator[_Told]:
    try:
        url = url_of(receiver, environment).reveal()
    except ValueError as error:
        yield ("url",), as_toml(receiver.url), str(error)
        return
    shown = as_toml(receiver.url) if is_reference(receiver.url) else ""
    if not url:
        public = ", ".join(sorted(PUBLIC_URLS))
        yield ("url",), "", f"is missing; only {public} have one by default"
        return
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        yield ("url",), shown, "must be a URL such as https://HOST/PATH"
        return
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0 or not url.isascii():
        yield ("url",), shown, "must be a URL such as https://HOST/PATH, in ASCII"
    elif any(character.isspace() or not character.isprintable() for character in url):
        yield ("url",), shown, "must not have spaces or control characters"
    elif parts.scheme == "http" and not receiver.allow_http:
        yield (
            ("url",),
            shown,
            "must begin with https://; what is sent over http:// can be read (allow_http = true allows it)",
        )
    if parts.username or parts.password:
        yield ("url",), shown, "must not hold a user or password: use authorization"
    if parts.fragment:
        yield ("url",), shown, "must not have a part behind #"
    if parts.query and receiver.type in ("alertmanager", "jsm"):
        yield ("url",), shown, "must not have a query: paths are put behind it"


def _of_secrets(receiver: ReceiverSettings, environment: Mapping[str, str] | None) -> Iterator[_Told]:
    named: dict[KeyPath, str] = {("secrets", index): one for index, one in enumerate(receiver.secrets)}
    for key, one in {**named, ("key",): receiver.key, ("authorization",): receiver.authorization}.items():
        if not one:
            continue
        if not is_reference(one):
            yield key, "", ACCEPTS
            continue
        try:
            secret = read_secret(one, environment)
            if key in named:
                signing_key(secret)
            elif not _HEADER_VALUE.fullmatch(secret.reveal()):
                yield key, as_toml(one), "must hold printable ASCII, at most 1000 characters"
        except ValueError as error:
            yield key, as_toml(one), str(error)
    yield from _of_kind(receiver)


def _of_kind(receiver: ReceiverSettings) -> Iterator[_Told]:
    """Which secrets a kind of receiver needs, and which are of no use to it."""
    if receiver.type == "standard" and not receiver.secrets:
        yield ("secrets",), "", f"is missing: messages are signed with it; each {ACCEPTS}"
    if receiver.secrets and receiver.type not in _SIGNED:
        yield ("secrets",), "", f"are for {', '.join(_SIGNED)}: nothing is signed for {receiver.type}"
    if receiver.type in _KEYED and not receiver.key:
        yield ("key",), "", f"is missing: the service knows you by it; {ACCEPTS}"
    if receiver.key and receiver.type not in _KEYED:
        yield ("key",), "", f"is for {', '.join(_KEYED)}; {receiver.type} has none"
    if receiver.authorization and receiver.type == "jsm":
        yield ("authorization",), "", "is made of key for jsm"


def _of_headers(headers: Mapping[str, str]) -> Iterator[_Told]:
    for name, value in headers.items():
        key: KeyPath = ("headers", name) if _HEADER_NAME.fullmatch(name) else ("headers",)
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            yield key, "", "must be a header's name and printable ASCII of at most 1000 characters"
        elif _OURS.match(name):
            yield key, "", "is not yours to set"
        elif _SECRET_NAME.search(name):
            yield key, "", "looks like a secret: use authorization, which takes it from a file or the environment"
