"""Programs of Kubernetes and those that read our files, each built once from Go modules and cached.

`make k8s-binaries` builds those of the control plane, `make cluster-binaries` (`--node`) those of a whole node; a test
that needs one builds just that. `--cached NAME…` only says, by its exit code, whether they are there.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import StackError
from pipeline.local.artifacts import cache_directory

VERSION = "1.36.3"
ETCD_VERSION = "3.7.3"
CONTAINERD_VERSION = "2.3.7"
COREDNS_VERSION = "1.12.4"
_COMPONENT = "k8s.io/component-base/version"
_CONTAINERD = "github.com/containerd/containerd/v2"


class Program(NamedTuple):
    """A Go program: its package, and the module and version that hold it."""

    package: str
    module: str
    version: str


def _kubernetes(name: str) -> Program:
    return Program(f"k8s.io/kubernetes/cmd/{name}", "k8s.io/kubernetes", VERSION)


def _containerd(name: str) -> Program:
    return Program(f"{_CONTAINERD}/cmd/{name}", _CONTAINERD, CONTAINERD_VERSION)


PROGRAMS = {
    "etcd": Program("go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3", ETCD_VERSION),
    "kube-apiserver": _kubernetes("kube-apiserver"),
    "kube-controller-manager": _kubernetes("kube-controller-manager"),
    "kube-scheduler": _kubernetes("kube-scheduler"),
    "kwok": Program("sigs.k8s.io/kwok/cmd/kwok", "sigs.k8s.io/kwok", "0.8.0"),
    "compose": Program("github.com/compose-spec/compose-go/v2/cmd", "github.com/compose-spec/compose-go/v2", "2.16.2"),
    "kubeconform": Program("github.com/yannh/kubeconform/cmd/kubeconform", "github.com/yannh/kubeconform", "0.8.0"),
}
NODE_PROGRAMS = {
    **{name: PROGRAMS[name] for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")},
    **{name: _kubernetes(name) for name in ("kubelet", "kube-proxy")},
    **{name: _containerd(name) for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
    "coredns": Program("github.com/coredns/coredns", "github.com/coredns/coredns", COREDNS_VERSION),
    "docker-compose": Program("github.com/docker/compose/v2/cmd", "github.com/docker/compose/v2", "2.40.3"),
}


def directory() -> Path:
    """Where the built programs are kept."""
    return cache_directory() / f"kubernetes-{VERSION}-etcd-{ETCD_VERSION}"


def binary(name: str) -> Path:
    """A program, built first if it is not there (the API server takes some eight minutes). Raises StackError."""
    path = directory() / name
    if path.exists():
        return path
    if shutil.which("go") is None:
        raise StackError(f"Go is needed to build {name} for these tests")
    directory().mkdir(parents=True, exist_ok=True)
    with (directory() / ".building").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _build(_program(name), path)
    return path


def _program(name: str) -> Program:
    return PROGRAMS.get(name) or NODE_PROGRAMS[name]


def source(name: str) -> Path:
    """The directory of a program's module as it was downloaded. Raises StackError."""
    program = _program(name)
    with tempfile.TemporaryDirectory(prefix="crisp-go-") as temporary:
        Path(temporary, "go.mod").write_text("module example.test/source\n\ngo 1.26.0\n")
        _go(Path(temporary), "mod", "download", f"{program.module}@v{program.version}")
        modules = Path(_go(Path(temporary), "env", "GOMODCACHE"))
    return modules / f"{program.module}@v{program.version}"


def _build(program: Program, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".building-") as temporary:
        here = Path(temporary)
        replaces, flags = "", f"-s -w -X {_CONTAINERD}/version.Version={CONTAINERD_VERSION}"
        if program.module == "k8s.io/kubernetes":
            replaces, flags = _published(path.name)
        requires = f"{program.module} v{program.version}"
        (here / "go.mod").write_text(f"module example.test/build\n\ngo 1.26.0\n\nrequire {requires}\n{replaces}")
        (here / "tools.go").write_text(f'//go:build tools\n\npackage tools\n\nimport _ "{program.package}"\n')
        _go(here, "mod", "tidy", "-e")
        _go(here, "build", "-p", "2", "-trimpath", "-ldflags", flags, "-o", "made", program.package)
        (here / "made").rename(path)


def _published(name: str) -> tuple[str, str]:
    """The module's zip lacks its staging directories: each is replaced by the one published. And the flags."""
    lines = (source(name) / "go.mod").read_text().splitlines()
    published = f"v0.{VERSION.partition('.')[2]}"
    staged = [line.split()[0] for line in lines if "=> ./staging" in line]
    replaces = "replace (\n" + "".join(f"\t{module} => {module} {published}\n" for module in staged) + ")\n"
    major, minor, _ = VERSION.split(".")
    stamp = f"-X {_COMPONENT}.gitVersion=v{VERSION} -X {_COMPONENT}.gitMajor={major} -X {_COMPONENT}.gitMinor={minor}"
    return replaces, f"-s -w {stamp}"


def _go(here: Path, *arguments: str) -> str:
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    command = ["nice", "-n", "10", "go", *arguments]
    ended = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise StackError(f"go {' '.join(arguments)}:\n{ended.stderr[-2000:]}")
    return ended.stdout.strip()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--cached"]:
        sys.exit(not all((directory() / name).exists() for name in sys.argv[2:]))
    for wanted in NODE_PROGRAMS if sys.argv[1:] == ["--node"] else sys.argv[1:] or PROGRAMS:
        print(binary(wanted), flush=True)
