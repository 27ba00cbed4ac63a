"""An Elasticsearch of one node, as a child process. It cannot run as root; root starts it as nobody."""

import json
import os
import pwd
import shutil
import ssl
import subprocess
import urllib.request
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.local import artifacts, java
from pipeline.local.certificate_authority import PASSWORD, CertificateAuthority
from pipeline.local.process import ServerProcess

START_SECONDS = 300.0
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


_SECURED = (
    "xpack.security.enabled=true",
    "xpack.security.http.ssl.enabled=true",
    "xpack.security.http.ssl.keystore.path=http.p12",
    f"xpack.security.http.ssl.keystore.password={PASSWORD}",
)


class Security(NamedTuple):
    """The certificate authority and the superuser's password of a node with security."""

    authority: CertificateAuthority
    password: str


def start(
    directory: Path,
    version: str,
    port: int,
    transport: int,
    options: Sequence[str] = (),
    *,
    detached: bool = False,
    security: Security | None = None,
) -> ServerProcess:
    """Start a node whose files live in the directory. Raises StackError.

    `options` are settings for this start; `security` enables TLS and users.
    """
    runtime = java.home()
    home = directory / f"elasticsearch-{version}"
    if not home.exists():
        _unpack(artifacts.elasticsearch(version), directory)
        (home / "config" / "elasticsearch.yml").write_text(_SETTINGS.format(port=port, transport=transport, home=home))
        if security:
            _store_secrets(security, home, runtime)
    user = _UNPRIVILEGED if os.getuid() == 0 else None
    if user:
        _chown(directory, user)
    environment = {"ES_JAVA_HOME": str(runtime), "ES_JAVA_OPTS": "-Xms1g -Xmx1g", "ES_PATH_CONF": str(home / "config")}
    options = (*(_SECURED if security else ()), *options)
    command = [str(home / "bin" / "elasticsearch"), *(f"-E{option}" for option in options)]
    return ServerProcess("elasticsearch", command, directory, environment=environment, user=user, detached=detached)


def _store_secrets(security: Security, home: Path, runtime: Path) -> None:
    """Store the superuser's password and the node's key in its own directory: the node may read no other files."""
    shutil.copy(security.authority.server_keystore, home / "config" / "http.p12")
    tool = [str(home / "bin" / "elasticsearch-keystore")]
    environment = {**os.environ, "ES_JAVA_HOME": str(runtime), "ES_PATH_CONF": str(home / "config")}
    for arguments in (["create"], ["add", "--stdin", "bootstrap.password"]):
        subprocess.run(
            [*tool, *arguments], input=security.password.encode(), capture_output=True, check=True, env=environment
        )


def _unpack(archive: Path, directory: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for entry in file.infolist():
            path = file.extract(entry, directory)
            if entry.external_attr >> 16 & 0o100:
                Path(path).chmod(0o755)


def _chown(directory: Path, user: str) -> None:
    """Give the files to another user, who must be able to traverse the parent directories."""
    owner = pwd.getpwnam(user)
    for path in (directory, *directory.rglob("*")):
        shutil.chown(path, owner.pw_uid, owner.pw_gid)


def is_healthy(url: str, headers: Mapping[str, str] | None = None, context: ssl.SSLContext | None = None) -> bool:
    """Whether the node responds and accepts documents."""
    try:
        request = urllib.request.Request(f"{url}/_cluster/health", headers=dict(headers or {}))  # noqa: S310 - our own
        with urllib.request.urlopen(request, timeout=2, context=context) as response:  # noqa: S310
            return json.load(response)["status"] in {"green", "yellow"}
    except (OSError, ValueError, KeyError):
        return False
