"""Names of items: an item is a (sku, node)."""

SEPARATOR = "\x1f"


def item_key(sku: str, node: str) -> str:
    """One text for an item; two items never have the same."""
    if SEPARATOR in sku:
        return f"{SEPARATOR}{len(sku)}{SEPARATOR}{sku}{node}"
    return f"{sku}{SEPARATOR}{node}"


def names_of(key: str) -> tuple[str, str]:
    """The sku and the node of a key."""
    sku, _, node = key.partition(SEPARATOR)
    if not sku:
        length, _, names = node.partition(SEPARATOR)
        return names[: int(length)], names[int(length) :]
    return sku, node
