"""The local servers with security: TLS with their own certificate authority, SASL, users."""

import base64
import hashlib
import json
import secrets
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.local import elasticsearch
from pipeline.local.certificate_authority import CertificateAuthority
from pipeline.local.elasticsearch import Security
from pipeline.local.kafka import Listeners
from pipeline.local.process import ServerProcess, free_ports
from pipeline.local.stack import DEFAULT_VERSION, Stack

USER = "crisp"
SUPERUSER = "elastic"


class SecuredStack(Stack):
    """A stack whose Elasticsearch has TLS and users, and whose Kafka has listeners for SASL and TLS."""

    def __init__(self, directory: Path, version: str = DEFAULT_VERSION) -> None:
        super().__init__(directory, version)
        self.authority = CertificateAuthority(directory / "authority")
        self.password = secrets.token_urlsafe(12)
        sasl, tls = free_ports(2)
        self.listeners = self._listeners = Listeners(self.authority, USER, self.password, sasl, tls)
        self._security = Security(self.authority, self.password)
        self.authority.create()

    @property
    def es_url(self) -> str:
        """For `CRISP_ES_URLS`."""
        return f"https://127.0.0.1:{self.address.es_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The settings of crisp for these servers, as their superuser."""
        return {
            "CRISP_KAFKA_BROKERS": f"127.0.0.1:{self.listeners.sasl_port}",
            "CRISP_KAFKA_TLS": "true",
            "CRISP_KAFKA_CA_FILE": str(self.authority.certificate),
            "CRISP_KAFKA_SASL": "SCRAM-SHA-512",
            "CRISP_KAFKA_USER": USER,
            "CRISP_KAFKA_PASSWORD": self.password,
            "CRISP_ES_URLS": self.es_url,
            "CRISP_ES_CA_FILE": str(self.authority.certificate),
            "ES_USER": SUPERUSER,
            "ES_PASSWORD": self.password,
        }

    def start_elasticsearch(self, *options: str) -> ServerProcess:
        """Start the node, which reloads its files of users and roles within a second."""
        return super().start_elasticsearch("resource.reload.interval.high=1s", *options)

    def add_user(self, name: str, password: str, role: Mapping[str, Any]) -> None:
        """Add a user and a role of the same name to Elasticsearch's file realm; the node loads them within a second."""
        config = self._home("elasticsearch") / f"elasticsearch-{self.address.es_version}" / "config"
        digest = base64.b64encode(hashlib.sha1(password.encode(), usedforsecurity=False).digest()).decode()
        for file, line in (
            ("roles.yml", f"{name}: {json.dumps(role)}"),
            ("users", f"{name}:{{SHA}}{digest}"),
            ("users_roles", f"{name}:{name}"),
        ):
            with (config / file).open("a") as target:
                target.write(line + "\n")

    def wait_elasticsearch(self) -> None:
        """Return when the node accepts documents. Raises StackError."""
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        login = base64.b64encode(f"{SUPERUSER}:{self.password}".encode()).decode()
        headers = {"authorization": f"Basic {login}"}
        self.elasticsearch.wait(
            lambda: elasticsearch.is_healthy(self.es_url, headers, context), elasticsearch.START_SECONDS
        )
