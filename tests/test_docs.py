"""The documentation agrees with the code: generated tables, commands, links. `make docs` renews what is generated."""

import dataclasses
import itertools
import re
import shlex
import subprocess
from pathlib import Path

import orjson
import pytest

from pipeline.cli.main import ALIASES, COMMANDS
from pipeline.config.settings import Settings, env_name
from pipeline.contract.ecs import FIELDS
from pipeline.monitoring.metric_table import SHIPPER, WORKER
from tests import generated_docs
from tests.deploy.alerts import SHIPPER_ALERTS, WORKER_ALERTS
from tests.generated_docs import PAGES, ROOT, command_parser

README = ROOT / "README.md"
DEPLOY_PAGES = [ROOT / "deploy" / "README.md", ROOT / "deploy" / "migration" / "fluent-bit.md"]
OWN_PAGES = [
    README,
    *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
RUNBOOKS = sorted((ROOT / "pipeline" / "runbooks").glob("*.md"))
ALL_PAGES = [*OWN_PAGES, *DEPLOY_PAGES, *RUNBOOKS]
ASSIGNMENT = re.compile(r"[A-Z_]+=.*")
KIB = 1024
LINE_LIMIT = 120


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def shell_lines(path: Path) -> list[str]:
    """The lines of a page's shell blocks."""
    blocks = re.findall(r"^ *```sh\n(.*?)```", path.read_text(), re.DOTALL | re.MULTILINE)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(path: Path) -> list[str]:
    """The targets of a page's links to other pages and to its own headings."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    text = re.sub(r"`[^`\n]*`", "", text)
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"https?:", target)]


def crisp_arguments() -> list[list[str]]:
    """The arguments of every `crisp` command in a shell block, and of `make demo`."""
    found = []
    for page in ALL_PAGES:
        for line in shell_lines(page):
            words = shlex.split(line, comments=True)
            for operator, part in itertools.groupby(words, lambda word: word in {"|", "&&", ";"}):
                command = [] if operator else list(itertools.dropwhile(ASSIGNMENT.fullmatch, part))
                if command[:1] == ["kubectl"] and "--" in command:
                    command = command[command.index("--") + 1 :]
                if command and command[0].rpartition("/")[2] == "crisp":
                    found.append(command[1:])
                if command[:2] == ["make", "demo"] and len(command) > 2:
                    found.append(["demo", *command[2].removeprefix("ARGS=").split()])
    return found


PARTS = [(page, name) for page, parts in PAGES.items() for name in parts]


@pytest.mark.parametrize(("page", "name"), PARTS, ids=[name for _, name in PARTS])
def test_generated_text_is_up_to_date(page: Path, name: str) -> None:
    found = generated_docs.pattern(name).search(page.read_text())

    assert found is not None
    assert found[0] == generated_docs.block(name, PAGES[page][name]())


def test_field_that_nothing_sets_has_no_row() -> None:
    rows = set(re.findall(r"^\| `([^`]+)` \|", generated_docs.fields_table(), re.MULTILINE))

    assert {"@timestamp", "log.offset", "kubernetes.cronjob.name", "http.request.method", "crisp.gap.bytes"} <= rows
    assert rows.isdisjoint({"cloud.region", "host.architecture", "agent.ephemeral_id"})
    others = set(re.findall(r"`([^`]+)`", generated_docs.mapped_fields()))
    assert others <= set(FIELDS) - rows
    assert "user.id" in others
    assert "kubernetes.pod.ip" not in others


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for page in ALL_PAGES for word in re.findall(r"[`\n]make ([a-z0-9-]+)", page.read_text())}

    assert named >= {"demo", "test"}
    assert named <= targets


def test_every_crisp_command_is_valid() -> None:
    commands = crisp_arguments()

    assert len(commands) >= 30
    for name, *arguments in commands:
        command_parser(ALIASES.get(name, name)).parse_args(arguments)


@pytest.mark.parametrize("page", [README, ROOT / "docs" / "getting-started.md"], ids=relative)
def test_line_to_parse_prints_a_document(page: Path) -> None:
    (line,) = [line for line in shell_lines(page) if "crisp parse" in line]
    line = re.sub(r"\| crisp", "| .venv/bin/crisp", line)

    printed = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, check=True).stdout

    source = orjson.loads(printed)["_source"]
    assert (source["log.level"], source["message"]) == ("warn", "hi")


@pytest.mark.parametrize("page", ALL_PAGES, ids=relative)
def test_shell_blocks_are_valid_bash(page: Path) -> None:
    text = "\n".join(shell_lines(page))

    assert subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True).stderr == ""


@pytest.mark.parametrize("page", ALL_PAGES, ids=relative)
def test_links_resolve(page: Path) -> None:
    broken = []
    for target in links(page):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)

    assert broken == []


def test_every_page_is_linked() -> None:
    reachable = {README}
    for _ in ALL_PAGES:
        reachable |= {
            (page.parent / target.partition("#")[0]).resolve()
            for page in reachable
            if page.suffix == ".md" and page.exists()
            for target in links(page)
        }

    assert [relative(page) for page in ALL_PAGES if page not in reachable] == []


@pytest.mark.parametrize("page", ALL_PAGES, ids=relative)
def test_every_setting_named_exists(page: Path) -> None:
    known = {env_name(row.name) for row in dataclasses.fields(Settings)} | {"CRISP_ES_URL"}  # the last: a typo, shown
    text = page.read_text().partition("### Changed")[0]  # the changelog's renames have old names
    named = set(re.findall(r"\bCRISP_[A-Z_]+[A-Z]\b", text))

    assert named <= known


@pytest.mark.parametrize("page", ALL_PAGES, ids=relative)
def test_every_path_named_exists(page: Path) -> None:
    named = re.findall(r"`((?:agents|pipeline|tests|deploy|docs)/[\w./-]+)`", page.read_text())

    assert [path for path in named if "<" not in path and not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", [*OWN_PAGES, *DEPLOY_PAGES], ids=relative)
def test_lines_outside_tables_and_commands_are_short_enough(page: Path) -> None:
    text = re.sub(r"^ *```sh\n.*?```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)

    assert [line for line in text.splitlines() if len(line) > LINE_LIMIT and not line.lstrip().startswith("|")] == []


@pytest.mark.parametrize("page", ALL_PAGES, ids=relative)
def test_every_metric_named_exists(page: Path) -> None:
    known = {row.exposed_name for row in (*WORKER, *SHIPPER)}
    named = set(re.findall(r"\bcrisp_(?:worker|shipper)_\w+", page.read_text()))

    assert {re.sub(r"_(?:bucket|sum|count)$", "", name) for name in named} <= known


@pytest.mark.parametrize("page", [page for page in ALL_PAGES if page.name != "CHANGELOG.md"], ids=relative)
def test_every_field_of_crisp_named_exists(page: Path) -> None:
    named = set(re.findall(r"`(crisp\.[a-z_.]+[a-z])`", page.read_text()))

    assert named <= set(FIELDS)


def test_every_alert_is_in_the_table_of_alerts() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    alerts = [(alert.name, alert.severity, alert.runbook) for alert in (*WORKER_ALERTS, *SHIPPER_ALERTS)]

    rows = re.findall(r"^\| `(Crisp\w+)` \| (\w+) \| .* \| \[([\w-]+)\]", page, re.MULTILINE)

    assert sorted(rows) == sorted(alerts)
    assert {runbook.stem for runbook in RUNBOOKS} == set(re.findall(r"runbooks/([\w-]+)\.md", page))


def test_pages_are_within_their_sizes() -> None:
    assert README.stat().st_size <= 8 * KIB
    assert (ROOT / "docs" / "architecture.md").stat().st_size <= 12 * KIB
    assert all(picture.stat().st_size <= 150 * KIB for picture in (ROOT / "docs" / "images").iterdir())


def test_every_command_has_a_section() -> None:
    assert {f"crisp-{name}" for name in COMMANDS} <= anchors(ROOT / "docs" / "commands.md")
