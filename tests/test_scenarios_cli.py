"""`andon simulate`, as a person and as a machine use it."""

import json
from pathlib import Path

from click.testing import CliRunner

from dataflows.cli.simulate import simulate
from schemas.errors import SettingsError


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(simulate, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_it_tells_a_person_what_was_injected(tmp_path: Path) -> None:
    shown = _run("--out", str(tmp_path), "--orders", "300", "--stores", "4", "--breakdown", "feed_stopped")
    assert "feed_stopped" in shown
    assert "store-002" in shown
    assert (tmp_path / "truth.jsonl").exists()


def test_it_tells_a_machine_the_same_and_options_win_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "day.toml"
    config.write_text(
        'stores = 9\nduration = "2h"\norders_per_day = 100\n[[breakdowns]]\nkind = "feed_stopped"\n'
        'begin = "1h"\nend = "2h"\n'
    )
    shown = json.loads(_run("--out", str(tmp_path / "out"), "--config", str(config), "--stores", "2", "--json"))
    assert shown["truth"][-1]["scope"] == {"node": "store-002", "source": "wms-stores-north"}
    assert shown["events"]["inventory"] == len(Path(shown["files"]["inventory"]).read_bytes().splitlines())


def test_an_unknown_kind_is_refused_with_those_there_are(tmp_path: Path) -> None:
    result = CliRunner().invoke(simulate, ["--out", str(tmp_path), "--breakdown", "flood"])
    assert isinstance(result.exception, SettingsError)
    assert "queue_saturation" in str(result.exception)


def test_a_preset_is_the_base_and_what_else_is_said_wins(tmp_path: Path) -> None:
    config = tmp_path / "day.toml"
    config.write_text('skus = 100\nduration = "1h"\n')
    shown = json.loads(
        _run("--out", str(tmp_path / "out"), "--preset", "forty", "--config", str(config), "--orders", "100", "--json")
    )
    levels = [json.loads(line) for line in Path(shown["files"]["inventory"]).read_bytes().splitlines()]
    assert len({level["node"] for level in levels}) == 40
    assert len({level["sku"] for level in levels}) == 100


def test_hazards_are_told_and_no_breakdown_is(tmp_path: Path) -> None:
    shown = _run("--out", str(tmp_path), "--orders", "200", "--stores", "3", "--hazard", "duplicate_burst")
    assert "hazard duplicate_burst, 2026-03-02T12:00:00Z to 2026-03-02T12:10:00Z: nothing is broken by it" in shown
    assert "nothing was injected" in shown


def test_the_log_begins_when_it_is_asked_to(tmp_path: Path) -> None:
    options = ("--stores", "1", "--orders", "20", "--hours", "1", "--json")
    shown = json.loads(_run("--out", str(tmp_path), "--start", "2026-03-29T00:00:00+01:00", *options))
    assert shown["truth"][0]["begin"] == "2026-03-28T23:00:00Z"
    result = CliRunner().invoke(simulate, ["--out", str(tmp_path), "--start", "tomorrow"])
    assert result.exit_code == 2
    assert "--start" in result.output


def test_somewhere_the_log_must_go() -> None:
    result = CliRunner().invoke(simulate, [])
    assert result.exit_code == 2
    assert "--out DIR, --kafka HOST:PORT, or both" in result.output
