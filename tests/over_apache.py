"""Run the tests that use a broker over Apache Kafka: `python -m tests.over_apache [DIR] [pytest arguments]`.

DIR is a folder that `tests/get_kafka.sh` has filled. `make test-kafka` does both.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.kafka_broker import HOME_VARIABLE, SERVER_VARIABLE, ApacheKafka
from tests.processes import ROOT


def main() -> None:
    """Start one node, point the tests at it, stop it; the exit code is that of the tests."""
    os.environ[HOME_VARIABLE] = str(Path(sys.argv[1]).resolve())
    chosen = sys.argv[2:] or [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("tests/test_kafka_*.py"))]
    with ApacheKafka() as kafka:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *chosen],
            cwd=ROOT,
            env={**os.environ, SERVER_VARIABLE: kafka.bootstrap},
            check=False,
        )
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
