"""Every result of a request is a response; errors are described with the settings to check."""

from collections.abc import AsyncIterator

import pytest
from elastic_transport import TlsError

from pipeline.elasticsearch import requests
from pipeline.elasticsearch.requests import TIMED_OUT, UNREACHABLE, Response
from pipeline.errors import CrispError
from tests.pipeline.elasticsearch.scene import Scene
from tests.support import fake_elasticsearch


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    await scene.client.close()


@pytest.mark.parametrize(
    ("scripted", "status"),
    [
        (fake_elasticsearch.Response(200, {"a": 1}), 200),
        (fake_elasticsearch.Response(503, {"error": "no master"}), 503),
        (TimeoutError("late"), TIMED_OUT),
        (ConnectionRefusedError("refused"), UNREACHABLE),
        (ValueError("no such media type"), UNREACHABLE),
    ],
    ids=str,
)
async def test_result_of_a_request_is_a_response(
    scene: Scene, scripted: fake_elasticsearch.Response | Exception, status: int
) -> None:
    scene.elasticsearch.respond("GET", "/_cluster/health", scripted)

    response = await requests.request(scene.client, "GET", "/_cluster/health")

    assert response.status == status
    assert response.body


async def test_tls_error_names_the_settings_of_certificates(scene: Scene) -> None:
    scene.elasticsearch.respond("GET", "/", TlsError("self-signed certificate"))

    response = await requests.request(scene.client, "GET", "/")

    assert response.status == UNREACHABLE
    assert response.body.startswith("check CRISP_ES_CA_FILE and CRISP_ES_CA_FINGERPRINT: ")


async def test_body_is_sent_as_json(scene: Scene) -> None:
    await requests.request(scene.client, "POST", "/logs-*/_search", {"size": 1})

    assert scene.elasticsearch.requests[-1].body == b'{"size":1}'


async def test_body_of_a_successful_request_is_returned_and_any_other_response_is_an_error(scene: Scene) -> None:
    scene.elasticsearch.respond(
        "GET",
        "/a",
        fake_elasticsearch.Response(200, {"a": 1}),
        fake_elasticsearch.Response(403, {"error": "denied"}),
        ConnectionRefusedError("refused"),
    )

    assert await requests.request_ok(scene.client, "GET", "/a") == {"a": 1}
    with pytest.raises(
        CrispError, match=r"responds with status 403 \(check ES_USER and ES_PASSWORD, or CRISP_ES_API_KEY"
    ):
        await requests.request_ok(scene.client, "GET", "/a")
    with pytest.raises(CrispError, match="cannot connect to Elasticsearch: "):
        await requests.request_ok(scene.client, "GET", "/a")


@pytest.mark.parametrize(
    ("response", "description"),
    [
        (Response(503, {"error": "no master"}), 'status 503: {"error":"no master"}'),
        (Response(401, "no"), "status 401 (check ES_USER and ES_PASSWORD, or CRISP_ES_API_KEY): no"),
        (Response(UNREACHABLE, "refused"), "no answer: refused"),
        (Response(500, "x" * 1000), f"status 500: {'x' * requests.MAX_BODY_CHARACTERS}"),
    ],
)
def test_description_has_status_hint_and_the_start_of_the_body(response: Response, description: str) -> None:
    assert requests.describe(response) == description


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            "Cannot connect to host 127.0.0.1:2 ssl:default [Connect call failed ('127.0.0.1', 2)]",
            "no connection to 127.0.0.1:2: refused, or no route",
        ),
        (
            "Cannot connect to host es:9200 ssl:<ssl.SSLContext object at 0x7f> [Name or service not known]",
            "no connection to es:9200: Name or service not known",
        ),
        ("Server disconnected", "Server disconnected"),
    ],
)
def test_message_of_the_client_is_put_in_words(message: str, words: str) -> None:
    assert requests._in_words(message) == words
