"""The rules file in a running worker: read again when it changes, refused when it is broken."""

import os
from pathlib import Path

import pytest

from pipeline.config.settings import Settings
from pipeline.errors import RulesError
from pipeline.rules.reload import RulesReloader
from pipeline.rules.ruleset import Ruleset

ONE = "rules: [{name: one, when: {level: debug}, drop: true}]"
TWO = "rules: [{name: two, when: {level: debug}, drop: true}]"
BROKEN = "rules: [{name: two, dorp: true}]"


class AppliedRules(list[str]):
    """The names of the first rules that were put in force, in order."""

    def use(self, rules: Ruleset | None) -> None:
        self.append(rules.rules[0].name if rules else "")


def start(path: Path, **settings: str) -> tuple[RulesReloader, AppliedRules]:
    used = AppliedRules()
    return RulesReloader(Settings(rules_file=str(path), **settings), used.use), used  # type: ignore[arg-type]


def test_a_changed_file_is_in_force_at_the_next_look(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(ONE)
    renewal, used = start(path)
    renewal.poll()
    path.write_text(TWO)
    renewal.poll()
    renewal.poll()

    assert used == ["one", "two"]
    assert renewal.snapshot()["rules"] == ["two"]


def test_a_broken_file_is_refused_and_the_old_rules_stay(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(ONE)
    renewal, used = start(path)
    path.write_text(BROKEN)
    renewal.poll()

    assert (used, renewal.snapshot()["rules"]) == (["one"], ["one"])
    assert renewal.snapshot()["refused"][0].startswith(f'{path}:1:21 unknown key "dorp" (did you mean "drop"?)')

    path.write_text(TWO)
    renewal.poll()
    assert (used, renewal.snapshot()["refused"]) == (["one", "two"], [])


def test_the_old_file_after_a_broken_one_is_no_longer_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(ONE)
    renewal, _ = start(path)
    path.write_text(BROKEN)
    renewal.poll()
    path.write_text(ONE)
    renewal.poll()

    assert renewal.problems == []


def test_a_file_that_is_gone_is_refused_until_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(ONE)
    renewal, used = start(path)
    path.unlink()
    renewal.poll()

    assert (used, renewal.problems) == (["one"], [f"{path}: the rules cannot be read: No such file or directory"])

    path.write_text(ONE)
    renewal.poll()
    assert renewal.problems == []


def test_a_config_map_changes_by_a_swap_of_links(tmp_path: Path) -> None:
    for name, text in (("..1", ONE), ("..2", TWO)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rules.yaml").write_text(text)
        os.utime(tmp_path / name / "rules.yaml", (1, 1))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "rules.yaml").symlink_to("..data/rules.yaml")
    renewal, used = start(tmp_path / "rules.yaml")
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    renewal.poll()

    assert used == ["one", "two"]


def test_a_changed_hook_counts_as_changed_rules(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules: [{name: hooked, python: 'team:add'}]")
    (tmp_path / "team.py").write_text("def add(event):\n    event['team'] = 'a'\n")
    renewal, used = start(path, rules_python_dir=str(tmp_path))
    before = renewal.snapshot()["digest"]
    (tmp_path / "team.py").write_text("def add(event):\n    event['team'] = 'b'\n")
    renewal.poll()

    assert used == ["hooked", "hooked"]
    assert renewal.snapshot()["digest"] != before


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        pytest.param("", "has no function add", id="no_function"),
        pytest.param("add = 5", "has no function add", id="no_callable"),
        pytest.param("def add(:", "cannot be loaded: SyntaxError", id="syntax"),
        pytest.param("import nothing_such", "cannot be loaded: ModuleNotFoundError", id="import"),
        pytest.param("raise SystemExit(3)", "cannot be loaded: SystemExit", id="exit"),
    ],
)
def test_a_hook_that_cannot_be_had_is_a_fault_of_the_file(tmp_path: Path, module: str, expected: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules: [{name: hooked, python: 'pkg.team:add'}]")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "team.py").write_text(module)

    with pytest.raises(RulesError, match=expected) as refused:
        start(path, rules_python_dir=str(tmp_path))
    assert refused.value.problems[0].startswith(f"{path}:1:32 the module pkg.team ")


@pytest.mark.parametrize("reference", ["../x:y", "/etc/x:y", "x", "x:y:z", "x.:y", ":y"])
def test_a_hook_is_looked_for_in_its_directory_only(tmp_path: Path, reference: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(f"rules: [{{name: hooked, python: '{reference}'}}]")

    with pytest.raises(RulesError, match="expected module:function"):
        start(path, rules_python_dir=str(tmp_path))


def test_a_worker_does_not_start_with_a_broken_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(BROKEN)

    with pytest.raises(RulesError):
        start(path)


def test_without_a_file_there_is_nothing_to_look_at() -> None:
    used = AppliedRules()
    renewal = RulesReloader(Settings(), used.use)
    renewal.poll()

    assert (used, renewal.snapshot()["digest"]) == ([""], "")
