"""The way of an order to its promise: the handoffs, one after the other, from where it begins to where it is kept."""

from operators.process_map import Handoff, ProcessMap


def promise_path(process: ProcessMap) -> tuple[Handoff, ...]:
    """The longest chain of handoffs that lead from the promise's start to its end, each ending where the next starts.

    The promise is the first handoff of orders whose deadline is `promised_at`. Where several starts or ends fit, the
    chain with most handoffs tells most; of those as long, the one declared first. Without a chain of two or more the
    promise is its own only handoff; without a promise there is no way.

    Cost: exponential in the branches between two events, of which a map has few; made once.
    """
    mine = [one for one in process.handoff if one.case == "order_id" and not one.start_case and not one.end_case]
    promise = next((one for one in mine if one.deadline_at and one.deadline_at.field == "promised_at"), None)
    if promise is None:
        return ()
    links = [one for one in mine if one is not promise]
    return max(_chains(promise.start, promise, links, ()), key=len, default=(promise,))


def _chains(
    start: object, promise: Handoff, links: list[Handoff], before: tuple[Handoff, ...]
) -> list[tuple[Handoff, ...]]:
    """All chains from `start` to the promise's end that go on from `before`, in the order of the map."""
    found: list[tuple[Handoff, ...]] = []
    for link in links:
        if link.start != start or any(link.end == done.start for done in before) or link.end == start:
            continue
        chain = (*before, link)
        if link.end == promise.end:
            found.append(chain)
        else:
            found += _chains(link.end, promise, links, chain)
    return found
