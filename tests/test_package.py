"""The wheel: both packages with their data and type information, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_wheel_has_both_packages_with_data_and_type_information(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]

    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)

    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert names >= {"agents/py.typed", "pipeline/py.typed", "pipeline/monitoring/pages/page.css"}
    assert names >= {f"pipeline/runbooks/{page.name}" for page in (ROOT / "pipeline" / "runbooks").iterdir()}
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"agents", "pipeline", "crisp"}
