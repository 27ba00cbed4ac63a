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
from pipeline.config.settings import Settings, env_name, strip_credentials
from pipeline.errors import SetupError
from pipeline.operations.setup import kibana_objects

MIN_VERSION = (8, 11)
WAIT_SECONDS = 180.0
POLL_SECONDS = 2.0
REQUEST_TIMEOUT_SECONDS = 60.0


class KibanaClient:
    """One Kibana. Every question raises SetupError with what it said, or why it said nothing."""

    def __init__(self, settings: Settings, wait_seconds: float = WAIT_SECONDS) -> None:
        self._settings = settings
        self._wait_seconds = wait_seconds
        space = f"/s/{settings.kibana_space}" if settings.kibana_space else ""
        self._url = settings.kibana_url.rstrip("/")
        self._space = self._url + space
        self.display_url = strip_credentials(self._url)

    def import_objects(self) -> str:
        """Import; returns what was done."""
        self._wait_until_available()
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
            answer = self._request(f"{self._space}/api/saved_objects/_import?overwrite=true", body, kind)
        except _Unavailable as fault:
            raise SetupError(f"Kibana at {self.display_url} did not take the saved objects: {fault}") from fault
        if not answer.get("success"):
            faults = [
                f"{fault.get('type')} {fault.get('id')}: {fault.get('error')}" for fault in answer.get("errors", ())
            ]
            raise SetupError(
                f"Kibana at {self.display_url} refused saved objects: " + ("; ".join(faults) or str(answer))
            )
        count = answer["successCount"]
        return f"Kibana {self.display_url}: {count} saved objects, the dashboard is {kibana_objects.DASHBOARD_ID}"

    def _wait_until_available(self) -> None:
        """Until it says that it is available; its version must be one that takes the objects."""
        limit = time.monotonic() + self._wait_seconds
        while True:
            try:
                status = self._request(f"{self._url}/api/status")
            except _Unavailable as fault:
                said = str(fault)
            else:
                said = f"its state is {_level(status)}"
                if _level(status) == "available":
                    self._check_version(status)
                    return
            if time.monotonic() >= limit:
                raise SetupError(
                    f"Kibana at {self.display_url} is not available after {self._wait_seconds:.0f} s: {said}"
                )
            time.sleep(min(POLL_SECONDS, self._wait_seconds))

    def _check_version(self, status: dict[str, Any]) -> None:
        number = str(status.get("version", {}).get("number", ""))
        parts = number.split(".")[:2]
        if all(part.isdigit() for part in parts) and tuple(map(int, parts)) < MIN_VERSION:
            raise SetupError(f"Kibana at {self.display_url} is {number}: the objects need 8.11 or newer")

    def _request(self, url: str, body: bytes | None = None, content_type: str = "") -> dict[str, Any]:
        headers = {"kbn-xsrf": "crisp", "accept": "application/json", **self._credentials()}
        if body is not None:
            headers["content-type"] = content_type
        request = urllib.request.Request(url, body, headers)  # noqa: S310 - the setting's scheme is checked
        try:
            context = self._tls_context()
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_SECONDS, context=context) as answer:  # noqa: S310
                return _parse_object(answer.read(), self.display_url)
        except urllib.error.HTTPError as fault:
            words = f"{fault.code} {fault.read(300).decode('utf-8', 'replace')}".strip()
            if fault.code == 503:
                raise _Unavailable(f"it answers with {words}") from fault
            hint = " (check ES_USER and ES_PASSWORD, or CRISP_ES_API_KEY)" if fault.code in {401, 403} else ""
            raise SetupError(f"Kibana at {self.display_url} answers with {words}{hint}") from fault
        except OSError as fault:
            raise _Unavailable(f"it cannot be reached: {getattr(fault, 'reason', fault)}") from fault

    def _credentials(self) -> dict[str, str]:
        if key := secretfile.read(self._settings, "es_api_key"):
            return {"authorization": f"ApiKey {key}"}
        if self._settings.es_user:
            pair = f"{self._settings.es_user}:{secretfile.read(self._settings, 'es_password')}".encode()
            return {"authorization": "Basic " + base64.b64encode(pair).decode()}
        return {}

    def _tls_context(self) -> ssl.SSLContext | None:
        if not self._url.startswith("https:"):
            return None
        name = "kibana_ca_file" if self._settings.kibana_ca_file else "es_ca_file"
        path = getattr(self._settings, name)
        try:
            context = ssl.create_default_context(cafile=path or None)
        except (OSError, ssl.SSLError) as fault:
            words = f"{env_name(name)}: {path} cannot be read as PEM: {fault}"
            raise SetupError(words) from fault
        if not self._settings.es_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class _Unavailable(SetupError):
    """It may come: Kibana is not there, or not ready."""


def _level(status: dict[str, Any]) -> str:
    return str(status.get("status", {}).get("overall", {}).get("level", "unknown"))


def _parse_object(body: bytes, where: str) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SetupError(f"{where} does not answer as Kibana does: {body[:80]!r}")
    return found
