"""The rights that docs/security.md gives on the broker, as data; and a broker that gives nobody any others."""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, NamedTuple

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from tests.docs_pages import DOCS, page_of
from tests.kafka_broker import ApacheKafka
from tests.tcp_proxy import TcpProxy

USER = "andon"
_PASSWORD = "not-a-secret"  # noqa: S105 - of a broker that a test made
_KINDS = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP}


class Right(NamedTuple):
    """What a user may do to what: `Right("Read", "topic", "orders")`."""

    operation: str
    kind: str
    name: str


def of_commands() -> set[Right]:
    """What the page's commands give the job."""
    page = page_of(DOCS / "security.md", (DOCS / "security.md").read_text(encoding="utf-8"))
    (block,) = [block for block in page.blocks if "kafka-acls.sh" in block.text]
    loop = r"for topic in (.+); do\n(.+\n(?:.+\n)*?)done\n"
    text = block.text.replace("\\\n", " ")
    once = re.sub(
        loop,
        lambda found: "".join(found[2].replace('"$topic"', name) for name in found[1].split()),
        text,
    )
    found: set[Right] = set()
    for line in once.splitlines():
        program, *words = shlex.split(line)
        assert program == "kafka-acls.sh", line
        told = [(words[at], words[at + 1]) for at in range(len(words) - 1)]
        assert ("--allow-principal", f"User:{USER}") in told, line
        operations = [value for name, value in told if name == "--operation"]
        aims = [(name.removeprefix("--"), value) for name, value in told if name in ("--topic", "--group")]
        assert operations, line
        assert aims, line
        found |= {Right(operation, kind, name) for operation in operations for kind, name in aims}
    return found


def of_table() -> set[Right]:
    """What the page's table says of the job: its rows until the next principal."""
    text = (DOCS / "security.md").read_text(encoding="utf-8").partition("\n## Kafka\n")[2]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    begin = next(at for at, row in enumerate(rows) if row[0].startswith(f"`{USER}`"))
    found: set[Right] = set()
    for row in rows[begin:]:
        if row[0] and row is not rows[begin]:
            break
        kind = row[1].split()[0].rstrip("s")
        found |= {
            Right(operation.strip().title().replace("_", ""), kind, name)
            for operation in row[2].split(",")
            for name in re.findall(r"`([^`]+)`", row[1])
        }
    return found


class ApacheWithRights(ApacheKafka):
    """Apache Kafka that asks who comes over `bootstrap` for a password, and lets them do what they have a right to.

    The test itself writes by the other listener, where all may do everything.
    """

    #: What the job's client needs.
    client: ClassVar[dict[str, str]] = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": USER,
    }

    def __init__(self) -> None:
        super().__init__(proxy=TcpProxy())

    def password_file(self, folder: Path) -> Path:
        file = folder / "kafka-password"
        file.write_text(_PASSWORD)
        return file

    def stop(self) -> None:
        super().stop()
        if self.proxy is not None:
            self.proxy.close()

    def give(self, rights: Iterable[Right]) -> None:
        """The user's rights from now on, and no others."""
        every = AclBindingFilter(
            ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
        )
        for done in self.admin.delete_acls([every]).values():
            done.result(60)
        bindings = [
            AclBinding(
                _KINDS[right.kind],
                right.name,
                ResourcePatternType.LITERAL,
                f"User:{USER}",
                "*",
                AclOperation[re.sub(r"\B([A-Z])", r"_\1", right.operation).upper()],
                AclPermissionType.ALLOW,
            )
            for right in rights
        ]
        for done in self.admin.create_acls(bindings).values():
            done.result(60)
        self._wait_until(lambda: len(self.admin.describe_acls(every).result(60)) == len(bindings), "the rights")

    def _properties(self) -> str:
        login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        more = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "listener.name.proxied.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.proxied.plain.sasl.jaas.config": f'{login} user_{USER}="{_PASSWORD}";',
        }
        lines = "".join(f"{name}={value}\n" for name, value in more.items())
        return super()._properties().replace("PROXIED:PLAINTEXT", "PROXIED:SASL_PLAINTEXT") + lines
