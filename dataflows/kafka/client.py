"""Properties of the Kafka client library: the user's, with secrets from files or the environment, and ours."""

import os
import re
from collections.abc import Mapping
from logging import CRITICAL, getLogger
from pathlib import Path
from typing import TypeAlias

from confluent_kafka import Consumer, KafkaException, Producer

from dataflows.settings import KAFKA_VARIABLES as SECRETS
from dataflows.settings import KafkaSettings
from schemas.accepted import as_toml
from schemas.errors import SettingsError
from schemas.problems import Problem

Property: TypeAlias = str | int | bool
Properties = dict[str, Property]

_FILE = ".file"
_SECRET = re.compile(r"(password|passphrase|secret|\.pem$)")
#: Properties that correctness hangs on; setting them otherwise would lose or repeat messages.
_OURS: Properties = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "error",
    "allow.auto.create.topics": False,
    "isolation.level": "read_committed",
}
#: The same of the producer of dead letters: where a broker has forgotten it, an idempotent one would never go on.
_OUR_PRODUCER: Properties = {"acks": "all", "enable.idempotence": False}
_NOT_SETTABLE = {*_OURS, *_OUR_PRODUCER, "request.required.acks", "transactional.id", "delivery.report.only.error"}
#: What the library for Python takes beside properties, none of it text.
_CODE = re.compile(r"_cb$|^(logger|on_commit|on_delivery|default\.topic\.config)$")
_NAMED_ELSEWHERE = {
    "bootstrap.servers": "kafka.bootstrap",
    "metadata.broker.list": "kafka.bootstrap",
    "group.id": "kafka.group",
}
#: How the properties begin that only consumers know.
_CONSUMERS = (
    *("auto.", "check.crcs", "consume.", "coordinator.query.", "fetch.", "group.", "heartbeat.", "max.partition."),
    *("max.poll.", "offset.store.", "partition.assignment.", "queued.", "session.", "share."),
)
#: What a person may change in `kafka.client`.
_DEFAULTS: Properties = {
    "client.id": "andon",
    "fetch.wait.max.ms": 100,
    "fetch.error.backoff.ms": 200,
    "fetch.queue.backoff.ms": 10,  # the library's second of pause whenever its queue was full would halve the speed
    "reconnect.backoff.ms": 500,
    "topic.metadata.refresh.interval.ms": 10_000,
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 16_384,
    "socket.keepalive.enable": True,
    "log.connection.close": False,
}


def is_secret(name: str) -> bool:
    """Whether a property holds what must not be shown."""
    return bool(_SECRET.search(name)) and not name.endswith((".location", _FILE))


def secret_variable(name: str) -> str:
    """The environment variable that a secret property may come from: `ANDON_KAFKA_SECRET_SASL_PASSWORD`."""
    return SECRETS + name.upper().replace(".", "_")


def consumer_properties(settings: KafkaSettings, environment: Mapping[str, str] | None = None) -> Properties:
    """Everything a consumer is made with.

    Raises:
        SettingsError: a property is not the user's to set, holds a secret openly, or names a file that can't be read.
    """
    return _DEFAULTS | _common(settings, environment) | _OURS | {"group.id": settings.group}


def producer_properties(settings: KafkaSettings, environment: Mapping[str, str] | None = None) -> Properties:
    """Everything the producer of dead letters is made with."""
    return admin_properties(settings, environment) | _OUR_PRODUCER


def admin_properties(settings: KafkaSettings, environment: Mapping[str, str] | None = None) -> Properties:
    """Everything that one who reads no messages is made with: properties that only consumers know are left out."""
    ours: Properties = {"client.id": "andon", "log.connection.close": False, "reconnect.backoff.ms": 500}
    common = _common(settings, environment)
    return ours | {name: value for name, value in common.items() if not name.startswith(_CONSUMERS)}


def _common(settings: KafkaSettings, environment: Mapping[str, str] | None) -> Properties:
    variables = os.environ if environment is None else environment
    problems: list[Problem] = []
    properties: Properties = {"bootstrap.servers": settings.bootstrap}
    if not settings.group:
        problems.append(Problem("kafka", "group", '""', "must name the consumer group that positions are committed to"))
    for name, value in settings.client.items():
        try:
            properties |= _accepted(name, value)
        except ValueError as error:
            shown = "" if is_secret(name) else as_toml(value)
            problems.append(Problem("kafka", f'client."{name}"', shown, str(error)))
    for variable, value in variables.items():
        if variable.startswith(SECRETS):
            name = variable.removeprefix(SECRETS).lower().replace("_", ".")
            try:
                _refuse_ours(name)
            except ValueError as error:
                problems.append(Problem("kafka", "client", "", f"{variable}: {name} {error}"))
            properties[name] = value
    if problems:
        raise SettingsError(problems)
    return properties


def _accepted(name: str, value: Property) -> Properties:
    """A property as the library gets it.

    Raises:
        ValueError: why it can't be.
    """
    _refuse_ours(name)
    if "\0" in f"{name}{value}":
        raise ValueError("must not hold a NUL, at which the client library would cut it off")
    if is_secret(name):
        raise ValueError(f'is a secret: name a file that holds it ("{name}{_FILE}"), or set {secret_variable(name)}')
    secret = name.removesuffix(_FILE)
    if secret != name and is_secret(secret):
        return {secret: _first_line(str(value), secret)}
    return {name: value}


def _refuse_ours(name: str) -> None:
    """Refuse a property that is not the user's to set.

    Raises:
        ValueError: why it isn't.
    """
    if name in _NAMED_ELSEWHERE:
        raise ValueError(f"is set by {_NAMED_ELSEWHERE[name]}")
    if name in _NOT_SETTABLE:
        raise ValueError("can't be set: what the job promises hangs on it")
    if _CODE.search(name):
        raise ValueError("can't be set: it is no property but a piece of code")


def _first_line(path: str, name: str) -> str:
    """The secret in a file: a PEM as it is, else its first line."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"can't be read: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None
    secret = text if ".pem" in name else text.split("\n", 1)[0]
    if not secret:
        raise ValueError("must hold the secret in its first line, and is empty")
    return secret


def check_client(settings: KafkaSettings) -> None:
    """Let the library judge the properties; nothing is connected to.

    Raises:
        SettingsError: it does not take them.
    """
    if not settings.bootstrap:
        return
    nowhere = {"bootstrap.servers": ""}
    quiet = getLogger("andon.kafka.check")
    quiet.setLevel(CRITICAL)
    try:
        Consumer(consumer_properties(settings) | nowhere, logger=quiet).close()
        if settings.dead_letter_topic:
            Producer(producer_properties(settings) | nowhere, logger=quiet)
    except KafkaException as error:
        words = error.args[0].str() if error.args and hasattr(error.args[0], "str") else str(error)
        named = (f'client."{name}"' for name in settings.client if f'"{name}"' in words)
        problem = Problem("kafka", next(named, "client"), "", f"the client library refuses it: {words}")
        raise SettingsError([problem]) from None
