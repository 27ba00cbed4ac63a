"""The servers' files: downloaded once with Maven, verified by pinned SHA-256 sums, cached outside the repository."""

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from pipeline.errors import StackError

KAFKA_VERSION = "4.1.1"
ELASTICSEARCH_VERSIONS = ("8.19.21", "8.11.0")
_POLL_SECONDS = 0.2
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>crisp</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>{dependencies}</dependencies>
</project>
"""
_DEPENDENCY = "<dependency><groupId>{0}</groupId><artifactId>{1}</artifactId><version>{2}</version></dependency>"
_KAFKA = (
    ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
    ("org.apache.kafka", "kafka-tools", KAFKA_VERSION),
    ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3"),
)
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"


class Pin(NamedTuple):
    """Checksum and size of one file."""

    sha256: str
    size: int
    name: str


def cache_directory() -> Path:
    """The directory of downloaded files: `crisp` in the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crisp"


def kafka() -> Path:
    """The directory of Kafka's jars. Raises StackError."""
    return _ensure_cached(f"kafka-{KAFKA_VERSION}", _fetch_kafka)


def elasticsearch(version: str) -> Path:
    """The distribution of Elasticsearch as a zip file. Raises StackError."""
    if version not in ELASTICSEARCH_VERSIONS:
        raise StackError(f"Elasticsearch {version} is not supported, only {', '.join(ELASTICSEARCH_VERSIONS)}")
    directory = _ensure_cached(
        f"elasticsearch-{version}", lambda target, repository: _fetch_zip(version, target, repository)
    )
    return directory / f"elasticsearch-{version}.zip"


def pins(name: str) -> list[Pin]:
    """The pinned files of `kafka-VERSION` or `elasticsearch-VERSION`."""
    text = resources.files("pipeline.local").joinpath("pins", name + ".txt").read_text()
    rows = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return [Pin(row[0], int(row[1]), row[2]) for row in rows]


def _ensure_cached(name: str, fetch: Callable[[Path, Path], None]) -> Path:
    """The cached directory of that name; downloaded and verified first if missing."""
    directory = cache_directory() / name
    if not directory.is_dir():
        cache_directory().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_directory(), prefix=f".{name}-") as temporary:
            target, repository = Path(temporary, "files"), Path(temporary, "maven")
            target.mkdir()
            with _progress(name, repository, sum(pin.size for pin in pins(name))):
                fetch(target, repository)
            _check(name, target)
            try:
                target.rename(directory)
            except OSError:  # another process was faster; it verified its files too
                if not directory.is_dir():
                    raise
    return directory


def _fetch_kafka(target: Path, repository: Path) -> None:
    pom = target.parent / "pom.xml"
    pom.write_text(_POM.format(dependencies="".join(_DEPENDENCY.format(*row) for row in _KAFKA)))
    _maven(repository, f"{_PLUGIN}:copy-dependencies", f"-DoutputDirectory={target}", "-f", str(pom))


def _fetch_zip(version: str, target: Path, repository: Path) -> None:
    name = f"org.elasticsearch.distribution.integ-test-zip:elasticsearch:{version}:zip"
    _maven(repository, f"{_PLUGIN}:copy", f"-Dartifact={name}", f"-DoutputDirectory={target}")


def _maven(repository: Path, *arguments: str) -> None:
    if shutil.which("mvn") is None:
        raise StackError("Kafka and Elasticsearch are downloaded with Maven: install it (Debian: apt install maven)")
    command = ["mvn", "--quiet", "--batch-mode", f"-Dmaven.repo.local={repository}", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        output = (result.stdout + result.stderr).strip().splitlines()
        raise StackError("Maven download failed:\n" + "\n".join(output[:12]))


def _check(name: str, directory: Path) -> None:
    """Raises StackError unless the directory has exactly the pinned files."""
    expected = {pin.name: pin.sha256 for pin in pins(name)}
    actual = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}
    wrong = sorted(file for file in expected.keys() | actual.keys() if expected.get(file) != actual.get(file))
    if wrong:
        raise StackError(
            f"{name}: files differ from the pinned ones (missing, unknown or changed): {', '.join(wrong[:8])}"
        )


@contextmanager
def _progress(name: str, directory: Path, expected: int) -> Iterator[None]:
    """A progress bar on standard error while Maven, which prints nothing, fills the directory."""
    done = threading.Event()
    columns = (TextColumn("downloading {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=expected)

        def watch() -> None:
            while not done.wait(_POLL_SECONDS):
                progress.update(task, completed=min(expected, _size(directory)))

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
            progress.update(task, completed=expected)
        finally:
            done.set()
            thread.join()


def _size(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total
