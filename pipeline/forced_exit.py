"""The end of a process that must stop and cannot: a client, a resolver or a disk that never answers."""

import logging
import os
import threading

log = logging.getLogger(__name__)


def schedule(seconds: float, code: int, message: str) -> threading.Timer:
    """Log `message` and exit with `code` in `seconds`, unless the process has ended or the timer was cancelled."""

    def force_exit() -> None:
        log.warning("%s", message)
        os._exit(code)

    timer = threading.Timer(seconds, force_exit)
    timer.daemon = True
    timer.start()
    return timer
