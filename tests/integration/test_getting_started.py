"""The recipe "By hand, with your own logs" of docs/getting-started.md, word for word, in a shell of its own."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "getting-started.md"
LAST = "crisp local down"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that Elasticsearch's own user may enter, for everything that the recipe writes."""
    made = Path(tempfile.mkdtemp(prefix="crisp-recipe-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.mark.servers
def test_recipe_by_hand_ends_with_every_event_accounted_for(directory: Path) -> None:
    section = PAGE.read_text().partition("\n## By hand")[2].partition("\n## ")[0]
    lines = "".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL)).splitlines()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CRISP_", "ES_"))}
    environment |= {"PATH": f"{ROOT / '.venv' / 'bin'}:{environment['PATH']}", "TMPDIR": str(directory)}
    script = "\n".join(["set -e", f"trap '{LAST}' EXIT", *(line for line in lines if line != LAST)])

    result = subprocess.run(["bash", "-c", script], cwd=directory, env=environment, capture_output=True, text=True)

    assert result.returncode == 0, result.stdout + result.stderr
    assert LAST in lines
    assert re.findall(r"shop/pay-1 payment (\d) refused", result.stdout) == ["1", "2", "3"]
    assert result.stdout.count("every event is accounted for") == 2
    assert "the local servers are stopped" in result.stdout
