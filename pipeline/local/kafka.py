"""A Kafka broker of one node (KRaft), as a child process."""

import base64
import os
import socket
import struct
import subprocess
import uuid
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import StackError
from pipeline.local import artifacts, java
from pipeline.local.certificate_authority import PASSWORD, CertificateAuthority
from pipeline.local.process import ServerProcess

START_SECONDS = 300.0  # a server that exits is reported at once; a loaded machine needs minutes
_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{extra_listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{extra_listeners}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
"""
_SECURED = """ssl.keystore.location={store}
ssl.keystore.type=PKCS12
ssl.keystore.password={secret}
ssl.key.password={secret}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config={plain} required user_{user}="{password}";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={scram} required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram} required;
"""
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
_LOGGING = """rootLogger.level=INFO
rootLogger.appenderRefs=stdout
rootLogger.appenderRef.stdout.ref=STDOUT
appender.console.type=Console
appender.console.name=STDOUT
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=[%d] %p %m (%c)%n
"""


class Listeners(NamedTuple):
    """Listeners in addition to the plain one: SASL over TLS for one user, and TLS alone."""

    authority: CertificateAuthority
    user: str
    password: str
    sasl_port: int
    tls_port: int

    @property
    def addresses(self) -> str:
        """The addresses in the form of Kafka's properties."""
        return f",SASL_SSL://127.0.0.1:{self.sasl_port},SSL://127.0.0.1:{self.tls_port}"

    @property
    def properties(self) -> str:
        """The broker's properties for these listeners."""
        values = {"store": self.authority.server_keystore, "secret": PASSWORD, "plain": _PLAIN, "scram": _SCRAM}
        return _SECURED.format(user=self.user, password=self.password, **values)

    @property
    def scram_options(self) -> list[str]:
        """Options of the storage tool: the metadata has SCRAM's users."""
        credentials = f"[name={self.user},password={self.password}]"
        return [part for kind in ("256", "512") for part in ("--add-scram", f"SCRAM-SHA-{kind}={credentials}")]


def start(
    directory: Path, port: int, controller: int, *, detached: bool = False, listeners: Listeners | None = None
) -> ServerProcess:
    """Start a broker with its data in the directory; `wait` returns when it is ready. Raises StackError."""
    runtime, jars = java.home(), artifacts.kafka()
    properties, logging = directory / "server.properties", directory / "log4j2.properties"
    command = [str(runtime / "bin" / "java"), "-cp", f"{jars}/*"]
    if not properties.exists():
        addresses = listeners.addresses if listeners else ""
        text = _PROPERTIES.format(port=port, controller=controller, data=directory / "data", extra_listeners=addresses)
        properties.write_text(text + (listeners.properties if listeners else ""))
        logging.write_text(_LOGGING)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = [*command, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(properties)]
        _format([*tool, *(listeners.scram_options if listeners else [])])
    options = ["-Xmx512m", "-XX:+UseG1GC", f"-Dlog4j2.configurationFile={logging}"]
    return ServerProcess(
        "kafka", [command[0], *options, *command[1:], "kafka.Kafka", str(properties)], directory, detached=detached
    )


def _format(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    if result.returncode:
        raise StackError(f"Kafka's storage cannot be formatted:\n{result.stdout}{result.stderr}")


def wait(server: ServerProcess, port: int) -> None:
    """Return when the broker is ready. Raises StackError."""
    server.wait(lambda: _is_serving(port), START_SECONDS)


def _is_serving(port: int) -> bool:
    """Whether the broker responds to an ApiVersions request."""
    request = struct.pack(">hhih", 18, 0, 1, -1)  # ApiVersions v0, no client id
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
            client.sendall(struct.pack(">i", len(request)) + request)
            return len(client.recv(8)) == 8
    except OSError:
        return False
