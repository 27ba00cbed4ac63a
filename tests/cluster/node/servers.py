"""Kafka and Elasticsearch for the pods of a node: those of `crisp local`, on the node's address.

Runs in the node's network: `python -m tests.cluster.node.servers DIRECTORY`. Reads commands from its standard input,
`kill` or `start` and a server's name; writes a line when it is done. Ends, with both, at the end of the input.
"""

import sys
from pathlib import Path

from pipeline.local.stack import Stack
from tests.cluster.node.layout import ADDRESS, ELASTICSEARCH_PORT, KAFKA_PORT

_ANYWHERE = "http.host=0.0.0.0"


class Servers:
    """Both servers; each can be killed and started again with its data."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)
        self._stack = Stack(directory)
        self._stack.address.kafka_port, self._stack.address.es_port = KAFKA_PORT, ELASTICSEARCH_PORT

    def start(self) -> None:
        """Start both. Raises StackError."""
        self._stack.start_elasticsearch(_ANYWHERE)
        self._stack.start_kafka()
        self._stack.kafka.kill()  # it has written its properties: for this machine only
        properties = self._stack.directory / "kafka" / "server.properties"
        text = properties.read_text().replace("\nlisteners=PLAINTEXT://127.0.0.1", "\nlisteners=PLAINTEXT://0.0.0.0", 1)
        listener = "advertised.listeners=PLAINTEXT://"
        properties.write_text(text.replace(f"{listener}127.0.0.1", f"{listener}{ADDRESS}", 1))
        self._stack.start_kafka()
        self._stack.wait_kafka()
        self._stack.wait_elasticsearch()

    def kill(self, name: str) -> None:
        """Kill a server by SIGKILL."""
        (self._stack.kafka if name == "kafka" else self._stack.elasticsearch).kill()

    def restart(self, name: str) -> None:
        """Start a server that was killed. Raises StackError."""
        if name == "kafka":
            self._stack.start_kafka()
            self._stack.wait_kafka()
        else:
            self._stack.start_elasticsearch(_ANYWHERE)
            self._stack.wait_elasticsearch()

    def stop(self) -> None:
        """Stop both."""
        self._stack.stop()


def main(directory: Path) -> None:
    """Serve until the end of the input."""
    servers = Servers(directory)
    try:
        servers.start()
        print("ready", flush=True)
        for line in sys.stdin:
            action, name = line.split()
            {"kill": servers.kill, "start": servers.restart}[action](name)
            print(line.strip(), flush=True)
    finally:
        servers.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
