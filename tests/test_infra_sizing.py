"""What production is given, by the sizing model of docs/scale.md: the guide's table, limits, groups, volumes, epoch.

What a message and a key cost is read from docs/scale.md, the formulas are those of the model there.
"""

import re
from pathlib import Path

import pytest

from dataflows.settings import Settings, load_settings
from operators.increments import Increments
from tests.infra_manifests import manifests, named, pod_of, settings_file
from tests.processes import ROOT

MODEL = (ROOT / "benchmarks" / "sweep_model.py").read_text(encoding="utf-8")
SCALE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
SIZED = (
    (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8").partition("### How many pods")[2].partition("###")[0]
)
#: Times the load of the guide's table that production is to have room for.
ROOM = 3
#: Of a process itself, without what it holds, bytes.
OWN = 150e6
_UNITS = {"Mi": 2**20, "Gi": 2**30}


def costs() -> dict[str, tuple[float, float]]:
    """Of an item, an order, an event id: bytes in memory, bytes in a snapshot."""
    pattern = r"\| (item|order|event id)[,:] .*\| ([\d,]+) bytes, ([\d,]+) bytes \|"
    found = {name: (number(resident), number(kept)) for name, resident, kept in re.findall(pattern, SCALE)}
    assert found.keys() == {"item", "order", "event id"}
    return found


def number(text: str) -> float:
    return float(text.replace(",", ""))


def rows() -> dict[str, list[str]]:
    """The guide's table, by its first column."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in SIZED.splitlines() if line[:1] == "|"]
    return {first.partition(":")[0]: [first, *rest] for first, *rest in cells[2:]}


def held() -> dict[str, float]:
    """How many of each kind there are, by the words of the guide's table."""
    items = re.search(r"items: (\d+) × ([\d,]+), and (\d+) × ([\d,]+) in centres", rows()["items"][0])
    cases = re.search(r"cases: ([\d,]+) × ([\d.]+) for nine days", rows()["cases"][0])
    ids = re.search(r"ids: ([\d,]+)/s at the peak, for an hour and a half", rows()["ids"][0])
    assert items is not None
    assert cases is not None
    assert ids is not None
    stores, skus, centres, stocked = map(number, items.groups())
    orders, an_order = map(number, cases.groups())
    return {
        "item": stores * skus + centres * stocked,
        "order": orders * an_order * 9,
        "event id": number(ids[1]) * 1.5 * 3_600,
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(str(settings_file(manifests("production"), tmp_path)), {})


def size(text: str) -> float:
    """A quantity of Kubernetes, bytes."""
    return float(text[:-2]) * _UNITS[text[-2:]]


def production() -> tuple[int, dict[str, dict[str, str]], float]:
    """Pods, the resources of one, and its volume in bytes."""
    resources = manifests("production")
    job = named(resources, "StatefulSet")["spec"]
    pod = pod_of(named(resources, "StatefulSet"))
    assert pod is not None
    (claim,) = job["volumeClaimTemplates"]
    given: dict[str, dict[str, str]] = pod["spec"]["containers"][0]["resources"]
    return job["replicas"], given, size(claim["spec"]["resources"]["requests"]["storage"])


def test_the_guides_table_is_what_the_model_gives() -> None:
    pods, _, _ = production()
    together = 0.0
    for row, kind in (("items", "item"), ("cases", "order"), ("ids", "event id")):
        _, count, each, sum_ = rows()[row]
        assert number(count) == pytest.approx(held()[kind], rel=0.05), row
        assert number(each) == costs()[kind][0], f"{row}: docs/scale.md says otherwise"
        together += held()[kind] * costs()[kind][0]
        assert float(sum_.removesuffix(" GB")) == pytest.approx(held()[kind] * costs()[kind][0] / 1e9, abs=0.06), row
    (said,) = [row[-1] for name, row in rows().items() if name.startswith("a process of four")]
    assert pods == 4
    assert float(said.removesuffix(" GB")) == pytest.approx((together / pods + OWN) / 1e9, abs=0.05)


def test_a_pod_has_the_memory_for_three_times_that() -> None:
    """And for what the model leaves out: what is awake, and what detectors remember of orders."""
    pods, given, _ = production()
    needed = sum(held()[kind] * each for kind, (each, _) in costs().items()) * ROOM / pods + OWN
    assert given["requests"]["memory"] == given["limits"]["memory"], "what is promised is there"
    assert 0.15 * size(given["limits"]["memory"]) < needed < 0.5 * size(given["limits"]["memory"])


def test_a_pod_has_the_cores_for_three_times_that() -> None:
    """The engine has one core of a process; half of it is the load's, so a backlog shrinks as fast as it came."""
    pods, given, _ = production()
    message_us = re.search(r"\| processor time of a message \| ([\d.]+) µs \|", SCALE)
    scaling = re.search(r"\| 4 processes, times one, by processor time \| ([\d.]+) \|", SCALE)
    ids = re.search(r"([\d,]+)/s at the peak", rows()["ids"][0])
    assert message_us is not None
    assert scaling is not None
    assert ids is not None
    busy = ROOM * number(ids[1]) * number(message_us[1]) / 1e6
    assert busy < 0.5 * number(scaling[1]) * float(given["requests"]["cpu"])
    assert float(given["limits"]["cpu"]) == 2 * float(given["requests"]["cpu"]) == 2 * 1.0
    assert pods == 4


def test_lanes_and_groups_are_enough_for_twice_the_pods(settings: Settings) -> None:
    pods, _, _ = production()
    each = re.search(r"^GROUPS_A_PROCESS = (\d+)$", MODEL, re.MULTILINE)
    assert each is not None
    engine = settings.engine
    assert engine.lanes >= 2 * pods
    assert min(engine.case_groups, engine.item_groups) >= int(each[1]) * 2 * pods


def test_a_volume_holds_snapshots_and_an_epoch_is_long_enough_for_one(settings: Settings) -> None:
    """Increments come to three times what there is, compressed to 0.6 of it, and then all is kept anew beside them."""
    pods, _, volume = production()
    snapshot = sum(held()[kind] * kept for kind, (_, kept) in costs().items()) / pods
    assert 4 * snapshot * ROOM < volume
    a_megabyte = re.search(r"\| a MB of a snapshot: taken, compressed, written \| ([\d.]+) ms \|", SCALE)
    assert a_megabyte is not None
    spent_s = snapshot / 1e6 * number(a_megabyte[1]) / 1e3
    assert f"there is one, {spent_s:.1f} s\n({spent_s * ROOM:.1f} s)" in SIZED
    ids = re.search(r"([\d,]+)/s at the peak", rows()["ids"][0])
    assert ids is not None
    epoch_s = settings.engine.epoch.seconds
    changed = epoch_s * number(ids[1]) * max(kept for _, kept in costs().values()) / pods
    an_epoch = changed + snapshot / Increments.ROUND
    assert epoch_s == 30
    assert an_epoch / snapshot * spent_s * ROOM / epoch_s < 1 / 100, "a hundredth"


def test_ids_of_an_hour_and_a_half_fit(settings: Settings) -> None:
    """Twice `dedup_max_ids` in each of the groups that a message can go to."""
    engine, horizon_s = settings.engine, settings.time.dedup_horizon.seconds
    assert horizon_s * 1.5 == 1.5 * 3_600, "the table's hour and a half"
    assert ROOM * held()["event id"] < (engine.case_groups + engine.item_groups) * 2 * engine.dedup_max_ids
