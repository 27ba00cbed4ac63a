"""`crisp check` of log directories: what the shipper could not read fails, what it would not find is a warning."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config.settings import ShipperSettings
from pipeline.operations.check import log_directories
from tests.support.capabilities import without_file_capabilities

UID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(autouse=True)
def ordinary_user() -> Iterator[None]:
    with without_file_capabilities():
        yield


def write_log(logs: Path, pod: str = "pay-1") -> Path:
    path = logs / f"shop_{pod}_{UID}" / "app" / "0.log"
    path.parent.mkdir(parents=True)
    path.write_text("x\n")
    return path


def check(logs: Path, **changes: object) -> tuple[str, str]:
    """Return status and observation of the check of one log directory."""
    settings = ShipperSettings(logs_dir=str(logs), **changes)  # type: ignore[arg-type]
    result = log_directories.run_checks(settings)[0]
    return result.status, result.observed


def test_readable_files_are_counted(tmp_path: Path) -> None:
    write_log(tmp_path)
    write_log(tmp_path, "pay-2")

    assert check(tmp_path) == ("ok", "2 log files are readable")


def test_file_without_rights_fails(tmp_path: Path) -> None:
    log = write_log(tmp_path)
    write_log(tmp_path, "pay-2")
    log.chmod(0)

    assert check(tmp_path) == ("failed", f"1 path cannot be read, 1 can; {log}: Permission denied")


def test_directory_without_rights_fails(tmp_path: Path) -> None:
    log = write_log(tmp_path)
    log.parent.parent.chmod(0)

    assert check(tmp_path) == ("failed", f"1 path cannot be read, 0 can; {log.parent.parent}: Permission denied")


def test_missing_directory_fails(tmp_path: Path) -> None:
    assert check(tmp_path / "pods") == (
        "failed",
        f"1 path cannot be read, 0 can; {tmp_path}/pods: No such file or directory",
    )


def test_missing_default_directory_is_not_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(log_directories, "DEFAULT_DIRECTORY", str(tmp_path / "pods"))

    (result,) = log_directories.run_checks(ShipperSettings(logs_dir=str(tmp_path / "pods")))

    assert result.line() == f"SKIP  log directory {tmp_path}/pods: does not exist on this machine; not checked"


def test_docker_link_fails_without_docker_directory_only(tmp_path: Path) -> None:
    docker = tmp_path / "containers" / "ab" / "ab-json.log"
    docker.parent.mkdir(parents=True)
    docker.write_text("x\n")
    log = write_log(tmp_path / "pods")
    log.unlink()
    log.symlink_to(docker)

    assert "CRISP_DOCKER_DIR" in check(tmp_path / "pods")[1]
    assert check(tmp_path / "pods", docker_dir=str(docker.parent.parent))[0] == "ok"
    docker.unlink()
    status, observed = check(tmp_path / "pods", docker_dir=str(docker.parent.parent))
    assert status == "failed"
    assert "No such file" in observed


def test_directory_of_links_fails(tmp_path: Path) -> None:
    (tmp_path / "pay-1_shop_app.log").symlink_to(write_log(tmp_path.parent / f"{tmp_path.name}-pods"))

    assert check(tmp_path) == (
        "failed",
        f"1 path cannot be read, 0 can; {tmp_path}/pay-1_shop_app.log: symbolic link, not followed",
    )


def test_directory_without_logs_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "syslog").write_text("x\n")

    assert check(tmp_path) == ("warning", "has no log file")


def test_plain_and_docker_directories_are_checked(tmp_path: Path) -> None:
    settings = ShipperSettings(
        logs_dir=str(tmp_path), plain_dirs=(str(tmp_path / "plain"),), docker_dir=str(tmp_path / "docker")
    )

    results = log_directories.run_checks(settings)

    assert [(result.subject, result.status) for result in results] == [
        (f"log directory {tmp_path}", "warning"),
        (f"log directory {tmp_path}/plain", "failed"),
        (f"log directory {tmp_path}/docker", "failed"),
    ]
