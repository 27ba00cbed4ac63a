"""One attempt of a request to Elasticsearch: every result is a `Response`, also that no node responded.

No other module calls the client's `perform_request`. `retrying_client` retries; the operations report.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from elastic_transport import ConnectionTimeout, TlsError, TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from pipeline.config.settings import env_name
from pipeline.errors import CrispError

JSON = "application/vnd.elasticsearch+json; compatible-with=8"
NDJSON = "application/vnd.elasticsearch+x-ndjson; compatible-with=8"

UNREACHABLE = 0
"""Status of a request that no node answered."""
TIMED_OUT = -1
"""Status of a request that timed out."""
UNAUTHORIZED = (401, 403)

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


def describe(response: Response) -> str:
    """Describe an error; name the settings to check if the credentials are invalid."""
    status, body = response
    text = body if isinstance(body, str) else orjson.dumps(body, default=str).decode()
    hint = f" ({CREDENTIALS_HINT})" if status in UNAUTHORIZED else ""
    summary = f"status {status}" if status > 0 else "no answer"
    return f"{summary}{hint}: {text[:MAX_BODY_CHARACTERS]}"
