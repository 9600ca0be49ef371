"""What is wrong with alert settings: all of it at once, each with key, value and what is accepted."""

from collections.abc import Callable, Collection, Iterable, Sequence

from operators.alerting.matchers import parse_matcher
from operators.alerting.mute_times import mute_hours
from operators.alerting.routes import EVERY_LABEL
from operators.alerting.settings import AlertSettings, Inhibition, Route
from schemas.accepted import as_toml
from schemas.durations import DAY_US, SECOND_US, Duration, people_duration
from schemas.problems import Problem, did_you_mean, path_text
from schemas.toml_lines import KeyPath, line_of

_Add = Callable[[KeyPath, object, str], None]
#: A group is looked at no more often than this.
SHORTEST_INTERVAL_US = SECOND_US
LONGEST_US = 366 * DAY_US


def find_problems(
    settings: AlertSettings, file: str = "settings", text: str = "", receivers: Collection[str] | None = None
) -> tuple[Problem, ...]:
    """Every problem of what stands under `[alerting]`.

    Args:
        settings: as read.
        file: where from, for the messages.
        text: what is in it, for the lines.
        receivers: the names that alerts can be delivered to; None where that is not known.
    """
    problems: list[Problem] = []

    def add(path: KeyPath, value: object, expected: str) -> None:
        where = ("alerting", *path)
        problems.append(Problem(file, path_text(where), as_toml(value), expected, line_of(text, where)))

    _check_times((), settings, settings.group_interval, settings.repeat_interval, add)
    if not 0 <= settings.retention <= LONGEST_US:
        add(("retention",), _shown(settings.retention), "must be between 0 and 366 days")
    mutes = list(dict.fromkeys(declared.name for declared in settings.mute_time))
    _check_target((), settings, mutes, receivers, add)
    for number, route in enumerate(settings.route):
        _check_route(
            ("route", number), route, (settings.group_interval, settings.repeat_interval), mutes, receivers, add
        )
    for number, inhibition in enumerate(settings.inhibit):
        _check_inhibition(("inhibit", number), inhibition, add)
    for number, declared in enumerate(settings.mute_time):
        where: KeyPath = ("mute_time", number)
        if not declared.name or declared.name in [one.name for one in settings.mute_time[:number]]:
            add((*where, "name"), declared.name, "must be a name that is used once")
        try:
            mute_hours(declared)
        except ValueError as error:
            add(where, f"{declared.from_}-{declared.until} {declared.zone}", str(error))
    return tuple(problems)


def _check_route(
    where: KeyPath,
    route: Route,
    above: tuple[Duration, Duration],
    mutes: Sequence[str],
    receivers: Collection[str] | None,
    add: _Add,
) -> None:
    _check_matchers((*where, "matchers"), route.matchers, add)
    times = (
        above[0] if route.group_interval is None else route.group_interval,
        above[1] if route.repeat_interval is None else route.repeat_interval,
    )
    _check_times(where, route, *times, add)
    _check_target(where, route, mutes, receivers, add)
    for number, below in enumerate(route.route):
        _check_route((*where, "route", number), below, times, mutes, receivers, add)


def _check_times(where: KeyPath, given: AlertSettings | Route, interval: Duration, repeat: Duration, add: _Add) -> None:
    """The times that are set here; `interval` and `repeat` as they hold here, set or not."""
    if given.group_interval is not None and not SHORTEST_INTERVAL_US <= interval <= LONGEST_US:
        add((*where, "group_interval"), _shown(interval), "must be between 1 second and 366 days")
    if given.repeat_interval is not None and not 0 < repeat <= LONGEST_US:
        add((*where, "repeat_interval"), _shown(repeat), "must be more than 0 and at most 366 days")
    elif repeat < interval and (given.repeat_interval is not None or given.group_interval is not None):
        words = f"must be at least group_interval ({people_duration(interval)}): a group is looked at only then"
        add((*where, "repeat_interval"), _shown(repeat), words)
    for key, value in (("group_wait", given.group_wait), ("for", given.for_)):
        if value is not None and not 0 <= value <= LONGEST_US:
            add((*where, key), _shown(value), "must be between 0 and 366 days")


def _check_target(
    where: KeyPath, given: AlertSettings | Route, mutes: Sequence[str], receivers: Collection[str] | None, add: _Add
) -> None:
    if given.receiver and receivers is not None and given.receiver not in receivers:
        listed = f"must be a receiver: {', '.join(sorted(receivers))}" if receivers else "there are no receivers"
        add((*where, "receiver"), given.receiver, listed + did_you_mean(given.receiver, sorted(receivers)))
    for number, name in enumerate(given.mute or ()):
        if name not in mutes:
            declared = f": {', '.join(mutes)}" if mutes else ", which is empty"
            words = f"must be one of alerting.mute_time{declared}{did_you_mean(name, mutes)}"
            add((*where, "mute", number), name, words)
    if given.group_by is not None:
        _check_labels((*where, "group_by"), given.group_by, add)
        if EVERY_LABEL in given.group_by and len(given.group_by) > 1:
            add((*where, "group_by"), given.group_by, '"..." stands for every label, and must be alone')


def _check_inhibition(where: KeyPath, inhibition: Inhibition, add: _Add) -> None:
    for key, matchers in (
        ("source_matchers", inhibition.source_matchers),
        ("target_matchers", inhibition.target_matchers),
    ):
        if not matchers:
            add((*where, key), matchers, "must have at least one matcher")
        _check_matchers((*where, key), matchers, add)
    _check_labels((*where, "equal"), inhibition.equal, add)


def _check_matchers(where: KeyPath, matchers: Iterable[str], add: _Add) -> None:
    for number, matcher in enumerate(matchers):
        try:
            parse_matcher(matcher)
        except ValueError as error:
            add((*where, number), matcher, str(error))


def _check_labels(where: KeyPath, names: Sequence[str], add: _Add) -> None:
    for number, name in enumerate(names):
        if not name or name in names[:number]:
            add((*where, number), name, "must be the name of a label, once")


def _shown(length: Duration) -> str:
    return people_duration(length)
