"""The saved objects hold together, and come into a server that insists on Kibana's protocol."""

import base64
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

from pipeline.config import settings
from pipeline.config.settings import Settings
from pipeline.contract.ecs import FIELDS
from pipeline.errors import SettingsError, SetupError
from pipeline.operations.setup import kibana_import, kibana_objects
from pipeline.operations.setup.kibana_import import KibanaClient

OBJECTS = kibana_objects.saved_objects(Settings())
# What 8.11.0 has for each type; a file with a newer one is refused by it.
AT_8_11 = {"index-pattern": (8, 0, 0), "search": (8, 0, 0), "lens": (8, 9, 0), "dashboard": (8, 9, 0)}


def number(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def fields(saved: Any) -> set[str]:
    """Every field that an object names, in columns and in queries."""
    text = json.dumps(saved).replace('\\"', '"')
    named = set(re.findall(r'"sourceField": "([@\w.]+)"', text)) - {"___records___"}
    named |= {match for query in re.findall(r'"query": "([^"]*)"', text) for match in re.findall(r"([\w.]+):", query)}
    return named | set(saved["attributes"].get("columns", ()))


@pytest.mark.parametrize("saved", OBJECTS, ids=lambda saved: saved["id"])
def test_an_object_is_one_that_8_11_takes(saved: dict[str, Any]) -> None:
    assert number(saved["typeMigrationVersion"]) <= AT_8_11[saved["type"]]
    assert number(saved["coreMigrationVersion"]) <= (8, 8, 0)
    assert "version" not in saved
    assert saved["attributes"]["title"]


@pytest.mark.parametrize("saved", OBJECTS, ids=lambda saved: saved["id"])
def test_every_field_that_an_object_names_is_ours(saved: dict[str, Any]) -> None:
    assert fields(saved) <= FIELDS.keys()


def test_every_field_of_crisp_that_an_object_names_is_written_by_somebody() -> None:
    home = Path(kibana_objects.__file__).parents[2]
    code = [path.read_text() for path in home.rglob("*.py") if path.name != "ecs.py" and path.parent.name != "kibana"]
    named = {name for saved in OBJECTS for name in fields(saved) if name.startswith("crisp.")}

    assert len(named) >= 4
    for name in named:
        assert any(f'"{name}"' in text for text in code), name


def test_every_reference_leads_to_an_object_before_it() -> None:
    seen: set[tuple[str, str]] = set()
    for saved in OBJECTS:
        assert {(found["type"], found["id"]) for found in saved["references"]} <= seen
        seen.add((saved["type"], saved["id"]))
    assert len(seen) == len(OBJECTS)


def test_every_name_of_a_reference_stands_in_its_object() -> None:
    for saved in OBJECTS:
        text = json.dumps(saved["attributes"])
        for reference in saved["references"]:
            name = reference["name"]
            key = name.partition(":")[2] or name.removeprefix("indexpattern-datasource-layer-")
            assert key in text


def test_the_dashboards_panels_lie_side_by_side_and_each_has_its_reference() -> None:
    board = OBJECTS[-1]
    panels = json.loads(board["attributes"]["panelsJSON"])
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        x, y, width, height = (panel["gridData"][key] for key in "xywh")
        cells = {(x + column, y + line) for column in range(width) for line in range(height)}
        assert x + width <= 48
        assert not cells & taken
        taken |= cells
    assert {f"{panel['panelIndex']}:{panel['panelRefName']}" for panel in panels} == {
        reference["name"] for reference in board["references"]
    }
    assert len(panels) == len(kibana_objects.CHARTS) + len(kibana_objects.SEARCHES)


def test_the_columns_of_a_chart_are_those_that_it_draws() -> None:
    for saved in OBJECTS:
        if saved["type"] == "lens":
            state = saved["attributes"]["state"]
            layer = state["datasourceStates"]["formBased"]["layers"][kibana_objects.LAYER_ID]
            (drawn,) = state["visualization"]["layers"]
            used = {drawn["xAccessor"], *drawn["accessors"], drawn.get("splitAccessor", "count")}
            assert used == set(layer["columns"]) == set(layer["columnOrder"])


class Server(ThreadingHTTPServer):
    """Takes saved objects as Kibana does: refuses what lacks the header, the rights, the form or a reference."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.starting = 2  # answers before it is available
        self.version = "8.11.0"
        self.user = ""
        self.stored: dict[tuple[str, str], dict[str, Any]] = {}
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def _say(self, code: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _allowed(self) -> bool:
        wanted = "Basic " + base64.b64encode(self.server.user.encode()).decode()
        if self.server.user and self.headers.get("authorization") != wanted:
            self._say(401, {"statusCode": 401, "message": "unable to authenticate user"})
            return False
        return True

    def do_GET(self) -> None:
        if not self._allowed():
            return
        if self.server.starting == 2:
            self.server.starting -= 1
            self._say(503, {"message": "Kibana server is not ready yet"})
            return
        level = "degraded" if self.server.starting else "available"
        self.server.starting = 0
        self._say(200, {"version": {"number": self.server.version}, "status": {"overall": {"level": level}}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.paths.append(self.path)
        if not self._allowed():
            return
        if "kbn-xsrf" not in self.headers:
            self._say(400, {"message": "Request must contain a kbn-xsrf header."})
            return
        head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
        parts = list(email.message_from_bytes(head + body, policy=email.policy.HTTP).iter_parts())
        if len(parts) != 1 or not str(parts[0].get_filename()).endswith(".ndjson"):
            self._say(415, {"message": "Unsupported Media Type"})
            return
        self._import(parts[0].get_payload(decode=True).splitlines())

    def _import(self, lines: list[bytes]) -> None:
        found = [json.loads(line) for line in lines]
        keys = {(saved["type"], saved["id"]) for saved in found}
        errors = []
        for saved in found:
            key = (saved["type"], saved["id"])
            missing = {(one["type"], one["id"]) for one in saved["references"]} - keys - self.server.stored.keys()
            if missing:
                errors.append({"id": key[1], "type": key[0], "error": {"type": "missing_references"}})
            elif number(saved["typeMigrationVersion"]) > AT_8_11[key[0]]:
                errors.append({"id": key[1], "type": key[0], "error": {"type": "unsupported_version"}})
            elif key in self.server.stored and "overwrite=true" not in self.path:
                errors.append({"id": key[1], "type": key[0], "error": {"type": "conflict"}})
            else:
                self.server.stored[key] = saved
        answer = {"success": not errors, "successCount": len(found) - len(errors)}
        self._say(200, {**answer, **({"errors": errors} if errors else {})})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(kibana_import, "POLL_SECONDS", 0.01)
    made = Server()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def test_everything_comes_in_once_kibana_is_available_and_again_over_itself(server: Server) -> None:
    kibana = KibanaClient(Settings(kibana_url=server.url))

    assert f"{len(OBJECTS)} saved objects" in kibana.import_objects()
    assert f"{len(OBJECTS)} saved objects" in kibana.import_objects()
    assert len(server.stored) == len(OBJECTS)
    assert server.stored["index-pattern", kibana_objects.DATA_VIEW_ID]["attributes"]["title"] == "logs-*"


def test_a_space_is_asked_for_in_the_path(server: Server) -> None:
    KibanaClient(Settings(kibana_url=server.url + "/", kibana_space="ops")).import_objects()

    assert server.paths == ["/s/ops/api/saved_objects/_import?overwrite=true"]


def test_the_credentials_are_those_of_elasticsearch_and_wrong_ones_are_told(server: Server) -> None:
    server.user = "setup:pa:ss"
    KibanaClient(Settings(kibana_url=server.url, es_user="setup", es_password="pa:ss")).import_objects()  # noqa: S106 - of nobody

    with pytest.raises(SetupError, match=r"answers with 401 .*check ES_USER"):
        KibanaClient(Settings(kibana_url=server.url, es_user="setup", es_password="wrong")).import_objects()  # noqa: S106 - of nobody


def test_a_password_in_a_file_opens_it_too(server: Server, tmp_path: Path) -> None:
    server.user = "setup:pa:ss"
    (tmp_path / "password").write_text("pa:ss\n")

    KibanaClient(
        Settings(kibana_url=server.url, es_user="setup", es_password_file=str(tmp_path / "password"))
    ).import_objects()
    assert server.paths


def test_a_certificate_that_cannot_be_read_is_named_by_its_own_setting(tmp_path: Path) -> None:
    broken = tmp_path / "ca.crt"
    broken.write_text("no certificate")

    with pytest.raises(SetupError, match=f"CRISP_KIBANA_CA_FILE: {broken} cannot be read as PEM"):
        KibanaClient(Settings(kibana_url="https://127.0.0.1:9", kibana_ca_file=str(broken))).import_objects()


def certificate(directory: Path, name: str) -> Path:
    """One for 127.0.0.1 that is its own authority, its key beside it."""
    file = directory / f"{name}.pem"
    made = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    own = ("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(file) + ".key")
    subprocess.run(["openssl", *made, *own, "-out", str(file)], check=True, capture_output=True)
    return file


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")
def test_the_authority_of_kibana_may_be_another_than_that_of_elasticsearch(server: Server, tmp_path: Path) -> None:
    own, other = certificate(tmp_path, "kibana"), certificate(tmp_path, "elasticsearch")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own, f"{own}.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = server.url.replace("http:", "https:")

    with pytest.raises(SetupError, match="CERTIFICATE_VERIFY_FAILED"):
        KibanaClient(Settings(kibana_url=url, es_ca_file=str(other)), wait_seconds=0.05).import_objects()
    KibanaClient(Settings(kibana_url=url, es_ca_file=str(other), kibana_ca_file=str(own))).import_objects()
    assert len(server.stored) == len(OBJECTS)


def test_what_kibana_refuses_is_named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kibana_objects.TYPE_MIGRATION_VERSIONS, "lens", "10.1.0")

    with pytest.raises(SetupError, match=r"lens crisp-by-service: .*unsupported_version"):
        KibanaClient(Settings(kibana_url=server.url)).import_objects()


def test_an_older_kibana_is_refused_before_anything_is_sent(server: Server) -> None:
    server.version = "8.10.4"

    with pytest.raises(SetupError, match=r"is 8\.10\.4: the objects need 8\.11"):
        KibanaClient(Settings(kibana_url=server.url)).import_objects()
    assert server.paths == []


def test_one_that_does_not_come_is_waited_for_and_told(server: Server) -> None:
    server.shutdown()
    server.server_close()

    with pytest.raises(SetupError, match="is not available after 0 s: it cannot be reached"):
        KibanaClient(Settings(kibana_url=server.url), wait_seconds=0.2).import_objects()


def test_an_address_that_is_none_refuses_to_start() -> None:
    with pytest.raises(SettingsError, match="CRISP_KIBANA_URL"):
        settings.load({"CRISP_KIBANA_URL": "kibana.invalid:5601"})
