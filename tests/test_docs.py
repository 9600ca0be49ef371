"""The docs against what is there: links, anchors, code blocks, command lines, names of metrics, settings and files."""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

import msgspec
import pytest
import yaml

from dataflows.checks import check_settings
from dataflows.settings import read_settings, setting_fields
from operators.incidents.kinds import KINDS
from scenarios.settings import demo_settings
from scenarios.settings import read_settings as read_simulation
from scenarios.simulate import simulate
from schemas.events import TOPICS, EventBase, field_names, type_name
from schemas.metrics import METRICS
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import Store, open_store
from tests.docs_commands import arguments_of, commands, names_what_exists, wrong_with
from tests.docs_pages import DOCS, ROOT, SHELL, Block, Page, anchors, page_of, pages

PAGES = pages()
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)

RUNBOOK = next(page for page in PAGES if page.path == DOCS / "runbook.md")
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "infra/prometheus/andon.rules.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]

#: Pages whose TOML is no settings file, and who else reads it.
OTHER_TOML = {
    "docs/adapters.md": "a mapping: tests/test_adapter_records.py",
    "docs/mappings.md": "a mapping: tests/test_tabular.py, tests/test_mapping.py",
    "docs/process-map.md": "a process map: tests/test_process_map.py",
    "docs/scenarios.md": "settings of the simulator: below",
}
#: What a settings file of a page names that is on the reader's machine only.
ELSEWHERE = ("clickhouse.password_file", "delivery.receiver", "kafka.client", "process.map")
#: A word with a dot that begins like a setting and is none.
NO_SETTINGS = {"source.py", "stock.py", "process.map", "kafka.client"}
#: Begin like metrics and are roles of the database.
DATABASE_ROLES = {"andon_write", "andon_migrate", "andon_mend", "andon_analyse"}
_PLACES = r"(?:schemas|operators|sinks|dataflows|scenarios|tests|benchmarks|infra|docs)"


def blocks(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in page.blocks if block.language in languages]


def named(found: Sequence[Block]) -> list[pytest.param]:
    return [pytest.param(one, id=f"{one.page.relative_to(ROOT)}:{one.line}") for one in found]


# --- links ------------------------------------------------------------------------------------------------------------


@each_page
def test_links_lead_somewhere(page: Page) -> None:
    assert [wrong for link in page.links if (wrong := _wrong(page, link.target))] == []


def _wrong(page: Page, target: str) -> str:
    """What is wrong with a link; empty where nothing is."""
    if re.match(r"[a-z]+:", target):
        return "" if target.startswith(("https://", "http://127.0.0.1", "mailto:")) else target
    place, _, anchor = unquote(target).partition("#")
    path = (page.path.parent / place).resolve() if place else page.path
    if not path.exists():
        return f"{target}: no such file"
    if page.path.is_relative_to(DOCS) and not path.is_relative_to(DOCS):
        return f"{target}: outside of docs/, where the site can't follow"
    if path.is_dir():
        return "" if page.path == ROOT / "README.md" else f"{target}: a folder is no page of the site"
    if not anchor:
        return ""
    aimed = next((one for one in PAGES if one.path == path), None)
    return "" if aimed is not None and anchor in anchors(aimed) else f"{target}: no such heading"


def test_every_page_is_named_where_readers_begin() -> None:
    own = {page.name for page in PAGES if page.path.parent == DOCS}
    readme = _aims(ROOT / "README.md")
    assert own - {"docs/index.md"} - readme == set(), "in the README's table"
    reached, new = {"docs/index.md"}, {"docs/index.md"}
    while new:
        new = {aim for name in new for aim in _aims(ROOT / name)} - reached
        reached |= new
    assert {page.name for page in PAGES} - {"README.md"} - reached == set(), "by links from docs/index.md"


def _aims(path: Path) -> set[str]:
    page = next((one for one in PAGES if one.path == path), None)
    targets = [] if page is None else [link.target.partition("#")[0] for link in page.links]
    paths = [(path.parent / target).resolve() for target in targets if target and ":" not in target]
    return {one.relative_to(ROOT).as_posix() for one in paths if one.suffix == ".md" and one.is_relative_to(ROOT)}


def test_pictures_are_told_to_those_who_do_not_see_them() -> None:
    for page in PAGES:
        for alt in re.findall(r"!\[(.*?)\]\(", page.path.read_text(encoding="utf-8")):
            assert len(alt) > 10, page.name


def test_a_link_that_leads_nowhere_is_seen() -> None:
    page = page_of(
        DOCS / "x.md", "[a](none.md) [b](running.md#none) [c](../README.md) [d](running.md#stopping) ![e](f.svg)"
    )
    assert [bool(_wrong(page, link.target)) for link in page.links] == [True, True, True, False, True]


# --- code blocks ------------------------------------------------------------------------------------------------------


def test_blocks_name_a_language_that_is_looked_at() -> None:
    known = {"toml", "sql", "json", "yaml", "python", "csv", "text", "mermaid", *SHELL}
    assert {block.language for page in PAGES for block in page.blocks} <= known


@pytest.mark.parametrize("block", named(blocks("toml")))
def test_settings_are_accepted(block: Block, tmp_path: Path) -> None:
    tomllib.loads(block.text)
    page = block.page.relative_to(ROOT).as_posix()
    if page == "docs/scenarios.md":
        read_simulation(block.text, page)
    elif page not in OTHER_TOML:
        path = tmp_path / "andon.toml"
        path.write_text(block.text, encoding="utf-8")
        checked = check_settings(read_settings(str(path), {}))
        assert [str(one) for one in checked.problems if not one.key.startswith(ELSEWHERE)] == []


@pytest.mark.parametrize("block", named(blocks("json")))
def test_json_can_be_read(block: Block) -> None:
    try:
        json.loads(block.text)
    except ValueError:
        for line in block.text.splitlines():
            json.loads(line)


@pytest.mark.parametrize("block", named(blocks("yaml")))
def test_yaml_can_be_read(block: Block) -> None:
    assert list(yaml.safe_load_all(block.text))


def test_python_compiles() -> None:
    for block in blocks("python"):
        _compile(block)
    with pytest.raises(SyntaxError):
        _compile(page_of(DOCS / "x.md", "```python\nimport\n```\n").blocks[0])


def _compile(block: Block) -> None:
    compile(block.text, f"{block.page.name}:{block.line}", "exec")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(f"chdb://{tmp_path_factory.mktemp('docs')}/db") as opened:
        migrate(opened)
        yield opened


def queries() -> list[pytest.param]:
    """SQL of blocks (the cookbook's have a test of their own, with data) and of `andon sql` on command lines."""
    found = [(block, block.text) for block in blocks("sql") if block.page != DOCS / "cookbook.md"]
    for block in blocks(*SHELL):
        for words in commands(block.text):
            arguments = arguments_of(words) or [""]
            if arguments[0] == "sql":
                found += [(block, word) for word in arguments[1:] if re.match(r"SELECT|DESCRIBE", word)]
    return [pytest.param(sql, id=f"{block.page.relative_to(ROOT)}:{block.line}") for block, sql in found]


@pytest.mark.parametrize("sql", queries())
def test_queries_run(sql: str, store: Store) -> None:
    assert store.query(sql).names


# --- command lines ----------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "ann")  # the default of --by


@each_page
def test_command_lines_are_taken(page: Page) -> None:
    wrong = []
    for block in page.blocks:
        if block.language in SHELL:
            for words in commands(block.text):
                arguments = arguments_of(words)
                said = wrong_with(arguments) if arguments is not None else ""
                wrong += [f"{block.line}: {' '.join(words)}: {said}"] if said else []
    assert wrong == []


@each_page
def test_commands_in_sentences_exist(page: Page) -> None:
    spans = [span for span in page.spans if re.match(r"andon [a-z]", span)]
    assert {span: said for span in spans if (said := names_what_exists(span.split()[1:]))} == {}


def test_a_wrong_command_line_is_seen() -> None:
    assert wrong_with(["replay", "a.jsonl", "--closeat", "end"])
    assert wrong_with(["process", "graph", "--format", "png"])
    assert wrong_with(["process", "draw"])
    assert wrong_with(["sql"])
    assert wrong_with(["process", "graph", "--format", "svg", "--out", "map.svg"]) == ""
    assert arguments_of(["kubectl", "exec", "andon-0", "--", "andon", "status"]) == ["status"]
    assert names_what_exists(["dlq", "list|reply"])
    assert names_what_exists(["run", "--process", "4"])
    assert names_what_exists(["dlq", "list|replay", "--reason", "schema"]) == ""
    assert list(commands("$ andon sql \\\n  'SELECT 1\nFROM x' > out  # why\nA=1 andon run && make x")) == [
        ["andon", "sql", "SELECT 1\nFROM x"],
        ["out"],
        ["andon", "run"],
        ["make", "x"],
    ]


def test_commands_that_wait_say_for_how_long() -> None:
    """kubectl gives up after 30 seconds by itself, and a first start takes minutes."""
    texts = [text for page in PAGES for text in [*page.spans, *(block.text for block in page.blocks)]]
    waits = [line for text in texts for line in text.splitlines() if "kubectl wait" in line]
    assert waits
    assert [line for line in waits if "--timeout" not in line] == []


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        lines = [words for block in page.blocks if block.language in SHELL for words in commands(block.text)]
        lines += [span.split() for span in page.spans]
        asked = {words[1] for words in lines if len(words) > 1 and words[0] == "make" and "=" not in words[1]}
        assert asked - targets == set(), page.name


def test_modules_and_scripts_that_are_to_be_run_exist() -> None:
    for page in PAGES:
        for text in [*page.spans, *(block.text for block in page.blocks if block.language in SHELL)]:
            for module in re.findall(r"python3? -m ([\w.]+)", text):
                assert importlib.util.find_spec(module), f"{page.name}: {module}"
            for script in re.findall(rf"python3? ({_PLACES}/[\w/.]+\.py)", text):
                assert (ROOT / script).is_file(), f"{page.name}: {script}"


# --- names ------------------------------------------------------------------------------------------------------------


@each_page
def test_files_that_are_named_exist(page: Page) -> None:
    spans = [span for span in page.spans if re.fullmatch(rf"{_PLACES}/(?!.*(?:NAME|NNNN))[\w./*-]*", span)]
    assert [span for span in spans if not list(ROOT.glob(span.rstrip("/")))] == []


@each_page
def test_metrics_that_are_named_exist(page: Page) -> None:
    known = {metric.name for metric in METRICS}
    series = re.findall(r"\bandon_[a-z_]+[a-z]\b", " ".join(page.spans))
    names = {name if name in known else re.sub(r"_(bucket|sum|count)$", "", name) for name in series}
    assert names - known - DATABASE_ROLES == set()


@each_page
def test_settings_that_are_named_exist(page: Page) -> None:
    known = {f"{section}.{field.encode_name}" for section, field in setting_fields()}
    sections = "|".join({name.partition(".")[0] for name in known})
    spans = [span for span in page.spans if re.fullmatch(rf"(?:{sections})\.[a-z_]+", span)]
    assert set(spans) - known - NO_SETTINGS == set()


def test_the_contracts_table_says_what_the_types_say() -> None:
    text = (DOCS / "contract.md").read_text(encoding="utf-8")
    common = field_names(EventBase)
    said = {}
    for topic, cell in re.findall(r"^\| `(\w+)` \| (.*\}) \|$", text, re.MULTILINE):
        for names, fields in re.findall(r"((?:`[\w.]+`(?:, )?)+) \{((?:[^{}]|\{[^{}]*\})*)\}", cell):
            own = re.sub(r": \[\{.*?\}\]", "", fields).split(", ")  # what is in a line is the type's own
            for name in re.findall(r"`([\w.]+)`", names):
                said[topic, name] = {field for field in own if field.rstrip("?") not in common}
    types = {(topic, type_name(record)): record for topic, records in TOPICS.items() for record in records}
    assert said == {
        key: {
            field.name if field.required else f"{field.name}?"
            for field in msgspec.structs.fields(record)
            if field.name not in common
        }
        for key, record in types.items()
    }


# --- the runbook ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_has_its_section(rule: dict[str, object]) -> None:
    labels = rule["labels"]
    assert isinstance(labels, dict)
    facts = f"**{labels['severity']}**, after {rule.get('for', '0m')}: `{rule['expr']}`"
    assert _section(str(rule["alert"])).startswith(f"\n\n{facts}\n\n**Means.**")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_incident_has_its_section(kind: str) -> None:
    assert _section(f"`{kind}`").startswith("\n\n**Means.**")


def _section(heading: str) -> str:
    """What stands under a heading: that it means something, where to look, what to do, when it is nothing."""
    text = RUNBOOK.path.read_text(encoding="utf-8")
    assert text.count(f"\n### {heading}\n") == 1
    section = text.partition(f"\n### {heading}")[2].partition("\n#")[0]
    parts = re.findall(r"^\*\*(\w+)\.?\*\*(?!,)", section, re.MULTILINE)
    assert parts == ["Means", "Look", "Do", "Harmless"]
    return section


def test_the_runbook_has_no_section_of_what_is_not_there() -> None:
    headings = [heading for heading in RUNBOOK.headings if re.fullmatch(r"Andon\w+|[a-z]+(_[a-z]+)+", heading)]
    assert headings == [rule["alert"] for rule in RULES] + [one for one in headings if one in KINDS]


def test_every_metric_is_in_the_runbook() -> None:
    text = RUNBOOK.path.read_text(encoding="utf-8")
    for metric in METRICS:
        assert text.count(f"\n| [`{metric.name}`](metrics.md#{metric.name}) |") == 1


# --- the example of the concepts --------------------------------------------------------------------------------------


def test_the_event_of_the_story_is_in_the_day_that_the_demo_simulates(tmp_path: Path) -> None:
    page = next(page for page in PAGES if page.path == DOCS / "concepts.md")
    (block,) = [block for block in page.blocks if block.language == "json"]
    simulate(demo_settings(), tmp_path)
    lines = (tmp_path / "reservations.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(block.text) in [json.loads(line) for line in lines if "SO-5000753" in line]


# --- what is generated ------------------------------------------------------------------------------------------------


def test_generated_pages_are_what_the_generator_writes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "infra/docs/build.py", str(tmp_path)], cwd=ROOT, check=True, timeout=120)
    written = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert len(written) >= 8
    for path in written:
        name = path.relative_to(tmp_path)
        assert (DOCS / name).read_bytes() == path.read_bytes(), f"docs/{name}: .venv/bin/python infra/docs/build.py"
