"""Which node or source a breakdown is about: the one asked for by name, else a usual one."""

from scenarios.network import Node
from scenarios.retailer import Retailer


def node_problem(retailer: Retailer, name: str) -> str:
    """What is wrong with the name of a node, or nothing; an empty one means the usual node."""
    names = [node.name for node in retailer.world.network.nodes]
    return "" if not name or name in names else f"node must be one of {names[0]} to {names[-1]}"


def chosen_node(retailer: Retailer, name: str, usual: Node) -> Node:
    """The node called `name`, else the usual one."""
    return next((node for node in retailer.world.network.nodes if node.name == name), usual)


def channel_problem(channel: str) -> str:
    """What is wrong with the name of a channel that takes orders, or nothing."""
    return "" if channel in CHANNELS else f"channel must be one of {', '.join(CHANNELS)}"


#: The channels by which orders come.
CHANNELS = ("shop", "marketplace")
