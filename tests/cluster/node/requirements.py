"""What a node needs of this machine: checked before anything is started."""

import os
import shutil
import sys
from pathlib import Path

from tests.k8s import binaries

PROGRAMS = ("runc", "iptables", "ip", "nsenter", "unshare", "setpriv", "mount", "openssl", "kubectl", "buildah")
CNI_DIRECTORIES = ("/usr/lib/cni", "/opt/cni/bin")
PACKAGES = "runc containernetworking-plugins iptables iproute2 util-linux openssl buildah mmdebstrap"


def problem() -> str:
    """Return why a node cannot be started here, and what to do; empty if it can be."""
    if sys.platform != "linux" or os.getuid() != 0:
        return "a node needs Linux and root: its namespaces and mounts"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if cni_directory() is None:
        missing.append("the CNI plugins bridge, portmap, host-local and loopback")
    if missing:
        return f"missing: {', '.join(missing)} (Debian: apt-get install {PACKAGES})"
    absent = [name for name in binaries.NODE_PROGRAMS if not (binaries.directory() / name).exists()]
    return f"not in the cache: {', '.join(absent)} (make cluster-binaries builds them)" if absent else ""


def cni_directory() -> Path | None:
    """Return the directory of the CNI plugins; None if one is missing."""
    names = ("bridge", "portmap", "host-local", "loopback")
    directories = (Path(directory) for directory in CNI_DIRECTORIES)
    return next((path for path in directories if all((path / name).exists() for name in names)), None)


if __name__ == "__main__":
    reason = problem()
    if reason:
        print(reason)
    sys.exit(bool(reason))
