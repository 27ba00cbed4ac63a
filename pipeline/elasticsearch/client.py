"""The Elasticsearch client, configured from the settings. It retries only on the next node if one is unreachable."""

import os
import ssl
import warnings
from typing import Any

import orjson
from elastic_transport import NdjsonSerializer, NodeConfig, OrjsonSerializer, SerializationError
from elastic_transport.client_utils import url_to_node_config
from elasticsearch import AsyncElasticsearch

from pipeline.config import secrets
from pipeline.config.settings import ElasticsearchSettings, env_name
from pipeline.elasticsearch import bulk_response
from pipeline.elasticsearch.nodes import certificate_pinning
from pipeline.elasticsearch.nodes.bounded_node import BoundedNode
from pipeline.errors import SettingsError

# The 8.x client sends the vendor media types; a server can respond with the plain ones.
_JSON_TYPES = ("application/json", "application/vnd.elasticsearch+json")
_NDJSON_TYPES = ("application/x-ndjson", "application/vnd.elasticsearch+x-ndjson")

_SPARE_CONNECTIONS = 4
_DEAD_NODE_SECONDS = 10.0


class PreparedNdjsonSerializer(NdjsonSerializer):
    """Passes a prepared bulk body through; the library's serializer would copy it twice."""

    def dumps(self, data: Any) -> bytes:
        """Return the body as bytes."""
        return data if isinstance(data, bytes) else super().dumps(data)


MAX_RESPONSE_VALUES = 1_000_000
"""Of one JSON response: a value takes up to 80 bytes of memory, but only two or three in the response."""


class BulkAwareSerializer(OrjsonSerializer):
    """Parses JSON, except the most common bulk response, which needs no parsing."""

    def loads(self, data: bytes) -> Any:
        """Parse a response. Raises SerializationError, with the response's beginning."""
        all_created = bulk_response.parse_all_created(data)
        if all_created is not None:
            return all_created
        if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_RESPONSE_VALUES:
            raise SerializationError(f"the response has more than {MAX_RESPONSE_VALUES:,} values: {data[:80]!r}")
        try:
            return orjson.loads(data)
        except ValueError as error:
            raise SerializationError(f"the response is not JSON: {data[:80]!r}", errors=(error,)) from error


def connect(settings: ElasticsearchSettings) -> AsyncElasticsearch:
    """Return a client that connects on its first request. Raises SettingsError for invalid settings."""
    configs = node_configs(settings)
    node_class: Any = certificate_pinning.PinnedNode if settings.es_ca_fingerprint else BoundedNode
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return AsyncElasticsearch(
            configs,
            **_credentials(settings),
            node_class=node_class,
            serializers={
                **dict.fromkeys(_JSON_TYPES, BulkAwareSerializer()),
                **dict.fromkeys(_NDJSON_TYPES, PreparedNdjsonSerializer()),
            },
            max_retries=len(configs) - 1,
            retry_on_timeout=False,
            retry_on_status=(),
            max_dead_node_backoff=_DEAD_NODE_SECONDS,
            meta_header=False,
        )


def _credentials(settings: ElasticsearchSettings) -> dict[str, Any]:
    if settings.es_api_key or settings.es_api_key_file:
        return {"api_key": secrets.es_api_key(settings).read()}
    if settings.es_user:
        return {"basic_auth": (settings.es_user, secrets.es_password(settings).read())}
    return {}


def reload(client: AsyncElasticsearch, settings: ElasticsearchSettings) -> None:
    """Reload the secrets and certificate authorities of a client for its later requests. Raises SettingsError."""
    if settings.es_ca_file and settings.es_verify:
        for node in client.transport.node_pool.all():
            if node.config.ssl_context is not None:
                _load_ca(node.config.ssl_context, settings.es_ca_file)
    client._headers = client.options(**_credentials(settings))._headers  # noqa: SLF001 - other objects hold this client


def node_configs(settings: ElasticsearchSettings) -> list[NodeConfig]:
    """Return one config per address in the settings. Raises SettingsError with every invalid address."""
    problems: list[str] = []
    configs: dict[str, NodeConfig] = {}
    for address in settings.es_urls:
        try:
            configs[address] = url_to_node_config(address, use_default_ports_for_scheme=True)
        except ValueError as error:
            problems.append(f"{env_name('es_urls')}: {address!r}: {error}")
    if not configs and not problems:
        problems.append(f"{env_name('es_urls')}: no address")
    if problems:
        raise SettingsError(problems)
    return [_configure(config, settings) for config in configs.values()]


def _configure(config: NodeConfig, settings: ElasticsearchSettings) -> NodeConfig:
    config = config.replace(
        request_timeout=settings.es_timeout_seconds,
        connections_per_node=settings.bulk_concurrency + _SPARE_CONNECTIONS,
        http_compress=False,
    )
    if config.scheme != "https":
        return config
    extras = {certificate_pinning.EXTRAS_KEY: _read_fingerprint(settings)} if settings.es_ca_fingerprint else {}
    return config.replace(ssl_context=_ssl_context(settings), verify_certs=settings.es_verify, _extras=extras)


def _ssl_context(settings: ElasticsearchSettings) -> ssl.SSLContext:
    if settings.es_verify and settings.es_ca_fingerprint:
        return certificate_pinning.make_context()
    context = ssl.create_default_context()
    if settings.es_ca_file:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _load_ca(context, settings.es_ca_file)
    if not settings.es_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _load_ca(context: ssl.SSLContext, path: str) -> None:
    try:
        location = {"capath": path} if os.path.isdir(path) else {"cafile": path}
        context.load_verify_locations(**location)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError([f"{env_name('es_ca_file')}: {path} cannot be read as PEM: {error}"]) from error


def _read_fingerprint(settings: ElasticsearchSettings) -> str:
    try:
        return certificate_pinning.normalize(settings.es_ca_fingerprint)
    except ValueError as error:
        raise SettingsError([f"{env_name('es_ca_fingerprint')}: {error}"]) from error
