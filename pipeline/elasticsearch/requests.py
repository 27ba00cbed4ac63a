"""One attempt of a request to Elasticsearch: every result is a `Response`, also that no node responded.

No other module calls the client's `perform_request`. `retrying_client` retries; the operations report.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import orjson
from elastic_transport import ConnectionTimeout, TlsError, TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from pipeline.config.settings import env_name
from pipeline.contract.json_types import JsonObject
from pipeline.errors import CrispError, ResponseError

JSON = "application/vnd.elasticsearch+json; compatible-with=8"
NDJSON = "application/vnd.elasticsearch+x-ndjson; compatible-with=8"

UNREACHABLE = 0
"""Status of a request that no node answered."""
TIMED_OUT = -1
"""Status of a request that timed out."""
UNAUTHORIZED = (401, 403)
OVERLOADED = (429, 502, 503, 504)
"""The server, or a gateway before it, accepts no request for the moment."""

_NO_CONNECTION = re.compile(r"Cannot connect to host (\S+) ssl:(?:<[^>]*>|\S+) \[(.+)\]", re.DOTALL)
_CALL = re.compile(r"Connect call failed \([^)]*\)")

MAX_BODY_CHARACTERS = 500
"""Of a body in a message."""

CREDENTIALS_HINT = f"check {env_name('es_user')} and {env_name('es_password')}, or {env_name('es_api_key')}"


class Response(NamedTuple):
    """Status and parsed body; without a response a status of 0 or below, and the error's message."""

    status: int
    body: Any


async def request(
    client: AsyncElasticsearch,
    method: str,
    path: str,
    body: bytes | Mapping[str, Any] | None = None,
    content_type: str = JSON,
) -> Response:
    """Send a request once. Raises only exceptions that the client does not document."""
    headers = {"accept": JSON} if body is None else {"accept": JSON, "content-type": content_type}
    try:
        response = await client.perform_request(method, path, headers=headers, body=body)
    except ApiError as error:
        return Response(error.status_code, error.body)
    except ConnectionTimeout as error:
        return Response(TIMED_OUT, str(error))
    except TlsError as error:
        # Their `str` is the cause, which the library loses; the message is ours or that of TLS.
        settings = f"{env_name('es_ca_file')} and {env_name('es_ca_fingerprint')}"
        return Response(UNREACHABLE, f"check {settings}: {error.message}")
    except TransportError as error:
        return Response(UNREACHABLE, _in_words(error.message))
    except (OSError, ValueError) as error:
        return Response(UNREACHABLE, str(error))
    return Response(response.meta.status, response.body)


def _in_words(message: str) -> str:
    """Return the client's message about a connection without its notation."""
    match = _NO_CONNECTION.fullmatch(message)
    return f"no connection to {match[1]}: {_CALL.sub('refused, or no route', match[2])}" if match else message


async def request_ok(
    client: AsyncElasticsearch, method: str, path: str, body: bytes | Mapping[str, Any] | None = None
) -> Any:
    """Return the body of a response with status 200. Raises CrispError for any other."""
    response = await request(client, method, path, body)
    if response.status <= 0:
        raise CrispError(f"cannot connect to Elasticsearch: {response.body}")
    if response.status != 200:
        raise CrispError(f"Elasticsearch responds with {describe(response)}")
    return response.body


T = TypeVar("T", JsonObject, list[Any], str, int)


def read_member(body: Any, kind: type[T], *path: str) -> T:
    """Return the member of a response at a path of keys. Raises ResponseError if there is none of this type."""
    value = body
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        name = ".".join(path) or "body"
        raise ResponseError(
            f"the response is not Elasticsearch's: {name} is no {_JSON_NAMES[kind]}: {_shorten(body)};"
            f" check {env_name('es_urls')}"
        )
    return value


def read_hits(body: Any, *, with_source: bool = True) -> list[JsonObject]:
    """Return the hits of a search response. Raises ResponseError if it has another form."""
    hits = read_member(body, list, "hits", "hits")
    for hit in hits:
        read_member(hit, str, "_index")
        read_member(hit, str, "_id")
        if with_source:
            read_member(hit, dict, "_source")
    return hits


def read_buckets(body: Any, name: str) -> list[JsonObject]:
    """Return the buckets of an aggregation; there are none without any index. Raises ResponseError."""
    read_hits(body, with_source=False)
    if "aggregations" not in body and read_member(body, int, "_shards", "total") == 0:
        return []
    return read_member(body, list, "aggregations", name, "buckets")


def read_objects(body: Any) -> dict[str, JsonObject]:
    """Return a response of objects by name. Raises ResponseError if it has another form."""
    for name in read_member(body, dict):
        read_member(body[name], dict)
    return dict(body)


def require_own_form(response: Response) -> None:
    """Raise ResponseError for an error that is not in Elasticsearch's form: a gateway's, or another program's."""
    match response.body:
        case {"error": str() | {"type": str()}, "status": response.status}:
            return
        case {"error": str(message)} if message.startswith("no handler found for uri"):
            return  # of a feature that this distribution does not have
    if response.status > 0 and response.status != 200 and response.status not in UNAUTHORIZED:
        raise ResponseError(f"this is no response of Elasticsearch: {describe(response)}; check {env_name('es_urls')}")


def read_error_type(response: Response) -> str:
    """Return the type of an error in Elasticsearch's own form; empty for any other response.

    A gateway has errors of its own: its 404 does not mean that Elasticsearch has no such index.
    """
    match response.body:
        case {"error": {"type": str(error_type)}, "status": int(status)} if status == response.status:
            return error_type
    return ""


_JSON_NAMES = {dict: "object", list: "array", str: "string", int: "whole number"}


def _shorten(body: Any) -> str:
    text = body if isinstance(body, str) else orjson.dumps(body, default=str).decode()
    return text[:MAX_BODY_CHARACTERS]


def describe(response: Response) -> str:
    """Describe an error; name the settings to check if the credentials are invalid."""
    status, body = response
    hint = f" ({CREDENTIALS_HINT})" if status in UNAUTHORIZED else ""
    summary = f"status {status}" if status > 0 else "no answer"
    return f"{summary}{hint}: {_shorten(body)}"
