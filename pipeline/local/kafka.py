"""A Kafka broker of one node (KRaft), as a child process."""

import base64
import os
import socket
import struct
import subprocess
import uuid
from pathlib import Path

from pipeline.errors import StackError
from pipeline.local import artifacts, java
from pipeline.local.process import ServerProcess

START_SECONDS = 60.0
_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
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
_LOGGING = """rootLogger.level=INFO
rootLogger.appenderRefs=stdout
rootLogger.appenderRef.stdout.ref=STDOUT
appender.console.type=Console
appender.console.name=STDOUT
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=[%d] %p %m (%c)%n
"""


def start(directory: Path, port: int, controller: int, *, detached: bool = False) -> ServerProcess:
    """Start a broker whose data live in the directory; `ready` tells when it serves. Raises StackError."""
    runtime, jars = java.home(), artifacts.kafka()
    properties, logging = directory / "server.properties", directory / "log4j2.properties"
    command = [str(runtime / "bin" / "java"), "-cp", f"{jars}/*"]
    if not properties.exists():
        properties.write_text(_PROPERTIES.format(port=port, controller=controller, data=directory / "data"))
        logging.write_text(_LOGGING)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        _format([*command, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(properties)])
    options = ["-Xmx512m", "-XX:+UseG1GC", f"-Dlog4j2.configurationFile={logging}"]
    return ServerProcess(
        "kafka", [command[0], *options, *command[1:], "kafka.Kafka", str(properties)], directory, detached=detached
    )


def _format(command: list[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    if ended.returncode:
        raise StackError(f"Kafka's storage cannot be formatted:\n{ended.stdout}{ended.stderr}")


def wait(server: ServerProcess, port: int) -> None:
    """Return when the broker serves. Raises StackError."""
    server.wait(lambda: _serves(port), START_SECONDS)


def _serves(port: int) -> bool:
    """Whether the broker answers the request that asks for the versions of its protocol."""
    request = struct.pack(">hhih", 18, 0, 1, -1)  # ApiVersions v0, no client id
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as opened:
            opened.sendall(struct.pack(">i", len(request)) + request)
            return len(opened.recv(8)) == 8
    except OSError:
        return False
