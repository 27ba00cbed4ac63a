"""The Compose file, run by Docker and Compose: the commands of the README, until every line that was written is found.

Kafka and Elasticsearch are real, in images made here (`images/stand_ins.py`); Kibana is a stand-in.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pipeline import __version__
from tests.cluster.docker_daemon import DockerDaemon, docker_daemon, missing
from tests.cluster.images import stand_ins
from tests.deploy.manifests import ROOT
from tests.deploy.readme import commands

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]
WAIT_SECONDS = 900.0
UP, SCALED, WITH_DOCKER_LOGS, STATUS, DOWN = (line[1:] for line in commands("On one machine"))
OURS = {"setup", "kibana-objects", "worker", "writer"}


@pytest.fixture(scope="module")
def docker() -> Iterator[DockerDaemon]:
    """A daemon that has the servers' images, and none of ours."""
    with tempfile.TemporaryDirectory(prefix="crisp-docker-") as directory, docker_daemon(Path(directory)) as daemon:
        daemon.run("compose", "--profile", "*", "down", "--volumes", cwd=ROOT)
        stand_ins.build(daemon)
        daemon.run("image", "rm", "--force", "crisp-worker:dev", "crisp-shipper:dev", check=False)
        yield daemon


class Compose:
    """The project of the Compose file in this checkout."""

    def __init__(self, docker: DockerDaemon, directory: Path) -> None:
        self.docker = docker
        self._directory = directory
        self._stack = ExitStack()
        self.outputs: list[Path] = []

    def up(self, arguments: list[str]) -> None:
        """Start a command that stays in the foreground."""
        path = self._directory / f"output-{len(self.outputs)}"
        output = self._stack.enter_context(path.open("w"))
        process = subprocess.Popen(
            ["docker", *arguments], cwd=ROOT, env=self.docker.environment, stdout=output, stderr=output
        )
        self._stack.callback(process.wait, timeout=60)
        self._stack.callback(process.kill)
        self.outputs.append(path)

    def close(self) -> None:
        """End the commands that are in the foreground."""
        self._stack.close()

    def output(self) -> str:
        """What they have printed."""
        return "".join(path.read_text() for path in self.outputs)

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run a command to its end; returns its standard output."""
        return self.docker.run("compose", *arguments, cwd=ROOT, check=check).stdout

    def containers(self) -> list[dict[str, Any]]:
        """Every container, as `docker inspect` shows it."""
        ids = self.run("--profile", "*", "ps", "--all", "--quiet").split()
        inspected: list[dict[str, Any]] = json.loads(self.docker.run("inspect", *ids).stdout) if ids else []
        return inspected

    def healthy(self, service: str) -> int:
        """The number of healthy containers of a service."""
        return sum(
            _service(each) == service and each["State"].get("Health", {}).get("Status") == "healthy"
            for each in self.containers()
        )

    def count(self, query: str = "*") -> int:
        """The number of documents that match."""
        url = f"http://localhost:9200/logs-*/_count?q={query}"
        text = self.run("exec", "-T", "elasticsearch", "curl", "--silent", url, check=False)
        return int(json.loads(text).get("count", 0)) if text else 0

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Return when the condition holds; fail with the output if it does not."""
        limit = time.monotonic() + WAIT_SECONDS
        while not condition():
            if time.monotonic() > limit:
                pytest.fail(f"{what}: not after {WAIT_SECONDS:.0f} s:\n{self.output()[-3000:]}")
            time.sleep(1)


def _service(container: dict[str, Any]) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


@pytest.fixture
def compose(docker: DockerDaemon, tmp_path: Path) -> Iterator[Compose]:
    """Nothing runs yet; nothing is left of it."""
    project = Compose(docker, tmp_path)
    yield project
    project.run("--profile", "*", "down", "--volumes", "--timeout", "5", check=False)
    project.close()


def left(docker: DockerDaemon) -> set[str]:
    """Containers, volumes and networks."""
    return {
        *docker.rows("ps", "--all", "--format", "{{.Names}}"),
        *docker.rows("volume", "ls", "--format", "{{.Name}}"),
        *docker.rows("network", "ls", "--format", "{{.Name}}"),
    }


def test_commands_of_the_readme_index_every_line_and_leave_nothing(compose: Compose) -> None:
    before, started = left(compose.docker), time.monotonic()

    compose.up(UP)
    compose.wait(lambda: compose.count() > 0, "the first document")
    print(f"docker {' '.join(UP)}: the first document after {time.monotonic() - started:.0f} s")
    compose.wait(lambda: compose.healthy("worker") == compose.healthy("shipper") == 1, "healthy parts")
    compose.up(SCALED)
    compose.wait(lambda: compose.healthy("worker") == 3, "three workers")
    compose.up(WITH_DOCKER_LOGS)
    compose.wait(lambda: compose.count("host.name:this-machine") > 0, "logs of Docker's containers")
    compose.run(*STATUS[1:2], "-T", *STATUS[2:])
    compose.wait(lambda: _exited(compose, "kibana-objects") == 0, "Kibana's objects")

    compose.run("stop", "writer", "shipper-docker")
    audit = ("run", "--rm", "--no-deps", "-T", "--user", "0:0", "--volume", "crisp_nodelogs:/var/log/pods:ro", "worker")
    compose.wait(lambda: _accounted(compose.run(*audit, "audit", "--from", "/var/log/pods", check=False)), "an audit")
    _assert_sound(compose)

    compose.run(*DOWN[1:])
    compose.close()
    assert left(compose.docker) == before
    assert "denied" not in compose.output()


def test_images_of_the_deployment_page_are_built_and_run(docker: DockerDaemon) -> None:
    lines = [line[1:] for line in commands("Install: Kafka and Elasticsearch that exist") if line[0] == "docker"]
    built = [line for line in lines if line[0] == "build"]
    (run,) = (line for line in lines if line[0] == "run")

    for line in built:
        docker.run(*line, cwd=ROOT)
    assert {"crisp_worker", "crisp_setup"} <= json.loads(docker.run(*run).stdout).keys()
    for line in built:
        (image,) = json.loads(docker.run("inspect", line[line.index("-t") + 1]).stdout)
        assert image["Config"]["Labels"]["org.opencontainers.image.version"] == __version__


def _exited(compose: Compose, service: str) -> int | None:
    states = [each["State"] for each in compose.containers() if _service(each) == service]
    return states[0]["ExitCode"] if states and states[0]["Status"] == "exited" else None


def _accounted(output: str) -> bool:
    return "every event is accounted for" in output


def _assert_sound(compose: Compose) -> None:
    """No container was started again or ran out of memory, each has a limit, and one image serves all that share it."""
    containers = compose.containers()
    assert [_service(each) for each in containers if each["State"]["OOMKilled"] or each["RestartCount"]] == []
    assert [_service(each) for each in containers if not each["HostConfig"]["Memory"]] == []
    assert len({each["Image"] for each in containers if _service(each) in OURS}) == 1
