"""Imports the saved objects into Kibana: waits until it is available, then overwrites crisp's previous objects."""

import base64
import http.client
import logging
import ssl
import time
import urllib.error
import urllib.request
from secrets import token_hex

import orjson

from pipeline.config import secrets
from pipeline.config.settings import Settings, env_name, strip_credentials
from pipeline.contract.json_types import JsonObject
from pipeline.elasticsearch.requests import CREDENTIALS_HINT
from pipeline.errors import SetupError
from pipeline.operations.setup import kibana_objects

MIN_VERSION = (8, 11)
WAIT_SECONDS = 180.0
POLL_SECONDS = 2.0
REQUEST_TIMEOUT_SECONDS = 60.0
MAX_RESPONSE_BYTES = 4 * 1024 * 1024
MAX_ERRORS = 20

_REDIRECTS = frozenset({301, 302, 303, 307, 308})

log = logging.getLogger(__name__)


class KibanaClient:
    """One Kibana. Requests raise SetupError with the response, or the reason why there is none."""

    def __init__(self, settings: Settings, wait_seconds: float = WAIT_SECONDS) -> None:
        self._settings = settings
        self._wait_seconds = wait_seconds
        self._url = settings.kibana_url.rstrip("/")
        self._space_url = self._url + (f"/s/{settings.kibana_space}" if settings.kibana_space else "")
        self.display_url = strip_credentials(self._url)

    def import_objects(self) -> str:
        """Import the saved objects; return a message."""
        self._wait_until_available()
        boundary = token_hex(16)
        body = (
            (
                f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="crisp.ndjson"\r\n'
                "Content-Type: application/ndjson\r\n\r\n"
            ).encode()
            + kibana_objects.ndjson(self._settings)
            + f"\r\n--{boundary}--\r\n".encode()
        )
        content_type = f"multipart/form-data; boundary={boundary}"
        try:
            response = self._request(f"{self._space_url}/api/saved_objects/_import?overwrite=true", body, content_type)
        except _Unavailable as error:
            raise SetupError(f"Kibana at {self.display_url} did not import the saved objects: {error}") from error
        count = response.get("successCount")
        if response.get("success") is not True or not isinstance(count, int):
            raise SetupError(f"Kibana at {self.display_url} rejected saved objects: {_describe_errors(response)}")
        return f"Kibana {self.display_url}: {count} saved objects, the dashboard is {kibana_objects.DASHBOARD_ID}"

    def _wait_until_available(self) -> None:
        """Poll until Kibana is available, then check that its version supports the objects."""
        deadline = time.monotonic() + self._wait_seconds
        while True:
            try:
                status = self._request(f"{self._url}/api/status")
            except _Unavailable as error:
                reason = str(error)
            else:
                reason = f"its state is {_level(status)}"
                if _level(status) == "available":
                    self._check_version(status)
                    return
            if time.monotonic() >= deadline:
                raise SetupError(
                    f"Kibana at {self.display_url} is not available after {self._wait_seconds:.0f} s: {reason}"
                )
            remaining = deadline - time.monotonic()
            log.warning("waiting for Kibana at %s, at most %.0f s: %s", self.display_url, remaining, reason)
            time.sleep(min(POLL_SECONDS, self._wait_seconds))

    def _check_version(self, status: JsonObject) -> None:
        number = str(_read_text(status, "version", "number"))
        parts = number.split(".")[:2]
        if all(part.isdigit() for part in parts) and tuple(map(int, parts)) < MIN_VERSION:
            raise SetupError(f"Kibana at {self.display_url} is {number}: the objects require 8.11 or newer")

    def _request(self, url: str, body: bytes | None = None, content_type: str = "") -> JsonObject:
        headers = {"kbn-xsrf": "crisp", "accept": "application/json", **self._credentials()}
        if body is not None:
            headers["content-type"] = content_type
        request = urllib.request.Request(url, body, headers)  # noqa: S310 - the setting's scheme is checked
        try:
            opener = urllib.request.build_opener(
                _NoRedirects(), urllib.request.HTTPSHandler(context=self._tls_context())
            )
            with opener.open(request, timeout=REQUEST_TIMEOUT_SECONDS) as response:
                return _parse_object(response.read(MAX_RESPONSE_BYTES + 1), self.display_url)
        except urllib.error.HTTPError as error:
            message = f"{error.code} {error.read(300).decode('utf-8', 'replace')}".strip()
            if error.code in _REDIRECTS:
                target = str(error.headers.get("location", ""))[:200]
                message = f"a redirect to {target!r}, which is not followed: check {env_name('kibana_url')}"
            if error.code == 503:
                raise _Unavailable(f"it responds with {message}") from error
            hint = f" ({CREDENTIALS_HINT})" if error.code in {401, 403} else ""
            raise SetupError(f"Kibana at {self.display_url} responds with {message}{hint}") from error
        except http.client.HTTPException as error:
            raise _Unavailable(f"its response is not HTTP: {error!r:.200}") from error
        except OSError as error:
            raise _Unavailable(f"cannot connect: {getattr(error, 'reason', error)}") from error

    def _credentials(self) -> dict[str, str]:
        if key := secrets.es_api_key(self._settings).read():
            return {"authorization": f"ApiKey {key}"}
        if self._settings.es_user:
            pair = f"{self._settings.es_user}:{secrets.es_password(self._settings).read()}".encode()
            return {"authorization": "Basic " + base64.b64encode(pair).decode()}
        return {}

    def _tls_context(self) -> ssl.SSLContext | None:
        if not self._url.startswith("https:"):
            return None
        name = "kibana_ca_file" if self._settings.kibana_ca_file else "es_ca_file"
        path = getattr(self._settings, name)
        try:
            context = ssl.create_default_context(cafile=path or None)
        except (OSError, ssl.SSLError) as error:
            raise SetupError(f"{env_name(name)}: {path} cannot be read as PEM: {error}") from error
        if not self._settings.es_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class _Unavailable(SetupError):
    """Kibana is unreachable or not ready; retrying may succeed."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Makes redirects errors: the request has credentials, and a response from elsewhere is not Kibana's."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""


def _read_text(response: JsonObject, *path: str) -> str:
    """Return the text at a path of keys; empty if there is none."""
    value: object = response
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def _level(status: JsonObject) -> str:
    return _read_text(status, "status", "overall", "level") or "unknown"


def _describe_errors(response: JsonObject) -> str:
    errors = response.get("errors")
    entries = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    texts = [f"{error.get('type')} {error.get('id')}: {error.get('error')}" for error in entries[:MAX_ERRORS]]
    return "; ".join(texts) or str(response)[:1000]


def _parse_object(body: bytes, url: str) -> JsonObject:
    if len(body) > MAX_RESPONSE_BYTES:
        raise SetupError(f"{url} does not respond as Kibana does: more than {MAX_RESPONSE_BYTES >> 20} MiB")
    try:
        value = orjson.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise SetupError(f"{url} does not respond as Kibana does: {body[:80]!r}")
    return value
