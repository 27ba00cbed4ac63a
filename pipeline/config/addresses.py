"""Problems of addresses in the settings: URLs, brokers, ports. Pure."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from pipeline.config.settings import Settings, env_name, strip_credentials

MAX_PORT = 65535
CLIENT_ADDRESS = re.compile(r"\('([^']*)', (\d+), <AddressFamily\.\w+: \d+>\)")
"""An address as aiokafka writes it in messages: host, port and the repr of the address family."""


def problems(settings: Settings) -> Iterator[str]:
    """Yield a problem for each address that no client could use."""
    for name, urls in (("es_urls", settings.es_urls), ("kibana_url", (settings.kibana_url,))):
        for url in filter(None, urls):
            problem = _url_problem(url)
            if problem:
                yield f"{env_name(name)}: {strip_credentials(url)!r} {problem}"
    for broker in settings.kafka_brokers:
        if not _is_broker(broker):
            yield f"{env_name('kafka_brokers')}: {broker!r} is not host:port"
    for name, required in (("es_urls", settings.es_urls), ("kafka_brokers", settings.kafka_brokers)):
        if not required:
            yield f"{env_name(name)}: empty"


def _url_problem(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "has no valid host or port"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "is not http://HOST:PORT or https://HOST:PORT"
    return "has port 0" if port == 0 else ""


def _is_broker(broker: str) -> bool:
    host, _, port = broker.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    valid_host = bool(bare) and "/" not in host and ((":" in bare) == (host != bare))
    return valid_host and port.isascii() and port.isdecimal() and 0 < int(port) <= MAX_PORT
