"""A Kafka with users, SASL and Kafka's authorizer, which denies every operation without an ACL."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

from pipeline.local import kafka
from pipeline.local.process import ServerProcess, free_ports

PASSWORD = "secret"  # noqa: S105 - of a broker for one test
TOPIC, GROUP = 2, 3
OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10}
_LITERAL, _ALLOW = 3, 3


def _properties(users: Sequence[str]) -> str:
    """The properties of the local broker, with SASL and the authorizer."""
    jaas = " ".join(f'user_{name}="{PASSWORD}"' for name in ("admin", *users))
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    text = kafka._PROPERTIES.replace("PLAINTEXT://127.0.0.1:{port}", "SASL_PLAINTEXT://127.0.0.1:{port}")
    text = text.replace("=PLAINTEXT:PLAINTEXT,", "=SASL_PLAINTEXT:SASL_PLAINTEXT,")
    return text + "\n".join(
        (
            "inter.broker.listener.name=SASL_PLAINTEXT",
            "sasl.enabled.mechanisms=PLAIN",
            "sasl.mechanism.inter.broker.protocol=PLAIN",
            f"listener.name.sasl_plaintext.plain.sasl.jaas.config={module} required "
            f'username="admin" password="{PASSWORD}" {jaas};',
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:admin;User:ANONYMOUS",
        )
    )


class Broker:
    """One broker; `process` is its current process."""

    def __init__(self, directory: Path, users: Sequence[str]) -> None:
        self._directory = directory
        self.port, self._controller = free_ports(2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kafka, "_PROPERTIES", _properties(users))
            self.process: ServerProcess = self.start()
        self.wait()

    def start(self) -> ServerProcess:
        """Start the broker; after a stop, with the same data and address."""
        self.process = kafka.start(self._directory, self.port, self._controller)
        return self.process

    def wait(self) -> None:
        """Return when the broker is ready."""
        kafka.wait(self.process, self.port)

    def environment(self, user: str) -> dict[str, str]:
        """The settings of crisp for one user."""
        return {
            "CRISP_KAFKA_BROKERS": f"127.0.0.1:{self.port}",
            "CRISP_KAFKA_SASL": "PLAIN",
            "CRISP_KAFKA_USER": user,
            "CRISP_KAFKA_PASSWORD": PASSWORD,
        }

    def connection(self, user: str) -> dict[str, Any]:
        """The arguments of an aiokafka client for one user."""
        return {
            "bootstrap_servers": f"127.0.0.1:{self.port}",
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": user,
            "sasl_plain_password": PASSWORD,
        }

    async def grant(self, user: str, kind: int, name: str, *operations: str) -> None:
        """Add ACLs for a user on a topic or group."""
        async with self.admin() as admin:
            for operation in operations:
                acl = (kind, name, _LITERAL, f"User:{user}", "*", OPERATIONS[operation], _ALLOW)
                response = await admin._send_to_controller(CreateAclsRequest(*acl))
                assert all(row[0] == 0 for row in response.creation_responses), response

    async def revoke(self, user: str, kind: int, name: str, operation: str) -> None:
        """Remove an ACL."""
        async with self.admin() as admin:
            acl = (kind, name, _LITERAL, f"User:{user}", "*", OPERATIONS[operation], _ALLOW)
            response = await admin._send_to_controller(DeleteAclsRequest(*acl))
            assert all(row[0] == 0 for row in response.filter_responses), response

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[Any]:
        """An admin client of the superuser."""
        client = AIOKafkaAdminClient(**self.connection("admin"))
        await client.start()
        try:
            yield client
        finally:
            await client.close()


@contextmanager
def temporary_broker(directory: Path, users: Sequence[str]) -> Iterator[Broker]:
    """A broker, stopped at the end."""
    broker = Broker(directory, users)
    try:
        yield broker
    finally:
        broker.process.kill()
