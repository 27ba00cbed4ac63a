"""A way to a server that can go silent: connections stay open, and nothing comes through."""

import contextlib
import socket
import threading


class Link:
    """Passes bytes on to a port of this machine; `freeze` stops those connections that are open, not later ones."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._frozen = threading.Event()  # of the connections of now
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """From now on nothing comes through what is open."""
        self._frozen.set()
        self._frozen = threading.Event()

    def close(self) -> None:
        """Listen no more, and end what is open."""
        for held in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)
            held.close()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            try:
                there = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                here.close()
                continue
            self._open += [here, there]
            for source, target in ((here, there), (there, here)):
                threading.Thread(target=_pass, args=(source, target, self._frozen), daemon=True).start()


def _pass(source: socket.socket, target: socket.socket, frozen: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if not frozen.is_set():
                target.sendall(data)
    if not frozen.is_set():
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
