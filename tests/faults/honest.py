"""Pods whose lines are numbered, so that each can be looked up. For the soak suite."""

import json
import re
import uuid
from pathlib import Path

from pipeline.demo.container_log import ContainerLog

ROTATE_BYTES = 256 * 1024
NUMBER = re.compile(r"n=(\d+):(\d+);")
"""The numbers of pod and line in a message."""


class HonestPods:
    """Writes numbered lines: text, JSON, long lines in parts, stack traces. Rotated as by the kubelet."""

    def __init__(self, root: Path, uids: dict[str, str]) -> None:
        self._logs = [ContainerLog(root, "honest", name, uid, "app", ROTATE_BYTES) for name, uid in uids.items()]
        self.written = [0] * len(self._logs)
        self.last_trace = ""
        self._turn = 0

    def write(self) -> None:
        """Write the next line of the pod whose turn it is."""
        pod = self._turn % len(self._logs)
        self._turn += 1
        log, token = self._logs[pod], b"n=%d:%d;" % (pod, self.written[pod])
        self.written[pod] += 1
        if self._turn % 50 == 0:
            log.write("stderr", b"java.lang.IllegalStateException: order " + token)
            log.write("stderr", b"\tat com.example.shop.Order.close(Order.java:7)")
        elif self._turn % 61 == 0:
            log.write("stdout", token + b" long" * 8000)
        elif self._turn % 2:
            self.last_trace = uuid.uuid4().hex
            line = {"level": "info", "message": f"served {token.decode()}", "trace.id": self.last_trace}
            log.write("stdout", json.dumps(line).encode())
        else:
            log.write("stdout", b"INFO request " + token + b" served in 12 ms")
        log.rotate()

    def close(self) -> None:
        """Close the logs."""
        for log in self._logs:
            log.close()
