"""GET requests to the Kubernetes API: whole responses and watched lines, each bounded in size and time."""

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

import orjson

from pipeline import __version__
from pipeline.contract.json_types import JsonObject
from pipeline.errors import KubernetesError
from pipeline.kubernetes.access import ApiAccess

CONNECT_TIMEOUT_SECONDS = 5.0
REQUEST_TIMEOUT_SECONDS = 30.0
MAX_RESPONSE_BYTES = 8 << 20
MAX_LINE_BYTES = 8 << 20
MAX_ERROR_BYTES = 64 << 10
MAX_MESSAGE_CHARACTERS = 300
_CHUNK_BYTES = 64 << 10

Query = Mapping[str, str | int]


class StatusError(KubernetesError):
    """The API responded with an error status; `retry_after`: seconds that the server wants to pass, 0 if unknown."""

    def __init__(self, code: int, message: str, retry_after: float = 0.0) -> None:
        super().__init__(f"status {code}: {message}")
        self.code = code
        self.message = message
        self.retry_after = retry_after


class Gone(StatusError):
    """HTTP 410: the resourceVersion of the watch has expired; list again."""

    def __init__(self, message: str = "the resourceVersion has expired") -> None:
        super().__init__(410, message)


class Unreachable(KubernetesError):
    """No connection, no valid certificate, no response in time, or the response ended early."""


class ResponseTooLarge(KubernetesError):
    """A response or a line exceeds its bound."""


def status_error(code: int, message: str, retry_after: float = 0.0) -> StatusError:
    """Return the exception for an error status."""
    return Gone(message) if code == 410 else StatusError(code, message, retry_after)


class ApiClient:
    """Requests with one access. `get` may be called by several threads; `watch` by one at a time."""

    def __init__(self, access: ApiAccess) -> None:
        self._access = access
        self._watch_socket: socket.socket | None = None

    @property
    def url(self) -> str:
        """The API server's address, for messages."""
        return self._access.url

    def get(
        self,
        path: str,
        query: Query | None = None,
        *,
        max_bytes: int = MAX_RESPONSE_BYTES,
        timeout: float = REQUEST_TIMEOUT_SECONDS,
    ) -> bytes:
        """Return the body of a response with status 200. Raises KubernetesError."""
        deadline = time.monotonic() + timeout
        body = bytearray()
        with self._request(path, query or {}, timeout) as response:
            while chunk := response.read(_CHUNK_BYTES):
                body += chunk
                if len(body) > max_bytes:
                    raise ResponseTooLarge(f"the response to {path} exceeds {max_bytes} bytes")
                if time.monotonic() > deadline:
                    raise TimeoutError("timed out")
            if response.length:
                raise http.client.IncompleteRead(bytes(body[:0]), response.length)
        return bytes(body)

    def get_object(
        self, path: str, query: Query | None = None, *, timeout: float = REQUEST_TIMEOUT_SECONDS
    ) -> JsonObject:
        """Return the JSON object of a response with status 200. Raises KubernetesError."""
        return _parse_object(self.get(path, query, timeout=timeout), f"the response of {self.url} to {path}")

    def watch(self, path: str, query: Query, read_timeout: float) -> Iterator[JsonObject]:
        """Yield the JSON objects of a response, one a line, until the server ends it. Raises KubernetesError.

        `read_timeout`: maximum seconds without data.
        """
        with self._request(path, query, read_timeout, abortable=True) as response:
            while line := response.readline(MAX_LINE_BYTES + 1):
                if len(line) > MAX_LINE_BYTES:
                    raise ResponseTooLarge(f"a line of the watch of {path} exceeds {MAX_LINE_BYTES} bytes")
                if not line.isspace():
                    yield _parse_object(line, f"a line of {self.url}")

    def abort_watch(self) -> None:
        """Abort the current watch, from another thread: its reader gets end of file at once."""
        connected = self._watch_socket
        if connected is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)  # below TLS, which belongs to the reader

    @contextlib.contextmanager
    def _request(
        self, path: str, query: Query, read_timeout: float, *, abortable: bool = False
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request; yield the response. Errors of the connection become Unreachable."""
        headers = {"Accept": "application/json", "User-Agent": f"crisp/{__version__}", "Connection": "close"}
        if authorization := self._access.authorization():
            if not (authorization.isascii() and authorization.isprintable()):  # http.client's error would show it
                raise KubernetesError(f"the token for {self.url} has characters that no HTTP header may have")
            headers["Authorization"] = authorization
        connection = self._access.open(CONNECT_TIMEOUT_SECONDS)
        try:
            connection.connect()
            connected: socket.socket = connection.sock
            connected.settimeout(read_timeout)
            if abortable:  # from here on: the server may be silent before its first byte
                self._watch_socket = connected
            target = self._access.base_path + path + (f"?{urlencode(query)}" if query else "")
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            if response.status != 200:
                raise _read_error(response)
            yield response
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unreachable(f"{self.url}: {describe_error(error)}") from error
        finally:
            if abortable:
                self._watch_socket = None
            connection.close()


def _read_error(response: http.client.HTTPResponse) -> StatusError:
    """Return the exception for a response; the API's errors are JSON with a `message`."""
    body = response.read(MAX_ERROR_BYTES)
    try:
        message = str(orjson.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace").strip() or response.reason
    retry_after = response.headers.get("Retry-After", "")
    seconds = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
    return status_error(response.status, message[:MAX_MESSAGE_CHARACTERS], seconds)


def _parse_object(text: bytes, what: str) -> JsonObject:
    try:
        parsed = orjson.loads(text)
    except ValueError as error:
        raise KubernetesError(f"{what} is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise KubernetesError(f"{what} is not a JSON object")
    return parsed


def describe_error(error: Exception) -> str:
    """Return an error of a connection in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, http.client.IncompleteRead):
        return "the response ended early"
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return message or type(error).__name__
