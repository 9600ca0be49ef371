"""Who the second retailer is: places, items, channels, carriers, suppliers, interfaces, and its seasons.

A Polish chain of a few depots (`MAG-..`) and many shops (`SKL-...`), which delivers within hours in its towns and
on the next day elsewhere. Money is PLN; about half of its systems write local time.
"""

import itertools
import math
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/Warsaw")
CURRENCY = "PLN"
HOUR = 3600.0
DAY = 24 * HOUR

REGIONS = ("mazowsze", "slask", "pomorze", "wielkopolska")
STORE_SHARE = 0.45
STORE_HOURS = (9.0, 19.5)
LINES_PER_ORDER = 1.55
PICK_MEDIAN_S = 240.0

#: Orders by local hour, and by weekday from Monday; both have a mean of about 1.
_HOURLY = (22, 12, 8, 6, 7, 14, 34, 62, 88, 104, 112, 116, 120, 112, 104, 102, 108, 124, 146, 164, 158, 122, 78, 42)
HOURLY = tuple(value * 24 / sum(_HOURLY) for value in _HOURLY)
WEEKLY = (1.05, 0.92, 0.9, 0.93, 1.0, 1.25, 0.95)


@dataclass(frozen=True, slots=True)
class Source:
    """A system instance: how it names itself, whether it writes local time, and the median way to the log."""

    name: str
    system: str
    local: bool
    median_s: float


@dataclass(frozen=True, slots=True)
class Channel:
    """Where orders come from; `plans` where the planned node is told with the allocation."""

    name: str
    source: Source
    prefix: str
    share: float
    interface: str
    plans: bool


@dataclass(frozen=True, slots=True)
class Node:
    """A depot or a shop. `silent_start`: its system doesn't say when a task begins."""

    name: str
    region: str
    depot: bool
    source: Source
    silent_start: bool
    pickers: int
    weight: float
    level_every_s: float


@dataclass(frozen=True, slots=True)
class Item:
    """An article: list price, cost, and its share of demand."""

    sku: str
    price: float
    cost: float
    weight: float
    supplier: str


@dataclass(frozen=True, slots=True)
class Carrier:
    """`fast` carriers deliver on the same day."""

    name: str
    fast: bool
    share: float


@dataclass(slots=True)
class Retailer:
    """All that stays the same during a run."""

    orders_per_day: float
    channels: list[Channel]
    nodes: list[Node]
    items: list[Item]
    carriers: list[Carrier]
    suppliers: dict[str, tuple[float, float]]  # lead time, hours: from, to
    oms: Source
    erp: Source
    tms: Source
    crm: Source
    bus: Source
    ecom: Source
    pos: dict[str, Source]
    shelves: dict[str, list[int]]  # node -> indexes of the items it keeps
    cumulative: list[float] = field(default_factory=list)

    @property
    def depots(self) -> list[Node]:
        return [node for node in self.nodes if node.depot]

    @property
    def stores(self) -> list[Node]:
        return [node for node in self.nodes if not node.depot]

    def sources(self) -> list[Source]:
        """Every system instance, once."""
        named = {node.source.name: node.source for node in self.nodes}
        named |= {channel.source.name: channel.source for channel in self.channels}
        named |= {one.name: one for one in (self.oms, self.erp, self.tms, self.crm, self.bus, self.ecom)}
        named |= {one.name: one for one in self.pos.values()}
        return list(named.values())

    def draw_item(self, rng: random.Random) -> int:
        return rng.choices(range(len(self.items)), cum_weights=self.cumulative)[0]


def local(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC).astimezone(ZONE)


def local_hour(moment: float) -> float:
    at = local(moment)
    return at.hour + at.minute / 60


def build(nodes: int, seed: int) -> Retailer:
    """The retailer of a seed. Order volume is 3,000 to 6,000 a day for 40 nodes and grows with them."""
    rng = random.Random(f"{seed}:retailer")
    orders = rng.uniform(3000, 6000) * nodes / 40
    items = _items(rng)
    places = _nodes(nodes, orders, rng)
    channels = [
        Channel(
            "web-pl", Source("magnolia-web", "ecom", local=True, median_s=0.5), "WZ/26/", 0.47, "web-zam", plans=True
        ),
        Channel("apka", Source("magnolia-app", "ecom", local=False, median_s=0.7), "AP", 0.26, "apka-zam", plans=True),
        Channel(
            "bazario",
            Source("bazario-most", "marketplace", local=False, median_s=1.4),
            "bzr:",
            0.19,
            "bazario-api",
            plans=False,
        ),
        Channel(
            "infokiosk", Source("kiosk-hub", "pos", local=True, median_s=0.9), "IK-", 0.08, "kiosk-zam", plans=False
        ),
    ]
    weights = [item.weight for item in items]
    shelves = {
        node.name: list(range(len(items)))
        if node.depot
        else sorted({rng.choices(range(len(items)), weights)[0] for _ in range(110)})
        for node in places
    }
    return Retailer(
        orders_per_day=orders,
        channels=channels,
        nodes=places,
        items=items,
        carriers=[
            Carrier("rowerem", fast=True, share=0.45),
            Carrier("miejski-kurier", fast=True, share=0.55),
            Carrier("paczkomat24", fast=False, share=0.6),
            Carrier("orzel-express", fast=False, share=0.4),
        ],
        suppliers={
            "hurt-wisla": (3, 5),
            "tekst-lodz": (4, 7),
            "drew-pol": (5, 9),
            "ceram-as": (3, 6),
            "imp-gd": (20, 60),
        },
        oms=Source("dyrygent", "oms", local=False, median_s=0.4),
        erp=Source("fala-fin", "erp", local=True, median_s=1.8),
        tms=Source("spedytor", "tms", local=True, median_s=1.1),
        crm=Source("obsluga-k", "crm", local=False, median_s=0.8),
        bus=Source("szyna", "middleware", local=False, median_s=0.3),
        ecom=Source("magnolia-stan", "ecom", local=False, median_s=1.2),
        pos={region: Source(f"kasy-{region}", "pos", local=True, median_s=1.6) for region in REGIONS},
        shelves=shelves,
        cumulative=list(itertools.accumulate(weights)),
    )


def _items(rng: random.Random) -> list[Item]:
    suppliers = ("hurt-wisla", "tekst-lodz", "drew-pol", "ceram-as", "imp-gd")
    items = []
    for rank in range(600):
        price = round(min(900.0, max(9.0, rng.lognormvariate(math.log(85), 0.8))), 2)
        cost = round(price * rng.uniform(0.45, 0.7), 2)
        sku = f"A{rng.randrange(10, 99)}-{10_000 + rank * 7}"
        items.append(Item(sku, price, cost, (rank + 4) ** -0.9, suppliers[rank % 5]))
    return items


def _nodes(count: int, orders: float, rng: random.Random) -> list[Node]:
    depots = max(1, count // 13)
    regional = {name: Source(f"polka-{name}", "wms", local=True, median_s=1.3) for name in REGIONS}
    weights = [rng.uniform(0.5, 1.8) for _ in range(count)]
    shops = sum(weights[depots:]) or 1.0
    lines_per_s = orders * LINES_PER_ORDER * max(HOURLY) * max(WEEKLY) / DAY
    built = []
    for at in range(count):
        is_depot = at < depots
        source = (
            Source(f"mag-wms-{at + 1}", "wms", local=False, median_s=0.8) if is_depot else regional[REGIONS[at % 4]]
        )
        share = (1 - STORE_SHARE / 2) / depots if is_depot else STORE_SHARE * weights[at] / shops
        name = f"MAG-{at + 1:02d}" if is_depot else f"SKL-{200 + at * 3}"
        pickers = max(1 if not is_depot else 2, math.ceil(lines_per_s * share * PICK_MEDIAN_S * 1.13 / 0.45))
        built.append(
            Node(
                name,
                REGIONS[at % 4],
                is_depot,
                source,
                rng.random() < 0.3,
                pickers,
                weights[at],
                rng.uniform(1800, 3600),
            ),
        )
    return built
