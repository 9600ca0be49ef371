"""Pods as manifests declare them, typed. A field that is not here is refused: it could change what runs.

Fields of type `object` change nothing that a local process could show: where a pod is scheduled, what it may use, whom
it runs as.
"""

from typing import Literal

import msgspec


class _Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Everything below: unknown fields are errors."""


class _Named(_Spec):
    name: str


class _FieldRef(_Spec):
    field_path: str


class _ValueFrom(_Spec):
    field_ref: _FieldRef


class Variable(_Spec):
    name: str
    value: str = ""
    value_from: _ValueFrom | None = None


class _EnvFrom(_Spec):
    config_map_ref: _Named


class Port(_Spec):
    name: str
    container_port: int
    protocol: Literal["TCP"] = "TCP"


class _HttpGet(_Spec):
    path: str
    port: str | int
    scheme: Literal["HTTP"] = "HTTP"


class Probe(_Spec):
    http_get: _HttpGet
    period_seconds: float = 10.0
    timeout_seconds: float = 1.0
    failure_threshold: int = 3
    success_threshold: Literal[1] = 1
    initial_delay_seconds: float = 0.0


class Mount(_Spec):
    name: str
    mount_path: str
    sub_path: str = ""
    read_only: bool = False


class Container(_Spec):
    name: str
    image: str
    command: list[str] | None = None
    args: list[str] | None = None
    env: list[Variable] = []
    env_from: list[_EnvFrom] = []
    ports: list[Port] = []
    volume_mounts: list[Mount] = []
    startup_probe: Probe | None = None
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    resources: object = None
    security_context: object = None


class _Item(_Spec):
    key: str
    path: str


class _SecretSource(_Spec):
    name: str
    items: list[_Item]
    optional: bool = False


class _Source(_Spec):
    secret: _SecretSource


class _Projected(_Spec):
    sources: list[_Source]
    default_mode: object = None


class _EmptyDir(_Spec):
    size_limit: object = None


class _Claim(_Spec):
    claim_name: str


class Volume(_Spec):
    name: str
    config_map: _Named | None = None
    projected: _Projected | None = None
    empty_dir: _EmptyDir | None = None
    persistent_volume_claim: _Claim | None = None


class PodSpec(_Spec):
    containers: list[Container]
    #: Services as variables are not made here.
    enable_service_links: Literal[False]
    #: No API answers here.
    automount_service_account_token: Literal[False]
    init_containers: list[Container] = []
    volumes: list[Volume] = []
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    termination_grace_period_seconds: float = 30.0
    service_account_name: object = None
    affinity: object = None
    security_context: object = None


class Meta(_Spec):
    labels: dict[str, str] = {}


class Template(_Spec):
    metadata: Meta
    spec: PodSpec


class _Selector(_Spec):
    match_labels: dict[str, str]


class _Strategy(_Spec):
    type: Literal["OnDelete"]


class _Retention(_Spec):
    when_deleted: Literal["Retain"]
    when_scaled: Literal["Retain"]


class _ClaimMeta(_Spec):
    name: str
    labels: object = None


class _ClaimTemplate(_Spec):
    metadata: _ClaimMeta
    spec: object
    api_version: object = None
    kind: object = None


class SetSpec(_Spec):
    """A StatefulSet's `spec`; the values that are read as they stand are those the controller here knows."""

    replicas: int
    service_name: str
    template: Template
    selector: _Selector
    volume_claim_templates: list[_ClaimTemplate]
    pod_management_policy: Literal["Parallel"]
    update_strategy: _Strategy
    persistent_volume_claim_retention_policy: _Retention


class JobSpec(_Spec):
    """A Job's `spec`."""

    template: Template
    backoff_limit: int = 6
    active_deadline_seconds: float | None = None
    ttl_seconds_after_finished: object = None
