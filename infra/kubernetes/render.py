"""Render the overlays with kustomize into rendered/, and the Prometheus rules into a PrometheusRule.

`python infra/kubernetes/render.py [KUSTOMIZE]`. What is rendered is kept beside its sources, so that it can be read,
checked and applied without kustomize; each file names the digest of what it was made from.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
RULES = HERE.parent / "prometheus" / "andon.rules.yaml"
OVERLAYS = ("dev", "production")
_RULES_HEAD = """\
# infra/prometheus/andon.rules.yaml for the Prometheus operator; written by infra/kubernetes/render.py.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: andon
spec:
"""


def operator_rules() -> str:
    """The Prometheus rules as the operator's resource."""
    lines = RULES.read_text(encoding="utf-8").splitlines()
    return _RULES_HEAD + "\n".join(f"  {line}" for line in lines if not line.startswith("#")) + "\n"


def digest(overlay: str) -> str:
    """SHA-256 over the names and contents of all that an overlay is rendered from."""
    made = hashlib.sha256()
    for folder in (HERE / "base", HERE / "overlays" / overlay):
        for path in sorted(one for one in folder.rglob("*") if one.is_file()):
            made.update(f"{path.relative_to(HERE)}\0".encode() + path.read_bytes() + b"\0")
    return made.hexdigest()


def rendered(overlay: str, kustomize: str) -> str:
    """An overlay as one YAML file.

    Raises:
        subprocess.CalledProcessError: kustomize refuses; what it says is on standard error.
    """
    command = [kustomize, "build", str(HERE / "overlays" / overlay)]
    built = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603 - as named
    head = f"# Overlay {overlay}, written by infra/kubernetes/render.py; not edited by hand.\n# sources: "
    return f"{head}{digest(overlay)}\n{built}"


def main() -> None:
    """Write all of them."""
    kustomize = sys.argv[1] if len(sys.argv) > 1 else "kustomize"
    (HERE / "base" / "rules.yaml").write_text(operator_rules(), encoding="utf-8")
    for overlay in OVERLAYS:
        (HERE / "rendered" / f"{overlay}.yaml").write_text(rendered(overlay, kustomize), encoding="utf-8")


if __name__ == "__main__":
    main()
