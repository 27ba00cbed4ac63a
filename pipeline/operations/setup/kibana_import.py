"""Brings the saved objects into Kibana: waits until it is available, then imports them over ours of before."""

import base64
import secrets
import ssl
import time
import urllib.error
import urllib.request
from typing import Any

import orjson

from pipeline.config import secrets as secretfile
from pipeline.config.settings import Settings, variable, without_credentials
from pipeline.errors import SetupError
from pipeline.operations.setup import kibana_objects

OLDEST = (8, 11)
WAIT_SECONDS = 180.0
EVERY_SECONDS = 2.0
ASK_SECONDS = 60.0


class Kibana:
    """One Kibana. Every question raises SetupError with what it said, or why it said nothing."""

    def __init__(self, settings: Settings, wait_seconds: float = WAIT_SECONDS) -> None:
        self._settings = settings
        self._wait_seconds = wait_seconds
        space = f"/s/{settings.kibana_space}" if settings.kibana_space else ""
        self._url = settings.kibana_url.rstrip("/")
        self._space = self._url + space
        self.shown = without_credentials(self._url)

    def load(self) -> str:
        """Import; returns what was done."""
        self._wait()
        boundary = secrets.token_hex(16)
        body = (
            (
                f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="crisp.ndjson"\r\n'
                "Content-Type: application/ndjson\r\n\r\n"
            ).encode()
            + kibana_objects.ndjson(self._settings)
            + f"\r\n--{boundary}--\r\n".encode()
        )
        kind = f"multipart/form-data; boundary={boundary}"
        try:
            answer = self._ask(f"{self._space}/api/saved_objects/_import?overwrite=true", body, kind)
        except _NotYet as fault:
            raise SetupError(f"Kibana at {self.shown} did not take the saved objects: {fault}") from fault
        if not answer.get("success"):
            faults = [
                f"{fault.get('type')} {fault.get('id')}: {fault.get('error')}" for fault in answer.get("errors", ())
            ]
            raise SetupError(f"Kibana at {self.shown} refused saved objects: " + ("; ".join(faults) or str(answer)))
        return (
            f"Kibana {self.shown}: {answer['successCount']} saved objects, the dashboard is {kibana_objects.DASHBOARD}"
        )

    def _wait(self) -> None:
        """Until it says that it is available; its version must be one that takes the objects."""
        limit = time.monotonic() + self._wait_seconds
        while True:
            try:
                status = self._ask(f"{self._url}/api/status")
            except _NotYet as fault:
                said = str(fault)
            else:
                said = f"its state is {_level(status)}"
                if _level(status) == "available":
                    self._check(status)
                    return
            if time.monotonic() >= limit:
                raise SetupError(f"Kibana at {self.shown} is not available after {self._wait_seconds:.0f} s: {said}")
            time.sleep(min(EVERY_SECONDS, self._wait_seconds))

    def _check(self, status: dict[str, Any]) -> None:
        number = str(status.get("version", {}).get("number", ""))
        parts = number.split(".")[:2]
        if all(part.isdigit() for part in parts) and tuple(map(int, parts)) < OLDEST:
            raise SetupError(f"Kibana at {self.shown} is {number}: the objects need 8.11 or newer")

    def _ask(self, url: str, body: bytes | None = None, kind: str = "") -> dict[str, Any]:
        headers = {"kbn-xsrf": "crisp", "accept": "application/json", **self._credentials()}
        if body is not None:
            headers["content-type"] = kind
        request = urllib.request.Request(url, body, headers)  # noqa: S310 - the setting's scheme is checked
        try:
            with urllib.request.urlopen(request, timeout=ASK_SECONDS, context=self._tls()) as answer:  # noqa: S310
                return _object(answer.read(), self.shown)
        except urllib.error.HTTPError as fault:
            words = f"{fault.code} {fault.read(300).decode('utf-8', 'replace')}".strip()
            if fault.code == 503:
                raise _NotYet(f"it answers with {words}") from fault
            hint = " (check ES_USER and ES_PASSWORD, or CRISP_ES_API_KEY)" if fault.code in {401, 403} else ""
            raise SetupError(f"Kibana at {self.shown} answers with {words}{hint}") from fault
        except OSError as fault:
            raise _NotYet(f"it cannot be reached: {getattr(fault, 'reason', fault)}") from fault

    def _credentials(self) -> dict[str, str]:
        if key := secretfile.read(self._settings, "es_api_key"):
            return {"authorization": f"ApiKey {key}"}
        if self._settings.es_user:
            pair = f"{self._settings.es_user}:{secretfile.read(self._settings, 'es_password')}".encode()
            return {"authorization": "Basic " + base64.b64encode(pair).decode()}
        return {}

    def _tls(self) -> ssl.SSLContext | None:
        if not self._url.startswith("https:"):
            return None
        name = "kibana_ca_file" if self._settings.kibana_ca_file else "es_ca_file"
        path = getattr(self._settings, name)
        try:
            context = ssl.create_default_context(cafile=path or None)
        except (OSError, ssl.SSLError) as fault:
            words = f"{variable(name)}: {path} cannot be read as PEM: {fault}"
            raise SetupError(words) from fault
        if not self._settings.es_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class _NotYet(SetupError):
    """It may come: Kibana is not there, or not ready."""


def _level(status: dict[str, Any]) -> str:
    return str(status.get("status", {}).get("overall", {}).get("level", "unknown"))


def _object(body: bytes, where: str) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SetupError(f"{where} does not answer as Kibana does: {body[:80]!r}")
    return found
