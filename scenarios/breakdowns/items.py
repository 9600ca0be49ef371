"""Which item a breakdown is about: the one asked for by name, else one of a rank of demand."""

from scenarios.retailer import Retailer


def item_problem(retailer: Retailer, name: str) -> str:
    """What is wrong with the name of an item, or nothing; an empty one means the usual item."""
    names = retailer.world.catalogue.names
    return "" if not name or name in names else f"sku must be one of {names[0]} to {names[-1]}"


def chosen_item(retailer: Retailer, name: str, rank: int) -> int:
    """The item called `name`, else the one of that rank (0 is the most wanted)."""
    return retailer.world.catalogue.names.index(name) if name else min(rank, len(retailer.world.catalogue) - 1)
