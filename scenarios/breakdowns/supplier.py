"""Which supplier a breakdown is about: the one asked for by name, else the one with most to deliver meanwhile."""

from collections import Counter

from scenarios.retailer import Retailer
from scenarios.supply import Supply


def supplier_problem(retailer: Retailer, name: str) -> str:
    """What is wrong with the name of a supplier, or nothing; an empty one means the busiest."""
    number = retailer.supply.suppliers
    known = {f"supplier-{one + 1}" for one in range(number)}
    return "" if not name or name in known else f"supplier must be one of supplier-1 to supplier-{number}"


def busiest_supplier(supply: Supply, begin_us: int, end_us: int, *, promised: bool) -> str:
    """The supplier with most deliveries due in a span, of those that no breakdown has taken yet.

    With `promised` only deliveries count of which it was said when they would come.
    """
    due = [po for arrives, po in supply.under_way.values() if begin_us <= arrives < end_us]
    counts = Counter(po.supplier for po in due if po.expected or not promised)
    free = [name for name in counts if name not in supply.troubled]
    chosen = min(free or counts, key=lambda name: (-counts[name], name), default="supplier-1")
    supply.troubled.add(chosen)
    return chosen
