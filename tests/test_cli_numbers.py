"""Numbers of the command line: each option takes what can be computed with, and refuses the rest in words."""

from collections.abc import Iterator

import click
import pytest

from dataflows.cli import andon, run_command
from dataflows.cli.numbers import FiniteRange

#: Any whole number makes a seed; how many of something is judged with the rest of a simulation's settings.
_JUDGED_LATER = {("simulate", "seed"), ("simulate", "stores"), ("simulate", "orders"), ("demo", "seed")}


def _options(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Parameter]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _options(inner, (*path, name))
        return
    for option in command.params:
        yield path, option


_NUMBERS = [
    (path, option)
    for path, option in _options(andon)
    if isinstance(option.type, click.types.IntParamType | click.types.FloatParamType)
]


@pytest.mark.parametrize(
    ("path", "option"), _NUMBERS, ids=[" ".join((*path, option.opts[0])) for path, option in _NUMBERS]
)
def test_what_is_no_number_between_bounds_is_refused_in_words(
    path: tuple[str, ...], option: click.Parameter, capsys: pytest.CaptureFixture[str]
) -> None:
    out_of_bounds = () if (*path, option.name) in _JUDGED_LATER else ("-1", "9" * 40)
    for wrong in ("nan", "inf", "-inf", "1e999", *out_of_bounds):
        assert run_command([*path, f"{option.opts[0]}={wrong}"]) == 2
        assert f"Invalid value for '{option.opts[0]}'" in capsys.readouterr().err, wrong


def test_how_many_of_something_is_judged_by_the_simulation(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["simulate", "--out", "never", "--stores=-1", "--orders", "9" * 40]) == 2
    told = capsys.readouterr().err
    assert "stores = -1: must be between 1 and 2000" in told
    assert "orders_per_day = 9999" in told


def test_there_are_numbers_to_look_at() -> None:
    names = {" ".join((*path, option.opts[0])) for path, option in _NUMBERS}
    assert {"simulate --hours", "simulate --speed-up", "rescale --within", "score --alarms-per-week"} < names


@pytest.mark.parametrize("value", ["1", "1.5", "672"])
def test_a_number_between_the_bounds_is_taken(value: str) -> None:
    assert FiniteRange(1, 672).convert(value, None, None) == float(value)
