"""GS1 identifiers out of the URIs that EPCIS writes them as: EPC URNs, class URNs and Digital Links alike.

So one thing has one id, whichever way it was captured: a trade item its GTIN (14 digits), a place or party its GLN
(13 digits), a logistic unit its SSCC (18 digits). Source: GS1 EPC Tag Data Standard (keys from company prefix and
reference, with the check digit of the GS1 General Specifications) and GS1 Digital Link URI syntax.
"""

import re

_TRADE_ITEM = re.compile(r"urn:epc:(?:id:sgtin|idpat:sgtin|class:lgtin):(\d{6,12})\.(\d)(\d{0,6})\..+")
_PLACE = re.compile(r"urn:epc:id:(?:sgln:(\d{6,12})\.(\d{0,6})\..+|pgln:(\d{6,12})\.(\d{0,6}))")
_UNIT = re.compile(r"urn:epc:id:sscc:(\d{6,12})\.(\d)(\d{4,10})")
_LINK = r"https?://[^/?#]+/(?:[^?#]*/)?"
_LINKED_ITEM = re.compile(_LINK + r"01/(\d{8}|\d{12,14})(?:[/?#].*)?")
_LINKED_PLACE = re.compile(_LINK + r"(?:414|417)/(\d{13})(?:[/?#].*)?")
_LINKED_UNIT = re.compile(_LINK + r"00/(\d{18})(?:[/?#].*)?")
_TERM = re.compile(r"(?:urn:epcglobal:cbv:[a-z]+:|https?://(?:ref|ns)\.gs1\.org/cbv/[A-Za-z]+-|cbv:[A-Za-z]+-)(.+)")
_TRANSACTION = re.compile(r"urn:epcglobal:cbv:bt:[^:]*:(.+)")
_LAST_SEGMENT = re.compile(r"https?://[^/?#]+/(?:[^?#]*/)?([^/?#]+)/?(?:[?#].*)?")


def gtin_of(uri: str) -> str | None:
    """The GTIN of a trade item or of its class or lot, None where `uri` is none."""
    found = _TRADE_ITEM.fullmatch(uri)
    if found is not None:
        return _with_check_digit(f"{found[2]}{found[1]}{found[3]}", 13)
    linked = _LINKED_ITEM.fullmatch(uri)
    return None if linked is None else linked[1].zfill(14)


def gln_of(uri: str) -> str | None:
    """The GLN of a place (whatever its extension: a dock door is of its warehouse) or of a party."""
    found = _PLACE.fullmatch(uri)
    if found is not None:
        return _with_check_digit(f"{found[1] or found[3]}{found[2] or found[4] or ''}", 12)
    linked = _LINKED_PLACE.fullmatch(uri)
    return None if linked is None else linked[1]


def sscc_of(uri: str) -> str | None:
    """The SSCC of a logistic unit (a parcel, a pallet)."""
    found = _UNIT.fullmatch(uri)
    if found is not None:
        return _with_check_digit(f"{found[2]}{found[1]}{found[3]}", 17)
    linked = _LINKED_UNIT.fullmatch(uri)
    return None if linked is None else linked[1]


def term_of(uri: str) -> str:
    """A term of the Core Business Vocabulary as its short name, `receiving`; any other word as it is."""
    found = _TERM.fullmatch(uri)
    return found[1] if found else uri


def transaction_of(uri: str) -> str:
    """The id that the parties know a document by.

    In the vocabulary's own URN that is what follows the GLN, in a web address its last part; else it is the whole.
    """
    found = _TRANSACTION.fullmatch(uri) or _LAST_SEGMENT.fullmatch(uri)
    return found[1] if found else uri


def check_digit(digits: str) -> str:
    """The digit that makes a GS1 key of `digits`: from the right, weights 3 and 1 in turn, up to the next ten."""
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits)))
    return str(-total % 10)


def _with_check_digit(digits: str, length: int) -> str | None:
    return f"{digits}{check_digit(digits)}" if len(digits) == length else None
