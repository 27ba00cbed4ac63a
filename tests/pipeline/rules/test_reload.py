"""The rules file in a running worker: reloaded when it changes, rejected when it is invalid."""

import os
from pathlib import Path

import pytest

from pipeline.config.settings import Settings
from pipeline.errors import RulesError
from pipeline.rules.reload import RulesReloader

ONE = "rules: [{name: one, when: {level: debug}, drop: true}]"
TWO = "rules: [{name: two, when: {level: debug}, drop: true}]"
BROKEN = "rules: [{name: two, dorp: true}]"


class RecordingReloader(RulesReloader):
    """Keeps the name of the first rule of each reload, in order."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.applied = [self._first_name()]

    def _first_name(self) -> str:
        return self.rules.rules[0].name if self.rules else ""

    def poll(self) -> bool:
        is_new = super().poll()
        if is_new:
            self.applied.append(self._first_name())
        return is_new


def start(path: Path, **settings: str) -> tuple[RulesReloader, list[str]]:
    reloader = RecordingReloader(Settings(rules_file=str(path), **settings))  # type: ignore[arg-type]
    return reloader, reloader.applied


def test_changed_file_is_in_force_after_the_next_poll(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(ONE)
    reloader, applied = start(path)
    reloader.poll()
    path.write_text(TWO)
    reloader.poll()
    reloader.poll()

    assert applied == ["one", "two"]
    assert reloader.snapshot().names == ("two",)


def test_invalid_file_is_rejected_and_the_old_rules_stay(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(ONE)
    reloader, applied = start(path)
    path.write_text(BROKEN)
    reloader.poll()

    assert (applied, reloader.snapshot().names) == (["one"], ("one",))
    assert reloader.snapshot().problems[0].startswith(f'{path}:1:21 unknown key "dorp" (did you mean "drop"?)')

    path.write_text(TWO)
    reloader.poll()
    assert (applied, reloader.snapshot().problems) == (["one", "two"], ())


def test_restored_file_clears_the_problems(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(ONE)
    reloader, _ = start(path)
    path.write_text(BROKEN)
    reloader.poll()
    path.write_text(ONE)
    reloader.poll()

    assert reloader.problems == []


def test_missing_file_is_rejected_until_it_is_restored(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(ONE)
    reloader, applied = start(path)
    path.unlink()
    reloader.poll()

    assert (applied, reloader.problems) == (["one"], [f"{path}: the rules cannot be read: No such file or directory"])

    path.write_text(ONE)
    reloader.poll()
    assert reloader.problems == []


def test_config_map_update_by_symbolic_link_is_reloaded(tmp_path: Path) -> None:
    for name, text in (("..1", ONE), ("..2", TWO)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rules.yaml").write_text(text)
        os.utime(tmp_path / name / "rules.yaml", (1, 1))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "rules.yaml").symlink_to("..data/rules.yaml")
    reloader, applied = start(tmp_path / "rules.yaml")
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    reloader.poll()

    assert applied == ["one", "two"]


def test_changed_hook_reloads_the_rules(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules: [{name: hooked, python: 'team:add'}]")
    (tmp_path / "team.py").write_text("def add(event):\n    event['team'] = 'a'\n")
    reloader, applied = start(path, rules_python_dir=str(tmp_path))
    before = reloader.snapshot().digest
    (tmp_path / "team.py").write_text("def add(event):\n    event['team'] = 'b'\n")
    reloader.poll()

    assert applied == ["hooked", "hooked"]
    assert reloader.snapshot().digest != before


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
def test_unloadable_hook_is_a_problem_of_the_file(tmp_path: Path, module: str, expected: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules: [{name: hooked, python: 'pkg.team:add'}]")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "team.py").write_text(module)

    with pytest.raises(RulesError, match=expected) as raised:
        start(path, rules_python_dir=str(tmp_path))
    assert raised.value.problems[0].startswith(f"{path}:1:32 the module pkg.team ")


@pytest.mark.parametrize("reference", ["../x:y", "/etc/x:y", "x", "x:y:z", "x.:y", ":y"])
def test_hook_is_loaded_from_its_directory_only(tmp_path: Path, reference: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(f"rules: [{{name: hooked, python: '{reference}'}}]")

    with pytest.raises(RulesError, match="expected module:function"):
        start(path, rules_python_dir=str(tmp_path))


def test_invalid_file_prevents_the_start(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(BROKEN)

    with pytest.raises(RulesError):
        start(path)


def test_poll_without_a_file_does_nothing() -> None:
    reloader = RulesReloader(Settings())

    assert (reloader.poll(), reloader.rules, reloader.snapshot().digest) == (False, None, "")
