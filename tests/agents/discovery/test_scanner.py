"""Discovery of new files by events and by polling; links that are not followed; plain and docker layouts."""

import asyncio
import errno
import gzip
import json
import os
from pathlib import Path

import pytest

from agents.discovery import inotify, layouts
from agents.discovery.directory_cache import DirectoryCache
from agents.discovery.inotify import Inotify
from agents.discovery.scanner import DiscoveredFile, Discovery, kubelet_layout
from agents.tailing.open_file import open_log
from pipeline.config.settings import Settings
from pipeline.contract.pod_metadata import Instance
from pipeline.documents import container_fields

UID = "11111111-2222-3333-4444-555555555555"
DOCKER_ID = "ab" * 32


def names(files: list[DiscoveredFile]) -> list[str]:
    return [file.path.name for file in files]


def write_log(root: Path, pod: str = "pay-1", name: str = "0.log") -> Path:
    path = root / f"shop_{pod}_{UID}" / "app" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("2026-11-24T10:00:00Z stdout F x\n")
    return path


@pytest.fixture(params=["events", "poll", "both"])
def discovery(request: pytest.FixtureRequest, tmp_path: Path) -> Discovery:
    (tmp_path / "pods").mkdir()
    return layouts.create_discovery(Settings(logs_dir=str(tmp_path / "pods"), discovery=request.param))


def test_created_renamed_and_deleted_files_are_listed_by_next_scan(discovery: Discovery, tmp_path: Path) -> None:
    root = tmp_path / "pods"
    assert discovery.scan() == []
    live = write_log(root)
    assert names(discovery.scan()) == ["0.log"]
    live.rename(live.with_name("0.log.20261124-100000"))
    assert names(discovery.scan()) == ["0.log.20261124-100000"]
    write_log(root)
    write_log(root, name="0.log.20261124-090000.gz")
    files = discovery.scan()
    assert names(files) == ["0.log.20261124-090000.gz", "0.log.20261124-100000", "0.log"]
    assert files[2].instance == Instance("shop", "pay-1", UID, "app", 0)
    for file in live.parent.iterdir():
        file.unlink()
    live.parent.rmdir()
    assert discovery.scan() == []
    write_log(root)
    assert names(discovery.scan()) == ["0.log"]


def test_unchanged_directory_is_listed_once(
    monkeypatch: pytest.MonkeyPatch, discovery: Discovery, tmp_path: Path
) -> None:
    live = write_log(tmp_path / "pods")
    for directory in (live.parent, live.parent.parent, tmp_path / "pods"):
        os.utime(directory, (1, 1))
    discovery.scan()
    monkeypatch.setattr(os, "listdir", lambda path: pytest.fail(f"{path} was listed again"))
    assert names(discovery.scan()) == ["0.log"]


async def test_directory_event_calls_back_at_once_and_once_per_scan(tmp_path: Path) -> None:
    (tmp_path / "pods").mkdir()
    discovery = layouts.create_discovery(Settings(logs_dir=str(tmp_path / "pods"), discovery="events"))
    notified = asyncio.Event()
    calls = 0

    def on_change() -> None:
        nonlocal calls
        calls += 1
        notified.set()

    discovery.scan()
    with discovery.notify_on_change(on_change):
        for number in range(3):
            write_log(tmp_path / "pods", f"pay-{number}")
            await asyncio.wait_for(notified.wait(), 10)  # nothing polls here: only an event calls back
            await asyncio.sleep(0.05)
            notified.clear()
            assert len(discovery.scan()) == number + 1
        assert calls == 3


def test_inotify_queue_overflow_causes_full_rescan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = tmp_path / "pods"
    write_log(root)
    discovery = layouts.create_discovery(Settings(logs_dir=str(root), discovery="events"))
    assert len(discovery.scan()) == 1
    Inotify.read_changed(discovery._cache._inotify)  # type: ignore[arg-type]
    real, overflow = os.read, inotify._EVENT.pack(-1, inotify._OVERFLOW, 0, 0)
    reads = iter([overflow])
    write_log(root, "pay-2")
    discovery._cache._inotify.read_changed()  # type: ignore[union-attr] # the event of pay-2 is lost
    monkeypatch.setattr(os, "read", lambda descriptor, size: next(reads, None) or real(descriptor, size))

    assert len(discovery.scan()) == 2


@pytest.mark.parametrize("call", ["inotify_init1", "inotify_add_watch"])
def test_discovery_without_inotify_falls_back_to_polling(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    real = Inotify._check

    def check(result: int, name: str) -> int:
        if name == call:
            raise OSError(28, "no space left on device")
        return real(result, name)

    monkeypatch.setattr(Inotify, "_check", staticmethod(check))
    root = tmp_path / "pods"
    root.mkdir()
    discovery = layouts.create_discovery(Settings(logs_dir=str(root), discovery="events"))
    assert discovery.scan() == []
    write_log(root)
    assert names(discovery.scan()) == ["0.log"]
    assert [record.message for record in caplog.records if "inotify unavailable" in record.message]


def test_missing_top_directory_is_unreadable_not_empty(tmp_path: Path) -> None:
    discovery = layouts.create_discovery(Settings(logs_dir=str(tmp_path / "pods")))
    assert discovery.scan() == []
    assert discovery.unreadable == {str(tmp_path / "pods"): "no such directory"}
    write_log(tmp_path / "pods")
    assert names(discovery.scan()) == ["0.log"]
    assert discovery.unreadable == {}


def test_unreadable_directory_keeps_its_cached_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    live = write_log(tmp_path / "pods")
    os.utime(live.parent, (1, 1))
    discovery = layouts.create_discovery(Settings(logs_dir=str(tmp_path / "pods"), discovery="poll"))
    discovery.scan()
    os.utime(live.parent, (2, 2))
    real = os.listdir

    def listdir(path: str) -> list[str]:
        if path == str(live.parent):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    assert names(discovery.scan()) == ["0.log"]
    assert list(discovery.unreadable) == [str(live.parent)]


@pytest.mark.parametrize("kind", ["file", "container", "pod"])
def test_links_are_not_followed(tmp_path: Path, kind: str) -> None:
    secret = write_log(tmp_path / "elsewhere")
    root = tmp_path / "pods"
    link = {
        "file": root / secret.relative_to(tmp_path / "elsewhere"),
        "container": root / secret.parent.relative_to(tmp_path / "elsewhere"),
        "pod": root / secret.parent.parent.name,
    }[kind]
    target = {"file": secret, "container": secret.parent, "pod": secret.parent.parent}[kind]
    link.parent.mkdir(parents=True)
    link.symlink_to(target)

    assert Discovery([kubelet_layout(root)], DirectoryCache()).scan() == []
    with pytest.raises(OSError, match=r"Too many levels|Not a directory"):
        open_log(str(root), root / secret.relative_to(tmp_path / "elsewhere"))


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    path = write_log(tmp_path)
    path.unlink()
    os.mkfifo(path)

    assert Discovery([kubelet_layout(tmp_path)], DirectoryCache()).scan() == []
    with pytest.raises(OSError, match="not a regular file"):
        open_log(str(tmp_path), path)


@pytest.mark.parametrize(
    "path",
    [
        f"Shop_pay_{UID}/app/0.log",
        "shop_pay/app/0.log",
        f"shop_pay_{UID}/App_/0.log",
        f"shop_pay_{UID}/app/x.log",
        f"shop_pay_{UID}/app/\N{ARABIC-INDIC DIGIT ONE}.log",
        f"shop_pay_{UID}/app/0.log.2026112\N{FULLWIDTH DIGIT FOUR}-100000",
        f"shop_pay_{UID}/app/00.log",
        f"shop_pay_{UID}/app/0.log.gz",
        f"shop_pay_{UID}/app/0.log.20261124-100000.tmp",
        f"shop_pay_{UID}/0.log",
    ],
)
def test_file_with_other_name_is_ignored(tmp_path: Path, path: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text("x\n")

    assert Discovery([kubelet_layout(tmp_path)], DirectoryCache()).scan() == []


def test_plain_files_are_logs_of_containers_without_pod(tmp_path: Path) -> None:
    for name in ("web.log", "web.log.1", "web.log.2.gz", "web.log-20261124", "web.txt", ".hidden.log", "web.logger"):
        (tmp_path / name).write_text("x\n")
    settings = Settings(logs_dir=str(tmp_path / "none"), plain_dirs=(str(tmp_path),), node_name="n-1")

    files = layouts.create_discovery(settings).scan()

    assert names(files) == ["web.log.2.gz", "web.log.1", "web.log-20261124", "web.log"]
    assert {file.instance.container for file in files} == {"web"}
    fields = container_fields.parse(files[0].metadata, settings)
    assert fields.constant["host.name"] == "n-1"
    assert fields.service_defaults["service.name"] == "web"
    assert not any(name.startswith(("kubernetes.", "orchestrator.")) for name in fields.constant)


def write_docker_log(root: Path, labels: dict[str, str]) -> Path:
    directory = root / DOCKER_ID
    directory.mkdir(parents=True)
    config = {"Name": "/shop-web-1", "Config": {"Image": "shop/web:1.2", "Labels": labels}}
    (directory / "config.v2.json").write_text(json.dumps(config))
    live = directory / f"{DOCKER_ID}-json.log"
    live.write_text('{"log":"x\\n","stream":"stdout","time":"2026-11-24T10:00:00.1Z"}\n')
    return live


def test_docker_logs_are_listed_with_metadata_of_docker_config(tmp_path: Path) -> None:
    live = write_docker_log(tmp_path / "containers", {"com.docker.compose.service": "web"})
    live.with_name(live.name + ".1").write_text("x\n")
    with gzip.open(live.with_name(live.name + ".2.gz"), "wb") as file:
        file.write(b"x\n")
    settings = Settings(logs_dir=str(tmp_path / "none"), docker_dir=str(tmp_path / "containers"), node_name="n-1")

    files = layouts.create_discovery(settings).scan()

    assert names(files) == [f"{live.name}.2.gz", f"{live.name}.1", live.name]
    assert files[0].instance == Instance("", "", DOCKER_ID, "shop-web-1", 0)
    fields = container_fields.parse(files[0].metadata, settings)
    assert fields.constant["container.id"] == DOCKER_ID
    assert (fields.constant["container.image.name"], fields.constant["container.image.tag"]) == ("shop/web", ["1.2"])
    assert fields.constant["container.labels"] == {"com.docker.compose.service": "web"}
    assert fields.constant["container.runtime"] == "docker"
    assert fields.service_defaults["service.name"] == "web"


def test_kubelet_link_is_followed_only_into_docker_directory(tmp_path: Path) -> None:
    live = write_docker_log(tmp_path / "containers", {"io.kubernetes.pod.uid": UID})
    link = tmp_path / "pods" / f"shop_pay-1_{UID}" / "app" / "0.log"
    link.parent.mkdir(parents=True)
    link.symlink_to(live)
    pods = str(tmp_path / "pods")

    assert layouts.create_discovery(Settings(logs_dir=pods)).scan() == []
    (file,) = layouts.create_discovery(Settings(logs_dir=pods, docker_dir=str(tmp_path / "containers"))).scan()
    assert file.instance == Instance("shop", "pay-1", UID, "app", 0)
    assert file.path == live
    os.close(open_log(file.root, file.path))
    link.unlink()
    link.symlink_to(tmp_path / "containers" / ".." / "containers" / DOCKER_ID / live.name)
    assert layouts.create_discovery(Settings(logs_dir=pods, docker_dir=str(tmp_path / "containers"))).scan() == []


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EACCES, errno.EIO, errno.ENOENT])
def test_link_that_is_replaced_during_scan_is_skipped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    write_log(tmp_path, name="1.log")
    (write_log(tmp_path).parent / "2.log").symlink_to(f"{tmp_path}/docker/{DOCKER_ID}/{DOCKER_ID}-json.log")

    def readlink(path: str) -> str:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "readlink", readlink)
    files = Discovery([kubelet_layout(tmp_path, tmp_path / "docker")], DirectoryCache()).scan()

    assert names(files) == ["0.log", "1.log"]
