"""The images of a node: the sandbox, and crisp by its Dockerfile on a base that is made here, without a registry.

Archives are cached by what they are made of. `python -m tests.cluster.node.images` makes them.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import StackError
from pipeline.local.artifacts import cache_directory
from tests.cluster.images import rootfs
from tests.cluster.node.layout import PAUSE_IMAGE
from tests.deploy.manifests import ROOT

TAG = "0.1.0"
SHIPPER, WORKER = (f"localhost/crisp-{name}:{TAG}" for name in ("shipper", "worker"))
IMAGES = SHIPPER, WORKER
_DOCKERFILE = Path("deploy", "images", "Dockerfile")
_SOURCES = ("agents", "pipeline", "requirements.lock", "pyproject.toml", "README.md", "LICENSE", "deploy/images")
# How this machine reaches package registries, where it does so by an authority or a mirror of its own.
_MACHINE = ("/etc/pip.conf", "/etc/ssl/certs")
_KEPT = 8


def directory() -> Path:
    """Where archives and buildah's store are kept."""
    path = cache_directory() / "cluster-images"
    path.mkdir(parents=True, exist_ok=True)
    return path


def pause() -> Path:
    """Return an archive with the sandbox's image. Raises StackError."""
    archive = directory() / "pause.tar"
    if not archive.exists():
        with tempfile.TemporaryDirectory() as temporary:
            program = Path(temporary, "pause")
            source = Path(__file__).with_name("pause.go")
            environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": ""}
            _run(["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(program), str(source)], environment)
            _write(archive, _pause_archive(program.read_bytes()))
    return archive


def _write(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


def _pause_archive(program: bytes) -> bytes:
    """Return a docker archive of one layer with one static program."""
    layer = _tar(("pause", program, 0o755))
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [PAUSE_IMAGE], "Layers": ["layer.tar"]}]).encode()
    return _tar((name, config, 0o644), ("layer.tar", layer, 0o644), ("manifest.json", manifest, 0o644))


def _tar(*files: tuple[str, bytes, int]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, data, mode in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def crisp(root: Path = ROOT) -> list[Path]:
    """Return archives with the shipper's and the worker's image of a working tree. Raises StackError."""
    version = _hash(root)
    archives = {image: directory() / f"{version}-{image.rpartition('/')[2].partition(':')[0]}.tar" for image in IMAGES}
    if not all(archive.exists() for archive in archives.values()):
        _build(root, archives)
        for old in sorted(directory().glob("*-crisp-*.tar"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
            old.unlink()
    return list(archives.values())


def _hash(root: Path) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for source in _SOURCES:
        path = root / source
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and file.suffix != ".pyc":
                digest.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _build(root: Path, archives: dict[str, Path]) -> None:
    base = _base((root / _DOCKERFILE).read_text().partition("ARG PYTHON=")[2].split()[0])
    volumes = [argument for path in _MACHINE if Path(path).exists() for argument in ("-v", f"{path}:{path}:ro")]
    options = ("--layers", "--pull-never", "--isolation", "chroot", "--network", "host", *volumes)
    version = ("--build-arg", f"PYTHON={base}", "--build-arg", f"VERSION={TAG}")
    for image, archive in archives.items():
        target = image.partition("crisp-")[2].partition(":")[0]
        dockerfile = ("-f", str(root / _DOCKERFILE), "--target", target, "-t", image, str(root))
        _buildah("bud", *options, *version, *dockerfile)
        new = archive.with_suffix(".new")
        new.unlink(missing_ok=True)
        _buildah("push", "-q", image, f"docker-archive:{new}:{image}")
        new.replace(archive)


def _base(name: str) -> str:
    """Return the name of the Dockerfile's base, a small Debian with Python; it is made if it is not there."""
    name = f"docker.io/library/{name}"
    if _has_image(name):
        return name
    with tempfile.TemporaryDirectory(dir=directory()) as temporary:
        files = Path(temporary, "base.tar")
        rootfs.make(files)
        container = _buildah("from", "scratch")
        _buildah("add", "-q", container, str(files), "/")
    prepare = "ln -sf python3 /usr/bin/python && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED"
    _buildah("run", "--isolation", "chroot", container, "--", "sh", "-c", prepare)
    _buildah("config", "--env", "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", container)
    _buildah("commit", "-q", "--rm", container, name)
    return name


def _has_image(name: str) -> bool:
    return (
        subprocess.run([*_command(), "inspect", "--type", "image", name], capture_output=True, check=False).returncode
        == 0
    )


def _command() -> list[str]:
    buildah = shutil.which("buildah") or "buildah"
    return [
        buildah,
        "--root",
        str(directory() / "store"),
        "--runroot",
        "/run/crisp-images",
        "--storage-driver",
        "overlay",
    ]


def _buildah(*arguments: str) -> str:
    return _run([*_command(), *arguments]).strip()


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if result.returncode:
        raise StackError(f"{' '.join(command)}:\n{result.stdout[-1000:]}{result.stderr[-2000:]}")
    return result.stdout


if __name__ == "__main__":
    for made in (pause(), *crisp()):
        print(made)
