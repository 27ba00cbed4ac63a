"""An Elasticsearch of one node, as a child process. It refuses to run as root; then it runs as nobody."""

import json
import os
import pwd
import shutil
import urllib.request
import zipfile
from pathlib import Path

from pipeline.local import artifacts, java
from pipeline.local.process import ServerProcess

START_SECONDS = 120.0
_UNPRIVILEGED = "nobody"
_SETTINGS = """cluster.name: crisp-local
node.name: local
discovery.type: single-node
http.host: 127.0.0.1
http.port: {port}
transport.host: 127.0.0.1
transport.port: {transport}
path.data: {home}/data
path.logs: {home}/logs
xpack.security.enabled: false
cluster.routing.allocation.disk.threshold_enabled: false
"""


def start(directory: Path, version: str, port: int, transport: int, *, detached: bool = False) -> ServerProcess:
    """Start a node whose files live in the directory. Raises StackError."""
    runtime = java.home()
    home = directory / f"elasticsearch-{version}"
    if not home.exists():
        _unpack(artifacts.elasticsearch(version), directory)
        (home / "config" / "elasticsearch.yml").write_text(_SETTINGS.format(port=port, transport=transport, home=home))
    user = _UNPRIVILEGED if os.getuid() == 0 else None
    if user:
        _give(directory, user)
    environment = {"ES_JAVA_HOME": str(runtime), "ES_JAVA_OPTS": "-Xms1g -Xmx1g", "ES_PATH_CONF": str(home / "config")}
    command = [str(home / "bin" / "elasticsearch")]
    return ServerProcess("elasticsearch", command, directory, environment=environment, user=user, detached=detached)


def _unpack(archive: Path, directory: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            path = opened.extract(entry, directory)
            if entry.external_attr >> 16 & 0o100:
                Path(path).chmod(0o755)


def _give(directory: Path, user: str) -> None:
    """Make the files another user's; the directories above must let it through."""
    owner = pwd.getpwnam(user)
    for path in (directory, *directory.rglob("*")):
        shutil.chown(path, owner.pw_uid, owner.pw_gid)


def healthy(url: str) -> bool:
    """Whether the node answers and can take documents."""
    try:
        with urllib.request.urlopen(f"{url}/_cluster/health", timeout=2) as answer:  # noqa: S310 - our own http address
            return json.load(answer)["status"] in {"green", "yellow"}
    except (OSError, ValueError, KeyError):
        return False
