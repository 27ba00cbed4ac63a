"""Files held before the shipper may read them: the deleted ones are handed over, all others are released."""

import os
from pathlib import Path

import pytest

from agents.discovery.directory_cache import DirectoryCache
from agents.discovery.scanner import Discovery, kubelet_layout
from agents.tailing.standby_files import RELEASE_SECONDS, StandbyFiles

UID = "11111111-2222-3333-4444-555555555555"


class Scene:
    """A directory of logs, and the files that are held of it."""

    def __init__(self, root: Path, limit: int = 100) -> None:
        self.root, self.now = root, 1000.0
        self.discovery = Discovery([kubelet_layout(root)], DirectoryCache())
        self.standby = StandbyFiles(limit)

    def path(self, pod: str = "pay") -> Path:
        path = self.root / f"shop_{pod}_{UID}" / "app" / "0.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def hold(self) -> None:
        self.now += 1.0
        self.standby.hold(self.discovery.scan(), self.now)

    def take(self) -> dict[str, bytes]:
        """Return the content of the files that are handed over, by pod."""
        taken = {}
        for file, descriptor in self.standby.take_deleted(self.discovery.scan(), self.now):
            taken[file.instance.pod] = os.read(descriptor, 1000)
            os.close(descriptor)
        self.standby.close()
        return taken


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_deleted_files_are_handed_over_in_the_order_of_writing(scene: Scene) -> None:
    names = ["0.log", "0.log.20260101-000000", "0.log.20260101-000100"]
    for name in names:  # the oldest may have any inode number
        scene.path().with_name(name).write_bytes(name.encode())
    scene.hold()
    for name in names:
        scene.path().with_name(name).unlink()

    handed_over = scene.standby.take_deleted(scene.discovery.scan(), scene.now)
    order = [file.path.name for file, _ in handed_over]
    for _, descriptor in handed_over:
        os.close(descriptor)

    assert order == [*names[1:], names[0]]


def test_only_deleted_files_are_handed_over(scene: Scene) -> None:
    before = open_descriptors()
    for pod in ("deleted", "kept", "renamed"):
        scene.path(pod).write_bytes(pod.encode())
    scene.hold()
    scene.path("deleted").unlink()
    scene.path("renamed").rename(scene.path("renamed").with_name("0.log.20260101-000000"))
    scene.path("renamed").write_bytes(b"new")

    assert scene.take() == {"deleted": b"deleted"}
    assert open_descriptors() == before


def test_what_is_written_after_the_deletion_is_handed_over_too(scene: Scene) -> None:
    with scene.path().open("wb", buffering=0) as writer:
        writer.write(b"first")
        scene.hold()
        scene.path().unlink()
        scene.hold()
        writer.write(b", last")

    assert scene.take() == {"pay": b"first, last"}


def test_files_deleted_long_ago_are_released(scene: Scene) -> None:
    before = open_descriptors()
    scene.path().write_bytes(b"read by the other shipper")
    scene.hold()
    scene.path().unlink()
    scene.hold()
    held = open_descriptors() - before
    scene.now += RELEASE_SECONDS
    scene.hold()

    assert (held, open_descriptors() - before, scene.take()) == (1, 0, {})


def test_number_of_held_files_is_limited(tmp_path: Path) -> None:
    scene = Scene(tmp_path, limit=3)
    for number in range(5):
        scene.path(f"pod-{number}").write_bytes(b"x")
    before = open_descriptors()
    scene.hold()

    assert open_descriptors() - before == 3
    scene.standby.close()


def test_nothing_is_handed_over_if_nothing_was_held(scene: Scene) -> None:
    scene.path().write_bytes(b"x")

    assert scene.take() == {}


def test_link_is_not_followed(scene: Scene, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    scene.path().write_bytes(b"x")
    files = scene.discovery.scan()
    scene.path().unlink()
    scene.path().symlink_to(secret)
    scene.standby.hold(files, scene.now)

    assert scene.take() == {}
