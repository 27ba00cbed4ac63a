"""What a shipper cannot read is a problem, a metric, and no readiness; `--once` fails."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.shipper import Shipper
from agents.unread import UnreadLogTracker
from pipeline.config.settings import Settings
from pipeline.monitoring.metric_table import SHIPPER
from pipeline.monitoring.metrics import Metrics
from pipeline.monitoring.problem import Severity
from tests.support.capabilities import without_file_capabilities

UID = "11111111-2222-3333-4444-555555555555"
LINE = "2026-11-24T10:00:00Z stdout F x\n"


@pytest.fixture(autouse=True)
def ordinary_user() -> Iterator[None]:
    with without_file_capabilities():
        yield


def write_log(logs: Path, pod: str = "pay-1", namespace: str = "shop") -> Path:
    path = logs / f"{namespace}_{pod}_{UID}" / "app" / "0.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(LINE)
    return path


def make_shipper(tmp_path: Path, **changes: object) -> Shipper:
    settings = {"logs_dir": str(tmp_path / "pods"), "state_dir": str(tmp_path / "state"), "kubernetes": "off"}
    shipper = Shipper(Settings(**{**settings, "node_name": "n", **changes}))  # type: ignore[arg-type]
    shipper._link._unavailable = ""  # as if it were connected to Kafka
    return shipper


def no_rights(log: Path, _: Path) -> None:
    log.chmod(0)


def no_right_to_search(log: Path, _: Path) -> None:
    log.parent.chmod(0o400)


def no_right_to_list(log: Path, _: Path) -> None:
    log.parent.parent.chmod(0o100)


def link_to_docker(log: Path, tmp_path: Path) -> None:
    log.unlink()
    log.symlink_to(tmp_path / "containers" / "ab" / "ab-json.log")


def linked_pod_directory(log: Path, tmp_path: Path) -> None:
    pod = log.parent.parent
    pod.rename(tmp_path / "elsewhere")
    pod.symlink_to(tmp_path / "elsewhere")


def linked_container_directory(log: Path, tmp_path: Path) -> None:
    log.parent.rename(tmp_path / "elsewhere")
    log.parent.symlink_to(tmp_path / "elsewhere")


def named_pipe(log: Path, _: Path) -> None:
    log.unlink()
    os.mkfifo(log)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (no_rights, "1 log file cannot be opened: shop/pay-1/app (LOG): Permission denied."),
        (no_right_to_search, "1 log file cannot be opened: shop/pay-1/app (LOG): Permission denied."),
        (no_right_to_list, "1 log directory cannot be read: POD: Permission denied."),
        (link_to_docker, "1 log file cannot be opened: shop/pay-1/app (LOG): symbolic link, not followed"),
        (linked_pod_directory, "1 log directory cannot be read: POD: symbolic link, not followed."),
        (linked_container_directory, "1 log directory cannot be read: POD/app: symbolic link, not followed."),
        (named_pipe, "1 log file cannot be opened: shop/pay-1/app (LOG): not a regular file."),
    ],
)
async def test_unreadable_log_is_critical_and_not_ready(
    tmp_path: Path, fault: Callable[[Path, Path], None], message: str
) -> None:
    log = write_log(tmp_path / "pods")
    shipper = make_shipper(tmp_path)
    fault(log, tmp_path)

    shipper._scan()

    message = message.replace("LOG", str(log)).replace("POD", str(log.parent.parent))
    (problem,) = shipper.status().problems
    assert (problem.severity, problem.runbook) == (Severity.CRITICAL, "unreadable-logs")
    assert problem.message.startswith(message)
    assert shipper._readiness_problem() == problem.message == shipper.once_problem()
    metrics = [shipper._metrics.get(f"crisp_shipper_unreadable_{kind}") for kind in ("directories", "files")]
    assert metrics == ([1, 0] if "directory" in message else [0, 1])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda _: None, "no such directory"),
        (lambda path: path.write_text(""), "not a directory"),
        (lambda path: path.mkdir(0), "Permission denied"),
        (lambda path: path.symlink_to(path.with_name("gone")), "no such directory"),
    ],
)
async def test_unreadable_top_directory_is_critical(
    tmp_path: Path, make: Callable[[Path], object], reason: str
) -> None:
    make(tmp_path / "pods")
    shipper = make_shipper(tmp_path)

    shipper._scan()

    (problem,) = shipper.status().problems
    assert problem.severity is Severity.CRITICAL
    assert problem.message.endswith(f": {reason}.")
    assert shipper._readiness_problem() == problem.message == shipper.once_problem()


async def test_top_directory_below_a_closed_one_is_critical_and_does_not_end_the_shipper(tmp_path: Path) -> None:
    write_log(tmp_path / "closed" / "pods")
    (tmp_path / "closed").chmod(0)
    shipper = make_shipper(tmp_path, logs_dir=str(tmp_path / "closed" / "pods"))

    shipper._scan()

    assert shipper.once_problem().endswith("Permission denied.")


async def test_dangling_link_into_docker_directory_is_critical(tmp_path: Path) -> None:
    (tmp_path / "containers").mkdir()
    log = write_log(tmp_path / "pods")
    link_to_docker(log, tmp_path)
    shipper = make_shipper(tmp_path, docker_dir=str(tmp_path / "containers"))

    shipper._scan()

    assert f"symbolic link to {tmp_path}/containers/ab/ab-json.log, which is no log" in shipper.once_problem()


async def test_shipper_that_reads_other_logs_is_ready_in_spite_of_an_unreadable_file(tmp_path: Path) -> None:
    write_log(tmp_path / "pods", "pay-2")
    no_rights(write_log(tmp_path / "pods"), tmp_path)
    shipper = make_shipper(tmp_path)

    shipper._scan()

    assert shipper._readiness_problem() == ""
    assert shipper.once_problem().startswith("1 log file cannot be opened: shop/pay-1/app")


async def test_file_that_is_readable_again_is_no_problem(tmp_path: Path) -> None:
    log = write_log(tmp_path / "pods")
    shipper = make_shipper(tmp_path)
    no_rights(log, tmp_path)
    shipper._scan()
    assert shipper.status().problems

    log.chmod(0o600)
    shipper._scan()

    assert shipper.status().problems == ()
    assert shipper.status().tracked_containers == 0  # a gauge of the checkpoint loop, which does not run
    assert len(shipper._containers.tails) == 1


async def test_removed_unreadable_file_is_a_gap(tmp_path: Path) -> None:
    log = write_log(tmp_path / "pods")
    shipper = make_shipper(tmp_path)
    no_rights(log, tmp_path)
    shipper._scan()

    log.unlink()
    shipper._scan()

    assert [problem.runbook for problem in shipper.status().problems] == ["gap"]


async def test_unreadable_file_of_excluded_namespace_is_no_problem(tmp_path: Path) -> None:
    link_to_docker(write_log(tmp_path / "pods", namespace="batch"), tmp_path)
    no_rights(write_log(tmp_path / "pods", "pay-2", namespace="batch"), tmp_path)
    shipper = make_shipper(tmp_path, exclude_namespaces=("batch",))

    shipper._scan()

    assert shipper.status().problems == ()


async def test_missing_default_directory_is_no_problem_of_a_node_with_plain_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = Settings().logs_dir
    real = os.stat
    monkeypatch.setattr(
        os, "stat", lambda path, **options: real(f"{path}-none" if path == default else path, **options)
    )
    (tmp_path / "web.log").write_text("x\n")
    shipper = make_shipper(tmp_path, logs_dir=default, plain_dirs=(str(tmp_path),))

    shipper._scan()

    assert shipper.status().problems == ()


@pytest.mark.parametrize("directory", ["containers", "shop_pay-1/app", ""])
async def test_directory_of_another_layout_is_a_warning_after_five_minutes(tmp_path: Path, directory: str) -> None:
    (tmp_path / "pods" / directory).mkdir(parents=True)
    (tmp_path / "pods" / directory / "0.log").write_text(LINE)
    shipper = make_shipper(tmp_path)
    shipper._scan()
    tracker: UnreadLogTracker = shipper._unread
    assert shipper.once_problem().startswith("No log file found")
    start = tracker._seen_at
    assert start is not None

    tracker.update(shipper._discovery.unread, shipper._containers, start + 299)
    assert shipper.status().problems == ()
    tracker.update(shipper._discovery.unread, shipper._containers, start + 301)

    (problem,) = shipper.status().problems
    assert (problem.severity, problem.runbook) == (Severity.WARNING, "unreadable-logs")
    assert problem.message.startswith("No container's log found for 5 min 1 s")
    assert shipper._metrics.get("crisp_shipper_no_containers_seconds") == pytest.approx(301)
    write_log(tmp_path / "pods")
    shipper._scan()
    assert shipper.status().problems == ()


def test_listed_paths_are_bounded_and_counted(tmp_path: Path) -> None:
    for number in range(30):
        no_rights(write_log(tmp_path / "pods", f"pay-{number}"), tmp_path)
    shipper = make_shipper(tmp_path)

    asyncio.run(_scan(shipper))

    unread = shipper._unread.current
    assert (len(unread.files), unread.file_count) == (20, 30)
    assert shipper._metrics.get("crisp_shipper_unreadable_files") == 30


async def _scan(shipper: Shipper) -> None:
    shipper._scan()


def test_metrics_exist_from_the_start() -> None:
    page = Metrics(SHIPPER).exposition().decode()

    for name in ("unreadable_directories", "unreadable_files", "no_containers_seconds"):
        assert f"\ncrisp_shipper_{name} 0.0" in page
