"""Which kinds of breakdowns there are, and how one is made from what a person asked for."""

from collections.abc import Iterable

from scenarios.breakdowns.adjustments_lost import AdjustmentsLost
from scenarios.breakdowns.breakdown import Breakdown
from scenarios.breakdowns.carrier_delay import CarrierDelay
from scenarios.breakdowns.clock_skew import ClockSkew
from scenarios.breakdowns.duplicate_orders import DuplicateOrders
from scenarios.breakdowns.feed_stopped import FeedStopped
from scenarios.breakdowns.incomplete_orders import IncompleteOrders
from scenarios.breakdowns.interface_faults import DownstreamOutage, RuleFailure, SchemaChange, TransportFault
from scenarios.breakdowns.margin_leak import MarginLeak
from scenarios.breakdowns.misrouting import Misrouting
from scenarios.breakdowns.oversell import Oversell
from scenarios.breakdowns.phantom_stock import PhantomStock
from scenarios.breakdowns.picking_backlog import PickingBacklog
from scenarios.breakdowns.posting_interface_down import PostingInterfaceDown
from scenarios.breakdowns.posting_missing import PostingMissing
from scenarios.breakdowns.price_error import PriceError
from scenarios.breakdowns.promotion_without_stock import PromotionWithoutStock
from scenarios.breakdowns.queue_saturation import QueueSaturation
from scenarios.breakdowns.refund_lag import RefundLag
from scenarios.breakdowns.refund_without_receipt import RefundWithoutReceipt
from scenarios.breakdowns.return_surge import ReturnSurge
from scenarios.breakdowns.stockout_risk import StockoutRisk
from scenarios.breakdowns.supplier_delay import SupplierDelay
from scenarios.breakdowns.supply_mismatch import SupplyMismatch
from scenarios.injections import FILE, read_injections
from scenarios.retailer import Retailer
from scenarios.settings import SimulationSettings
from schemas.durations import rfc3339
from schemas.errors import SettingsError
from schemas.problems import Problem

#: Add a kind here after adding its file.
KINDS: dict[str, type[Breakdown]] = {
    kind.kind: kind
    for kind in (
        QueueSaturation,
        FeedStopped,
        PostingInterfaceDown,
        AdjustmentsLost,
        RefundLag,
        PhantomStock,
        Oversell,
        PickingBacklog,
        Misrouting,
        DuplicateOrders,
        IncompleteOrders,
        CarrierDelay,
        ClockSkew,
        DownstreamOutage,
        RuleFailure,
        SchemaChange,
        TransportFault,
        RefundWithoutReceipt,
        ReturnSurge,
        SupplierDelay,
        SupplyMismatch,
        PromotionWithoutStock,
        StockoutRisk,
        PriceError,
        MarginLeak,
        PostingMissing,
    )
}


def find_problems(settings: SimulationSettings) -> list[Problem]:
    """What is wrong with the breakdowns asked for, as far as it shows without the retailer; all at once."""
    return _make(settings)[1]


def install_breakdowns(settings: SimulationSettings, retailer: Retailer) -> None:
    """Make the breakdowns of `settings` and put them into the retailer, before it opens.

    Raises:
        SettingsError: with every problem of every one of them.
    """
    made, problems = _make(settings)
    for index, breakdown in made:
        words = breakdown.problem(retailer)
        if words:
            problems.append(Problem(FILE, f"breakdowns[{index}].parameters", "", words))
    if not problems:
        problems.extend(_overlaps(made, retailer))
    if problems:
        raise SettingsError(problems)
    for _, breakdown in made:
        breakdown.install(retailer)
        retailer.breakdowns.append(breakdown)


def _overlaps(made: list[tuple[int, Breakdown]], retailer: Retailer) -> Iterable[Problem]:
    """Breakdowns of the same thing that would run into each other."""
    last: dict[str, Breakdown] = {}
    for index, breakdown in sorted(made, key=lambda pair: (pair[1].begin_us, pair[0])):
        claimed = breakdown.claims(retailer)
        before = last.get(claimed)
        if before is not None and breakdown.begin_us < before.end_us:
            words = f"must not begin before {before.breakdown_id} ends: both are {claimed}"
            yield Problem(FILE, f"breakdowns[{index}].begin", rfc3339(breakdown.begin_us), words)
        last[claimed] = breakdown


def _make(settings: SimulationSettings) -> tuple[list[tuple[int, Breakdown]], list[Problem]]:
    asked, problems = read_injections(settings, settings.breakdowns, "breakdowns", KINDS)
    made: list[tuple[int, Breakdown]] = []
    for one in asked:
        name = f"{one.kind.kind}-{one.index + 1}"
        made.append((one.index, one.kind(name, one.begin_us, one.end_us, one.parameters)))
    return made, problems
