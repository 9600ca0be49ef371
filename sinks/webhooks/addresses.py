"""Which addresses may be connected to: public ones, and those of networks that a person has allowed.

Alerts go where settings say, but names are resolved by others: an address that is private, loopback, link-local (cloud
metadata), multicast, reserved or unspecified is refused, also where it hides in an IPv6 form (IPv4-mapped,
IPv4-compatible, NAT64, 6to4, Teredo).
"""

import ipaddress
from collections.abc import Sequence
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


def networks_of(texts: Sequence[str]) -> tuple[Network, ...]:
    """The networks that settings allow."""
    return tuple(map(ipaddress.ip_network, texts))


def refused(text: str, allowed: Sequence[Network] = ()) -> str:
    """Why an address (as text, a zone behind `%` or not) must not be connected to; empty where it may."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return "is no address"
    for meant in (address, *_inside(address)):
        if any(meant.version == network.version and meant in network for network in allowed):
            continue
        if meant is address and _only_carries(address):
            continue
        if why := _why(meant):
            return why if meant is address else f"{why} ({meant} inside)"
    return ""


def _only_carries(address: Address) -> bool:
    """Whether an address is but a way to write an IPv4 one: then that one is judged."""
    return isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped is not None or address in _NAT64)


def _inside(address: Address) -> tuple[Address, ...]:
    """The IPv4 addresses that an IPv6 one stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    found: list[Address] = []
    if address.ipv4_mapped is not None:
        found.append(address.ipv4_mapped)
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.extend(address.teredo)
    return tuple(found)


def _why(address: Address) -> str:
    if address.is_unspecified:
        return "is unspecified"
    if address.is_loopback:
        return "is a loopback address"
    if address.is_link_local:
        return "is link-local"
    if address.is_multicast:
        return "is multicast"
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        return "is private"
    if address.is_private:
        return "is private"
    return "" if address.is_global and not address.is_reserved else "is reserved"
