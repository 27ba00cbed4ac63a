"""TLS, users and least privileges on both servers with security; invalid and changing credentials."""

import hashlib
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.local.process import free_ports
from pipeline.local.secured_stack import SecuredStack
from pipeline.parsing import timestamp
from tests.integration.flow import eventually
from tests.integration.secured import SecuredFlow

PASSWORD = "very-Secret-7"  # noqa: S105 - of users for these tests
WRONG = "wrong-Secret-8"


@pytest.fixture(scope="module")
def secured() -> Iterator[SecuredStack]:
    """Both servers with security, stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="crisp-secured-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        stack = SecuredStack(directory, os.environ.get("ES_VERSION", "8.19.21"))
        stack.start()
        yield stack
        stack.stop()


@pytest.fixture
def flow(secured: SecuredStack, tmp_path: Path) -> Iterator[SecuredFlow]:
    """A flow after setup with the setup role; the worker uses its own role, with its password in a file."""
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    flow = SecuredFlow(secured, tmp_path)
    setup = flow.add_user("crisp_setup", PASSWORD)
    worker = flow.add_user("crisp_worker", PASSWORD)
    flow.configure(ES_USER=setup, ES_PASSWORD=PASSWORD)
    flow.set_up()
    flow.configure(ES_USER=worker, ES_PASSWORD=None, ES_PASSWORD_FILE=str(password))
    yield flow
    flow.stop()


def write(flow: SecuredFlow, pod: str, lines: int, moment: float | None = None, namespace: str = "shop") -> None:
    """Write lines of a container, one second apart, the first at `moment`, seconds since the epoch."""
    start = time.time() - 1 if moment is None else moment
    directory = flow.logs / f"{namespace}_{pod}_{pod}-uid" / "app"
    directory.mkdir(parents=True)
    text = [
        f"{timestamp.format_utc(round((start + number) * 1e9))} stdout F {pod} {number}\n" for number in range(lines)
    ]
    (directory / "0.log").write_text("".join(text))


def test_least_privileges_allow_indexing_across_midnight(flow: SecuredFlow) -> None:
    """The worker's role can create the indices of both days and routes, but cannot change documents."""
    midnight = time.time() // 86400 * 86400
    write(flow, "night", 20, midnight - 10)
    write(flow, "dns", 20, midnight - 10, namespace="kube-system")
    write(flow, "old", 5, midnight - 40 * 86400)

    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)

    hits = flow.documents()
    assert len(hits) == 45
    assert len({hit["_index"] for hit in hits}) == 5
    mapping = flow.request(f"{flow.prefix}-*/_mapping")
    assert all(entry["mappings"]["_meta"]["owner"] == "crisp" for entry in mapping.values())
    user, path = flow.environment["ES_USER"], f"{hits[0]['_index']}/{{}}/{hits[0]['_id']}"
    for method, endpoint, body in (
        ("PUT", "_doc", {"a": 1}),
        ("POST", "_update", {"doc": {}}),
        ("DELETE", "_doc", None),
    ):
        with pytest.raises(urllib.error.HTTPError) as raised:
            flow.as_user(user, PASSWORD, method, path.format(endpoint), body)
        assert raised.value.code == 403, method


@pytest.mark.faults
def test_setup_role_has_a_privilege_in_one_kibana_space(secured: SecuredStack, tmp_path: Path) -> None:
    """Elasticsearch accepts the role; the effect of the privilege needs a Kibana."""
    flow = SecuredFlow(secured, tmp_path, CRISP_KIBANA_URL="http://kibana.invalid:5601")
    setup = flow.add_user("crisp_setup", PASSWORD)

    (privilege,) = flow.as_user(setup, PASSWORD, "GET", "_security/user/_privileges")["applications"]

    assert (privilege["application"], privilege["resources"]) == ("kibana-.kibana", ["space:default"])
    assert privilege["privileges"] == ["feature_savedObjectsManagement.all"]


def crisp(flow: SecuredFlow, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run a command with `--json` and return its output."""
    command = [sys.executable, "-m", "pipeline.cli", *arguments, "--json"]
    environment = {**os.environ, **flow.environment}
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert completed.returncode == code, completed.stdout + completed.stderr
    output: dict[str, Any] = json.loads(completed.stdout)
    return output


def test_commands_work_with_least_privileges(flow: SecuredFlow) -> None:
    """Reading commands with the audit role; replay and checks with the worker role."""
    write(flow, "pay", 20, time.time() - 300)
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)
    hits = flow.documents()
    for hit in hits[:3]:
        flow.request(f"{hit['_index']}/_doc/{hit['_id']}?refresh=true", method="DELETE")
    worker = flow.environment["ES_USER"]

    flow.configure(ES_USER=flow.add_user("crisp_audit", PASSWORD))
    for source in ("kafka", str(flow.logs)):
        result = crisp(flow, "audit", "--from", source, code=1)
        assert (result["missing"], result["indexed"]) == (3, 17)
    assert crisp(flow, "trace", hits[5]["_id"])["indexed"]
    assert crisp(flow, "status")["elasticsearch"]["status"] in {"green", "yellow"}
    assert crisp(flow, "dead-letters", "list")["dead_letters"] == 0
    tail = [sys.executable, "-m", "pipeline.cli", "tail", "-n", "30", "--no-follow", "--json", "app=app"]
    printed = subprocess.run(tail, env={**os.environ, **flow.environment}, capture_output=True, text=True, check=True)
    assert len(printed.stdout.splitlines()) == 17

    flow.configure(ES_USER=worker)
    checked = crisp(flow, "check", "--connect")
    assert [entry for entry in checked["findings"] if entry["status"] == "failed"] == []
    assert crisp(flow, "replay", "--since", "1h")["created"] == 3
    flow.documents()
    assert crisp(flow, "audit", "--from", "kafka")["indexed"] == 20


@pytest.mark.parametrize(
    "listener",
    [
        pytest.param({"CRISP_KAFKA_SASL": "PLAIN"}, id="plain"),
        pytest.param({"CRISP_KAFKA_SASL": "SCRAM-SHA-256"}, id="scram_256"),
        pytest.param({"CRISP_KAFKA_SASL": "none", "CRISP_KAFKA_USER": None, "CRISP_KAFKA_PASSWORD": None}, id="tls"),
    ],
)
def test_kafka_listeners_and_certificate_fingerprint(flow: SecuredFlow, listener: dict[str, str | None]) -> None:
    der = ssl.PEM_cert_to_DER_cert(flow.stack.authority.certificate.read_text())
    if listener["CRISP_KAFKA_SASL"] == "none":
        listener = {**listener, "CRISP_KAFKA_BROKERS": f"127.0.0.1:{flow.stack.listeners.tls_port}"}
    flow.configure(CRISP_ES_CA_FILE=None, CRISP_ES_CA_FINGERPRINT=hashlib.sha256(der).hexdigest(), **listener)
    write(flow, "pay", 10)

    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)

    assert flow.count() == 10


def test_invalid_elasticsearch_password_is_reported_and_reloaded(flow: SecuredFlow, tmp_path: Path) -> None:
    """The worker recovers from 401 without a restart; no output contains a secret."""
    [port] = free_ports(1)
    flow.configure(CRISP_WORKER_PORT=str(port))
    password = Path(flow.environment["ES_PASSWORD_FILE"])
    password.write_text(WRONG)
    write(flow, "pay", 10)
    flow.run_once(flow.shipper)
    flow.worker.start()

    eventually(lambda: "check ES_USER and ES_PASSWORD" in flow.worker.output.read_text(), 30)
    status = urllib.request.urlopen(f"http://127.0.0.1:{port}/status.json", timeout=5).read().decode()
    alive = urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5).status
    password.write_text(PASSWORD)

    eventually(lambda: flow.count() == 10, 30)
    log = flow.worker.output.read_text()
    assert log.count("check ES_USER and ES_PASSWORD") <= 4
    assert alive == 200
    assert flow.worker.stop() == 0
    config = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "config", "--json"],
        env={**os.environ, **flow.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(config.stdout)["CRISP_KAFKA_PASSWORD"]["value"] == "set, not shown"
    for secret in (WRONG, PASSWORD, flow.stack.password):
        for text in (log, status, config.stdout, repr(flow.settings), flow.shipper.output.read_text()):
            assert secret not in text


@pytest.mark.parametrize("name", ["shipper", "worker"])
def test_invalid_kafka_password_is_reported_and_reloaded(flow: SecuredFlow, tmp_path: Path, name: str) -> None:
    password = tmp_path / "kafka-password"
    password.write_text(WRONG)
    write(flow, "pay", 10)
    if name == "worker":
        flow.run_once(flow.shipper)
    flow.configure(CRISP_KAFKA_PASSWORD=None, CRISP_KAFKA_PASSWORD_FILE=str(password))
    process = getattr(flow, name)
    process.start()

    message = "check CRISP_KAFKA_USER and CRISP_KAFKA_PASSWORD"
    eventually(lambda: message in process.output.read_text(), 30)
    password.write_text(flow.stack.password)
    if name == "shipper":
        flow.worker.start()

    eventually(lambda: flow.count() == 10, 60)
    assert flow.stack.password not in process.output.read_text()


@pytest.mark.faults
def test_untrusted_certificate_authority_is_reported(flow: SecuredFlow) -> None:
    write(flow, "pay", 1)
    flow.run_once(flow.shipper)
    flow.configure(CRISP_ES_CA_FILE=None)
    flow.worker.start()
    eventually(lambda: "check CRISP_ES_CA_FILE" in flow.worker.output.read_text(), 30)
    flow.worker.stop()

    flow.configure(CRISP_KAFKA_CA_FILE=None)
    flow.shipper.start()
    eventually(lambda: "check CRISP_KAFKA_CA_FILE" in flow.shipper.output.read_text(), 30)
