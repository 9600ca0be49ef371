"""What all tests share."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes is the machine's; a test is judged by what it finds.
settings.register_profile("andon", deadline=None)
settings.load_profile("andon")

# Of properties over thousands of small records the collector took an eighth, looking at what 4,000 tests have made and
# keep: it comes more seldom, and leaves alone what there is when the tests begin.
gc.set_threshold(10_000, 20, 20)

#: Modules that take longest, the longest first. A worker takes a module at a time: begun last, one of these would
#: have a worker to itself for minutes in the end (so does xdist's own order, by the number of tests: `make test` gives
#: `--no-loadscope-reorder`).
LONGEST = (
    "test_infra_pods",
    "test_kafka_processes",
    "test_kafka_kills",
    "test_processes",
    "test_kafka_broker_outages",
    "test_killed_processes",
    "test_kafka_outages",
    "test_real_data",
    "test_kafka_live",
    "test_kafka_stops",
    "test_infra_parts",
    "test_soak_smoke",
    "test_cli",
    "test_event_to_receiver",
    "test_other_retailer",
    "test_decode_fuzz",
    "test_oracles",
    "test_infra_rescale",
    "test_clickhouse_native",
    "test_clickhouse_http",
    "test_bench_sweep",
    "test_incidents_days",
    "test_infra_tls",
    "test_clickhouse_writer",
    "test_cookbook",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the longest modules to the front; the rest stays in its order."""
    missing = [name for name in LONGEST if not (Path(__file__).parent / f"{name}.py").is_file()]
    assert not missing, f"LONGEST names {missing}, which are no modules"
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_collection_finish() -> None:
    """What has been collected stays: nothing in it is to be looked at again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the project; the test is skipped where it is not."""
    folder = Path(os.environ.get("ANDON_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the real data folder ({folder}); ANDON_SHARED_DATA names another place")
    return folder
