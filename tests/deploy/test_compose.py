"""The compose file: valid by its schema, and every command, variable, file, port and name in it exists."""

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pipeline.cli.main import COMMANDS
from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.demo import writer
from pipeline.errors import SettingsError
from tests.deploy.manifests import ROOT
from tests.deploy.unsaid import unsaid
from tests.k8s.binaries import directory

Compose = dict[str, Any]
OURS = re.compile(r"crisp-(worker|shipper):dev")


@pytest.fixture
def compose() -> Compose:
    loaded: Compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def ours(compose: Compose) -> dict[str, Any]:
    """The services made of our images."""
    return {name: service for name, service in compose["services"].items() if OURS.fullmatch(service["image"])}


def commands(compose: Compose) -> Iterator[str]:
    """A command that is none, an option that it does not have."""
    for name, service in ours(compose).items():
        if "entrypoint" in service:
            module = "pipeline.demo.writer"
            known = re.findall(r'"(--[a-z]+)"', Path(str(writer.__file__)).read_text())
            options = [word for word in service["command"] if word.startswith("--")]
            if service["entrypoint"] != ["python", "-m", module] or not set(options) <= set(known):
                yield f"{name}: {service['entrypoint']} {service['command']}"
        elif service["command"][0] not in COMMANDS:
            yield f"{name}: there is no command {service['command'][0]}"


def variables(compose: Compose) -> Iterator[str]:
    """A variable that is no setting; a port that is not the one published or asked."""
    for name, service in ours(compose).items():
        try:
            loaded = load_settings(service["environment"])
        except SettingsError as fault:
            yield f"{name}: {fault}"
            continue
        port = loaded.worker_port or loaded.ship_port
        published = {int(row.rpartition(":")[2]) for row in service.get("ports", ())}
        asked = {int(found) for found in re.findall(r"127\.0\.0\.1:(\d+)", str(service.get("healthcheck", "")))}
        if published - {port} or asked - {port}:
            yield f"{name}: listens on {port}, published {published}, asked {asked}"


def addresses(compose: Compose) -> Iterator[str]:
    """A server at a name or a port where none is."""
    kafka = compose["services"]["kafka"]["environment"]
    advertised = re.findall(r"://([\w.-]+:\d+)", kafka["KAFKA_ADVERTISED_LISTENERS"])
    listening = re.findall(r":(\d+)", kafka["KAFKA_LISTENERS"])
    yield from (f"kafka: advertises {one}" for one in advertised if one.rpartition(":")[2] not in listening)
    for name, service in ours(compose).items():
        loaded = load_settings(service["environment"])
        if loaded.kafka_brokers != Settings().kafka_brokers and not set(loaded.kafka_brokers) <= set(advertised):
            yield f"{name}: no Kafka advertises {loaded.kafka_address}"
        host = re.fullmatch(r"http://(\w+):9200|http://127.0.0.1:9200", loaded.es_address)
        if host is None or (host[1] and host[1] not in compose["services"]):
            yield f"{name}: no Elasticsearch is at {loaded.es_address}"


def ports(compose: Compose) -> Iterator[str]:
    """A port open to the network."""
    for name, service in compose["services"].items():
        for row in service.get("ports", ()):
            if not str(row).startswith("127.0.0.1:"):
                yield f"{name}: {row} is open to the network"


def names(compose: Compose) -> Iterator[str]:
    """A service, volume, Dockerfile or stage that is not there."""
    for name, service in compose["services"].items():
        for other, wanted in service.get("depends_on", {}).items():
            condition = wanted["condition"]
            if other not in compose["services"]:
                yield f"{name}: waits for {other}, which is not there"
            elif condition == "service_healthy" and "healthcheck" not in compose["services"][other]:
                yield f"{name}: waits for the health of {other}, which tells none"
        for row in service.get("volumes", ()):
            source = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", row).partition(":")[0]
            if not source.startswith("/") and source not in compose["volumes"]:
                yield f"{name}: there is no volume {source}"
        if OURS.fullmatch(service["image"]) and service.get("pull_policy") != "never":
            yield f"{name}: {service['image']} is asked of a registry, which denies it"
        if "build" in service:
            path = ROOT / service["build"]["dockerfile"]
            if not path.exists() or f" AS {service['build']['target']}\n" not in path.read_text():
                yield f"{name}: {service['build']} is not there"
    built = {service["image"] for service in compose["services"].values() if "build" in service}
    yield from (
        f"{name}: nobody builds {one['image']}" for name, one in ours(compose).items() if one["image"] not in built
    )


def files(compose: Compose) -> Iterator[str]:
    """A directory in the settings that is not mounted."""
    for name, service in ours(compose).items():
        if service["command"][0] != "ship":
            continue
        loaded = load_settings(service["environment"])
        mounted = {row.replace("${CRISP_LOGS:-nodelogs}", "").split(":")[1] for row in service["volumes"]}
        reads = loaded.docker_dir or loaded.logs_dir
        yield from (f"{name}: {path} is not mounted" for path in {reads, loaded.state_dir} - mounted)


def images(compose: Compose) -> Iterator[str]:
    """An image without a version."""
    for name, service in compose["services"].items():
        image = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", service["image"])
        if not OURS.fullmatch(image) and not re.search(r":\d+\.\d+\.\d+$", image):
            yield f"{name}: {image} is not pinned"


def confinement(compose: Compose) -> Iterator[str]:
    """One of ours that may do more than it needs; a server without a health check or a limit."""
    for name, service in ours(compose).items():
        if not service.get("read_only") or service.get("cap_drop") != ["ALL"] or "privileged" in service:
            yield f"{name}: is not confined"
        if any(
            "/var/log" in row and name != "writer" and not row.endswith(":ro") for row in service.get("volumes", ())
        ):
            yield f"{name}: may write to the logs"
    for name, service in compose["services"].items():
        if "mem_limit" not in service:
            yield f"{name}: has no limit of memory"
        if re.search(r"/bin/\S+\.sh|java", str(service.get("healthcheck"))):
            yield f"{name}: starts a JVM for each health check"
    for name in ("kafka", "elasticsearch", "kibana", "worker", "shipper"):
        if "healthcheck" not in compose["services"][name]:
            yield f"{name}: tells no health"


CHECKS = (commands, variables, addresses, ports, names, files, images, confinement)


def test_file_matches_the_schema(compose: Compose, shared: Path) -> None:
    schema = json.loads((shared / "schemas" / "compose" / "compose-spec.json").read_text())

    jsonschema.validate(compose, schema)


def parsed(path: Path) -> subprocess.CompletedProcess[str]:
    """What Compose's own library makes of a file, merges and variables resolved."""
    program = directory() / "compose"
    if not program.exists():
        pytest.skip("no compose: `make k8s-binaries` builds it")
    return subprocess.run([str(program), "-format", "json", str(path)], cwd=ROOT, capture_output=True, text=True)


def test_file_is_accepted_by_compose() -> None:
    ended = parsed(ROOT / "docker-compose.yml")
    assert ended.returncode == 0, ended.stderr
    services = json.loads(ended.stdout)["services"]

    assert {"shipper", "shipper-docker", "kibana-objects"} <= set(services)
    assert {"CRISP_KAFKA_BROKERS", "CRISP_WORKER_PORT"} <= set(services["worker"]["environment"])
    assert services["elasticsearch"]["image"].endswith(":8.19.21")


def test_broken_file_is_rejected_by_compose(compose: Compose, tmp_path: Path) -> None:
    compose["services"]["worker"]["extends"] = {"service": "nobody"}
    (tmp_path / "broken.yml").write_text(yaml.safe_dump(compose))

    ended = parsed(tmp_path / "broken.yml")
    assert ended.returncode != 0
    assert "nobody" in ended.stdout + ended.stderr


@pytest.mark.parametrize("check", CHECKS)
def test_file_agrees_with_the_code(compose: Compose, check: Callable[[Compose], Iterator[str]]) -> None:
    assert list(check(compose)) == []


def test_worker_can_be_scaled(compose: Compose) -> None:
    worker = compose["services"]["worker"]

    assert "container_name" not in worker
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+-\d+:\d+", row) for row in worker["ports"])


BROKEN: list[tuple[Any, str, str, Any]] = [
    (commands, "worker", "command", ["work"]),
    (commands, "writer", "command", ["--speed", "5"]),
    (variables, "shipper", "environment", {"CRISP_SHIP_PROT": "9102"}),
    (variables, "shipper", "environment", {"CRISP_SHIP_PORT": "9100"}),
    (addresses, "worker", "environment", {"CRISP_KAFKA_BROKERS": "kafka:9093"}),
    (addresses, "worker", "environment", {"CRISP_ES_URLS": "http://search:9200"}),
    (ports, "elasticsearch", "ports", ["9200:9200"]),
    (names, "kibana", "depends_on", {"search": {"condition": "service_healthy"}}),
    (names, "worker", "depends_on", {"setup": {"condition": "service_healthy"}}),
    (names, "shipper", "volumes", ["log:/var/log/pods:ro"]),
    (names, "shipper", "build", {"dockerfile": "deploy/images/Dockerfile", "target": "agent"}),
    (files, "shipper", "volumes", ["nodelogs:/var/log/pods:ro", "state:/var/lib/crips"]),
    (files, "shipper-docker", "environment", {"CRISP_DOCKER_DIR": "/var/lib/docker"}),
    (images, "kafka", "image", "apache/kafka:latest"),
    (confinement, "worker", "read_only", False),
    (confinement, "shipper", "volumes", ["nodelogs:/var/log/pods"]),
    (variables, "worker", "healthcheck", {"test": ["CMD", "wget", "http://127.0.0.1:9100/readyz"]}),
    (names, "shipper", "image", "crisp-shipper:none"),
    (addresses, "kafka", "environment", {"KAFKA_ADVERTISED_LISTENERS": "X://kafka:1", "KAFKA_LISTENERS": "X://:2"}),
    (confinement, "kibana", "healthcheck", None),
    (confinement, "kafka", "mem_limit", None),
    (confinement, "kafka", "healthcheck", {"test": ["CMD", "/opt/kafka/bin/kafka-topics.sh", "--list"]}),
    (names, "worker", "pull_policy", None),
]


def faults(compose: Compose, check: Any, service: str, key: str, value: Any) -> list[str]:
    broken = copy.deepcopy(compose)
    broken["services"][service][key] = value
    if value is None:
        del broken["services"][service][key]
    return list(check(broken))


@pytest.mark.parametrize(("check", "service", "key", "value"), BROKEN)
def test_broken_file_is_reported(compose: Compose, check: Any, service: str, key: str, value: Any) -> None:
    assert faults(compose, check, service, key, value) != []


def test_every_check_is_made_to_fail(compose: Compose) -> None:
    assert {case[0] for case in BROKEN} == set(CHECKS)
    said = {fault for case in BROKEN for fault in faults(compose, *case)}
    assert unsaid(sys.modules[__name__], said) == []
