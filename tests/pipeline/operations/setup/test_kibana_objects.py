"""The saved objects are consistent, and a server with Kibana's protocol imports them."""

import base64
import contextlib
import email
import email.policy
import json
import re
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.contract.ecs import FIELDS
from pipeline.errors import SettingsError, SetupError
from pipeline.operations.setup import kibana_import, kibana_objects
from pipeline.operations.setup.kibana_import import KibanaClient

OBJECTS = kibana_objects.saved_objects(Settings())
# The version of each type in 8.11.0; it rejects newer ones.
AT_8_11 = {"index-pattern": (8, 0, 0), "search": (8, 0, 0), "lens": (8, 9, 0), "dashboard": (8, 9, 0)}


def number(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def fields(saved: Any) -> set[str]:
    """The fields in an object's columns and queries."""
    text = json.dumps(saved).replace('\\"', '"')
    names = set(re.findall(r'"sourceField": "([@\w.]+)"', text)) - {"___records___"}
    names |= {match for query in re.findall(r'"query": "([^"]*)"', text) for match in re.findall(r"([\w.]+):", query)}
    return names | set(saved["attributes"].get("columns", ()))


@pytest.mark.parametrize("saved", OBJECTS, ids=lambda saved: saved["id"])
def test_object_version_is_supported_by_kibana_8_11(saved: dict[str, Any]) -> None:
    assert number(saved["typeMigrationVersion"]) <= AT_8_11[saved["type"]]
    assert number(saved["coreMigrationVersion"]) <= (8, 8, 0)
    assert "version" not in saved
    assert saved["attributes"]["title"]


@pytest.mark.parametrize("saved", OBJECTS, ids=lambda saved: saved["id"])
def test_every_field_of_an_object_is_documented(saved: dict[str, Any]) -> None:
    assert fields(saved) <= FIELDS.keys()


def test_every_crisp_field_of_an_object_is_written_by_the_code() -> None:
    package = Path(kibana_objects.__file__).parents[2]
    modules = [
        path.read_text() for path in package.rglob("*.py") if path.name != "ecs.py" and path.parent.name != "kibana"
    ]
    names = {name for saved in OBJECTS for name in fields(saved) if name.startswith("crisp.")}

    assert len(names) >= 4
    for name in names:
        assert any(f'"{name}"' in text for text in modules), name


def test_every_reference_is_to_an_earlier_object() -> None:
    seen: set[tuple[str, str]] = set()
    for saved in OBJECTS:
        assert {(reference["type"], reference["id"]) for reference in saved["references"]} <= seen
        seen.add((saved["type"], saved["id"]))
    assert len(seen) == len(OBJECTS)


def test_every_reference_name_is_used_in_its_object() -> None:
    for saved in OBJECTS:
        text = json.dumps(saved["attributes"])
        for reference in saved["references"]:
            name = reference["name"]
            key = name.partition(":")[2] or name.removeprefix("indexpattern-datasource-layer-")
            assert key in text


def test_dashboard_panels_do_not_overlap_and_have_references() -> None:
    dashboard = OBJECTS[-1]
    panels = json.loads(dashboard["attributes"]["panelsJSON"])
    occupied: set[tuple[int, int]] = set()
    for panel in panels:
        x, y, width, height = (panel["gridData"][key] for key in "xywh")
        cells = {(x + column, y + line) for column in range(width) for line in range(height)}
        assert x + width <= 48
        assert not cells & occupied
        occupied |= cells
    assert {f"{panel['panelIndex']}:{panel['panelRefName']}" for panel in panels} == {
        reference["name"] for reference in dashboard["references"]
    }
    assert len(panels) == len(kibana_objects.CHARTS) + len(kibana_objects.SEARCHES)


def test_chart_defines_the_columns_that_it_draws() -> None:
    for saved in OBJECTS:
        if saved["type"] == "lens":
            state = saved["attributes"]["state"]
            layer = state["datasourceStates"]["formBased"]["layers"][kibana_objects.LAYER_ID]
            (drawn,) = state["visualization"]["layers"]
            used = {drawn["xAccessor"], *drawn["accessors"], drawn.get("splitAccessor", "count")}
            assert used == set(layer["columns"]) == set(layer["columnOrder"])


class Server(ThreadingHTTPServer):
    """A fake Kibana: rejects imports with a missing header, privilege, form field or reference."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.starting = 2  # responses before it is available
        self.version = "8.11.0"
        self.user = ""
        self.stored: dict[tuple[str, str], dict[str, Any]] = {}
        self.paths: list[str] = []
        self.responses: dict[str, tuple[int, dict[str, str], bytes]] = {}  # by method, in place of its own

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def _respond(self, code: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _respond_otherwise(self) -> bool:
        if self.command not in self.server.responses:
            return False
        code, headers, data = self.server.responses[self.command]
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the client read enough
            self.wfile.write(data)
        return True

    def _authenticate(self) -> bool:
        expected = "Basic " + base64.b64encode(self.server.user.encode()).decode()
        if self.server.user and self.headers.get("authorization") != expected:
            self._respond(401, {"statusCode": 401, "message": "unable to authenticate user"})
            return False
        return True

    def do_GET(self) -> None:
        if self._respond_otherwise():
            return
        if not self._authenticate():
            return
        if self.server.starting == 2:
            self.server.starting -= 1
            self._respond(503, {"message": "Kibana server is not ready yet"})
            return
        level = "degraded" if self.server.starting else "available"
        self.server.starting = 0
        self._respond(200, {"version": {"number": self.server.version}, "status": {"overall": {"level": level}}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.paths.append(self.path)
        if self._respond_otherwise():
            return
        if not self._authenticate():
            return
        if "kbn-xsrf" not in self.headers:
            self._respond(400, {"message": "Request must contain a kbn-xsrf header."})
            return
        head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
        parts = list(email.message_from_bytes(head + body, policy=email.policy.HTTP).iter_parts())
        if len(parts) != 1 or not str(parts[0].get_filename()).endswith(".ndjson"):
            self._respond(415, {"message": "Unsupported Media Type"})
            return
        payload = parts[0].get_payload(decode=True)
        assert isinstance(payload, bytes)
        self._import(payload.splitlines())

    def _import(self, lines: list[bytes]) -> None:
        objects = [json.loads(line) for line in lines]
        keys = {(saved["type"], saved["id"]) for saved in objects}
        errors = []
        for saved in objects:
            key = (saved["type"], saved["id"])
            references = {(reference["type"], reference["id"]) for reference in saved["references"]}
            missing = references - keys - self.server.stored.keys()
            if missing:
                errors.append({"id": key[1], "type": key[0], "error": {"type": "missing_references"}})
            elif number(saved["typeMigrationVersion"]) > AT_8_11[key[0]]:
                errors.append({"id": key[1], "type": key[0], "error": {"type": "unsupported_version"}})
            elif key in self.server.stored and "overwrite=true" not in self.path:
                errors.append({"id": key[1], "type": key[0], "error": {"type": "conflict"}})
            else:
                self.server.stored[key] = saved
        response = {"success": not errors, "successCount": len(objects) - len(errors)}
        self._respond(200, {**response, **({"errors": errors} if errors else {})})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(kibana_import, "POLL_SECONDS", 0.01)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_import_waits_for_kibana_and_is_repeatable(server: Server) -> None:
    kibana = KibanaClient(Settings(kibana_url=server.url))

    assert f"{len(OBJECTS)} saved objects" in kibana.import_objects()
    assert f"{len(OBJECTS)} saved objects" in kibana.import_objects()
    assert len(server.stored) == len(OBJECTS)
    assert server.stored["index-pattern", kibana_objects.DATA_VIEW_ID]["attributes"]["title"] == "logs-*"


def test_space_is_part_of_the_path(server: Server) -> None:
    KibanaClient(Settings(kibana_url=server.url + "/", kibana_space="ops")).import_objects()

    assert server.paths == ["/s/ops/api/saved_objects/_import?overwrite=true"]


def test_elasticsearch_credentials_are_used_and_wrong_ones_reported(server: Server) -> None:
    server.user = "setup:pa:ss"
    KibanaClient(Settings(kibana_url=server.url, es_user="setup", es_password="pa:ss")).import_objects()  # noqa: S106 - a test password

    with pytest.raises(SetupError, match=r"responds with 401 .*check ES_USER"):
        KibanaClient(Settings(kibana_url=server.url, es_user="setup", es_password="wrong")).import_objects()  # noqa: S106 - a test password


def test_password_is_read_from_its_file(server: Server, tmp_path: Path) -> None:
    server.user = "setup:pa:ss"
    (tmp_path / "password").write_text("pa:ss\n")

    KibanaClient(
        Settings(kibana_url=server.url, es_user="setup", es_password_file=str(tmp_path / "password"))
    ).import_objects()
    assert server.paths


def test_unreadable_certificate_is_reported_with_its_setting(tmp_path: Path) -> None:
    broken = tmp_path / "ca.crt"
    broken.write_text("no certificate")

    with pytest.raises(SetupError, match=f"CRISP_KIBANA_CA_FILE: {broken} cannot be read as PEM"):
        KibanaClient(Settings(kibana_url="https://127.0.0.1:9", kibana_ca_file=str(broken))).import_objects()


def certificate(directory: Path, name: str) -> Path:
    """Create a self-signed certificate for 127.0.0.1, and its key in `<file>.key`."""
    file = directory / f"{name}.pem"
    request = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    subject = ("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(file) + ".key")
    subprocess.run(["openssl", *request, *subject, "-out", str(file)], check=True, capture_output=True)
    return file


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_kibana_may_use_another_certificate_authority(server: Server, tmp_path: Path) -> None:
    own, other = certificate(tmp_path, "kibana"), certificate(tmp_path, "elasticsearch")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own, f"{own}.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = server.url.replace("http:", "https:")

    with pytest.raises(SetupError, match="CERTIFICATE_VERIFY_FAILED"):
        KibanaClient(Settings(kibana_url=url, es_ca_file=str(other)), wait_seconds=0.05).import_objects()
    KibanaClient(Settings(kibana_url=url, es_ca_file=str(other), kibana_ca_file=str(own))).import_objects()
    assert len(server.stored) == len(OBJECTS)


def test_object_rejected_by_kibana_is_reported(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kibana_objects.TYPE_MIGRATION_VERSIONS, "lens", "10.1.0")

    with pytest.raises(SetupError, match=r"lens crisp-by-service: .*unsupported_version"):
        KibanaClient(Settings(kibana_url=server.url)).import_objects()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'{"status":[],"version":"8.19.0","success":"yes"}',
        b'{"status":{"overall":"available"},"version":{"number":[8]},"success":true}',
        b'{"success":false,"errors":{"a":1}}',
        b'{"success":false,"errors":["a",{"error":[]}]}',
        b'{"success":true,"successCount":"all"}',
        b"[" * 100_000,
        b'{"a":"' + bytes(kibana_import.MAX_RESPONSE_BYTES) + b'"}',
    ],
    ids=range(11),
)
def test_response_of_another_form_is_an_error_of_one_line(server: Server, method: str, body: bytes) -> None:
    server.responses[method] = 200, {}, body

    with pytest.raises(SetupError, match=r"^Kibana at \S+ |^http\S+ does not respond as Kibana") as raised:
        KibanaClient(Settings(kibana_url=server.url), wait_seconds=0.05).import_objects()
    assert len(str(raised.value)) < 1500
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(server: Server, method: str, code: int) -> None:
    other = Server()
    server.starting = 0
    server.responses[method] = code, {"location": f"{other.url}/api/status"}, b""

    with pytest.raises(SetupError, match=r"redirect to .* which is not followed: check CRISP_KIBANA_URL"):
        KibanaClient(Settings(kibana_url=server.url), wait_seconds=0.05).import_objects()
    other.server_close()


def test_older_kibana_is_rejected_before_the_import(server: Server) -> None:
    server.version = "8.10.4"

    with pytest.raises(SetupError, match=r"is 8\.10\.4: the objects require 8\.11"):
        KibanaClient(Settings(kibana_url=server.url)).import_objects()
    assert server.paths == []


def test_wait_for_kibana_is_not_silent(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.shutdown()
    server.server_close()

    with pytest.raises(SetupError, match="is not available after"):
        KibanaClient(Settings(kibana_url=server.url), wait_seconds=0.2).import_objects()

    messages = [record.getMessage() for record in caplog.records]
    assert messages[0].startswith(f"waiting for Kibana at {server.url}, at most 0 s: cannot connect")


def test_unavailable_kibana_is_reported_after_the_wait(server: Server) -> None:
    server.shutdown()
    server.server_close()

    with pytest.raises(SetupError, match="is not available after 0 s: cannot connect"):
        KibanaClient(Settings(kibana_url=server.url), wait_seconds=0.2).import_objects()


def test_invalid_kibana_url_is_rejected() -> None:
    with pytest.raises(SettingsError, match="CRISP_KIBANA_URL"):
        load_settings({"CRISP_KIBANA_URL": "kibana.invalid:5601"})
