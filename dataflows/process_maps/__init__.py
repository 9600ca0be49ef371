"""The process maps that come with Andon, and reading one by name or from a file."""

from importlib.resources import files
from pathlib import Path

from operators.process_lint import read_process_map
from operators.process_map import ProcessMap
from schemas.errors import SettingsError
from schemas.problems import Problem


def shipped_process_maps() -> list[str]:
    """The names of the process maps that come with Andon."""
    return sorted(
        entry.name.removesuffix(".toml") for entry in files(__name__).iterdir() if entry.name.endswith(".toml")
    )


def load_process_map(name_or_path: str) -> ProcessMap:
    """Read a shipped process map by its name, or one of your own from a file.

    A name is looked for among the shipped ones first; what ends in `.toml` or has a slash is a file.

    Raises:
        SettingsError: there is none, it can't be read, or something in it is wrong; with every problem.
    """
    if name_or_path in shipped_process_maps():
        file = f"{name_or_path}.toml (shipped)"
        text = files(__name__).joinpath(f"{name_or_path}.toml").read_text("utf-8")
    else:
        file, text = name_or_path, _read(name_or_path)
    declared = read_process_map(text, file)
    if declared.value is None:
        raise SettingsError(declared.problems)
    return declared.value


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8-sig")
    except FileNotFoundError:
        shipped = ", ".join(shipped_process_maps())
        problem = f"no such file, and no shipped process map of that name; shipped: {shipped}"
    except (OSError, ValueError) as error:
        problem = f"can't be read as UTF-8 text: {error}"
    raise SettingsError([Problem(path, "process map", "", problem)])
