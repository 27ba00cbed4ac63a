"""Runs the programs of this directory and stores what they write, as CRI lines with the time of their arrival.

    python -m tests.captures.capture [NAME ...]      # all set-ups, or those whose name begins so

Needs Node.js, Go, Rust and a JDK with Maven, and their package registries; tests read only the stored lines. The
packages' versions are those of the day; `captures/versions.json` names them.
"""

import json
import os
import re
import selectors
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path

from pipeline.parsing import timestamp

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
OUTPUT = HERE / "captures"
HOME = Path("/srv/shop")
"""Where the programs are built and run: no path of this machine is stored."""

PYTHON = """basic asctime asctime_level_first opentelemetry json_logger ecs structlog_json structlog_dicts
    structlog_logfmt structlog_console loguru_default loguru_json django flask tornado celery uncaught exception_group
    chained"""
PYTHON_SERVERS = "uvicorn aiohttp flask tornado gunicorn"
PYTHON_PACKAGES = """python-json-logger structlog loguru uvicorn fastapi gunicorn flask celery tornado aiohttp
    opentelemetry-sdk opentelemetry-instrumentation-logging ecs-logging"""
NODE = """console console_text cause aggregate crash rejection rejection_value emitted pino winston_json winston_text
    winston_simple bunyan log4js nest nest_json fastify express"""
NODE_PACKAGES = "pino winston bunyan log4js @nestjs/common @nestjs/core reflect-metadata rxjs fastify express morgan"
GO = """stdlog slog_default slog_text slog_json zap zap_development zap_console zapr zerolog zerolog_console logrus
    logrus_json klog hclog hclog_json charm gin echo pkg_errors panic panic_text panic_value nil_pointer repanic
    goroutine"""
RUST = "tracing tracing_colours tracing_json tracing_span env_logger anyhow unwrap expect index thread"
LOGBACK = "default dated iso logstash ecs"
LOG4J2 = "default dated bracketed ecs gelf logstash json"
BOOT = {
    "console": "--logging.level.root=info",
    "correlation": "--logging.pattern.correlation=[%X{trace_id:-},%X{span_id:-}] ",
    **{name: f"--logging.structured.format.console={name}" for name in ("ecs", "gelf", "logstash")},
}
_REGISTRY_PATH = re.compile(r"/root/\.cargo/registry/src/[^/]+/")
ENVIRONMENT = {**os.environ, "TZ": "UTC", "NO_COLOR": "", "PYTHONUNBUFFERED": "1"}


def commands() -> dict[str, list[str]]:
    """Return the command of every set-up by its name."""
    java = ["java", "-cp"]
    return {
        **{f"python-{name}": ["venv/bin/python", "python/loggers.py", name] for name in PYTHON.split()},
        **{f"python-server-{name}": ["venv/bin/python", "python/servers.py", name] for name in PYTHON_SERVERS.split()},
        **{f"node-{name}": ["node", "node/loggers.js", name] for name in NODE.split()},
        **{f"go-{name}": ["go/shop", name] for name in GO.split()},
        **{f"rust-{name}": ["rust/target/debug/shop", name] for name in RUST.split()},
        **{
            f"logback-{name}": [
                *java[:2],
                "out:logback/lib/*",
                f"-Dlogback.configurationFile=logback/{name}.xml",
                "Shop",
            ]
            for name in LOGBACK.split()
        },
        **{
            f"log4j2-{name}": [*java, "out:log4j2/lib/*", f"-Dlog4j2.configurationFile=log4j2/{name}.xml", "Shop"]
            for name in LOG4J2.split()
        },
        **{
            f"boot-{name}": [*java, "out:logback/lib/*", "ShopBoot", "--spring.application.name=shop", option]
            for name, option in BOOT.items()
        },
        "jul": [*java, "out", "ShopJul"],
        "jul-crash": [*java, "out", "ShopJul", "crash"],
    }


def build() -> None:
    """Copy the programs, install their packages, compile them."""
    shutil.copytree(PROGRAMS, HOME, dirs_exist_ok=True)
    for directory in ("logback", "log4j2", "Shop.java", "ShopBoot.java", "ShopJul.java"):
        source, target = PROGRAMS / "java" / directory, HOME / directory
        shutil.copytree(source, target, dirs_exist_ok=True) if source.is_dir() else shutil.copy(source, target)
    if not (HOME / "venv").exists():
        venv.create(HOME / "venv", with_pip=True)
    _run(HOME, "venv/bin/pip", "install", "--quiet", *PYTHON_PACKAGES.split())
    _run(HOME / "node", "npm", "install", "--silent", "--no-fund", "--no-audit", *NODE_PACKAGES.split())
    if not (HOME / "go" / "go.mod").exists():
        _run(HOME / "go", "go", "mod", "init", "shop")
    _run(HOME / "go", "go", "mod", "tidy")
    _run(HOME / "go", "go", "build", "-o", "shop", ".")
    _run(HOME / "rust", "cargo", "build", "--quiet")
    for name in ("logback", "log4j2"):
        _run(HOME / name, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib")
    _run(HOME, "javac", "-cp", "logback/lib/*", "-d", "out", "Shop.java", "ShopBoot.java", "ShopJul.java")


def _run(directory: Path, *command: str) -> str:
    return subprocess.run(command, cwd=directory, check=True, text=True, stdout=subprocess.PIPE).stdout


def versions() -> dict[str, list[str]]:
    """Return the versions of the installed packages and compilers, by language."""
    packages = set(PYTHON_PACKAGES.split()) | {"werkzeug"}
    frozen = _run(HOME, "venv/bin/pip", "freeze").split()
    node = json.loads(_run(HOME / "node", "npm", "ls", "--json", "--depth", "0"))["dependencies"]
    cargo = re.findall(r'name = "([^"]+)"\nversion = "([^"]+)"', (HOME / "rust" / "Cargo.lock").read_text())
    direct = re.findall(r"^(\w+) =", (PROGRAMS / "rust" / "Cargo.toml").read_text(), re.MULTILINE)
    listed = "spring-boot-3 logback-classic logstash-logback logback-ecs log4j-core log4j-layout"
    jars = [path.stem for name in ("logback", "log4j2") for path in (HOME / name / "lib").glob("*.jar")]
    return {
        "python": [sys.version.split()[0], *(row for row in frozen if row.partition("==")[0].lower() in packages)],
        "node": [_run(HOME, "node", "--version").strip(), *(f"{name} {row['version']}" for name, row in node.items())],
        "go": [
            _run(HOME, "go", "env", "GOVERSION").strip(),
            *re.findall(r"^\t(\S+ v[\w.+-]+)$", (HOME / "go" / "go.mod").read_text(), re.MULTILINE),
        ],
        "rust": [_run(HOME, "rustc", "--version").strip(), *(f"{name} {v}" for name, v in cargo if name in direct)],
        "java": sorted(name for name in jars if name.startswith(tuple(listed.split()))),
    }


def record(command: list[str]) -> Iterator[str]:
    """Run a program; yield its lines as a container runtime stores them."""
    process = subprocess.Popen(command, cwd=HOME, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    buffers = {process.stdout: ("stdout", b""), process.stderr: ("stderr", b"")}
    with selectors.DefaultSelector() as selector:
        for pipe in buffers:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                data = os.read(key.fd, 65536)
                stream, rest = buffers[key.fileobj]  # type: ignore[index] # the pipes are those registered
                *lines, rest = (rest + data).split(b"\n")
                buffers[key.fileobj] = stream, rest  # type: ignore[index]
                now = timestamp.format_utc(time.time_ns())
                for line in lines if data else filter(None, [rest]):
                    yield f"{now} {stream} F {_REGISTRY_PATH.sub('/cargo/', line.decode())}\n"
                if not data:
                    selector.unregister(key.fileobj)
    process.wait()


def main(prefixes: list[str]) -> None:
    """Build everything, then capture the named set-ups."""
    build()
    OUTPUT.mkdir(exist_ok=True)
    (OUTPUT / "versions.json").write_text(json.dumps(versions(), indent=2) + "\n")
    for name, command in commands().items():
        if not prefixes or name.startswith(tuple(prefixes)):
            lines = list(record(command))
            (OUTPUT / f"{name}.log").write_text("".join(lines))
            print(f"{name}: {len(lines)} lines", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
