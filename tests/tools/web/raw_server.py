"""A server of bytes, for tests of what a well-behaved one would never send."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator


class Raw:
    """A server of bytes: reads a request, then does what the test says; counts and keeps what it has seen.

    Attributes:
        requests: what was asked, as it came.
        finished: set whenever a connection has ended.
    """

    def __init__(
        self, answer: Callable[[socket.socket], None], host: str, port: int, tls: ssl.SSLContext | None
    ) -> None:
        self._answer, self._tls = answer, tls
        self.listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.host, self.port = host, int(self.listener.getsockname()[1])
        self.requests: list[bytes] = []
        self.connections = 0
        self.finished = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections += 1
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):
                connection.settimeout(10)
                if self._tls is not None:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                asked = b""
                while b"\r\n\r\n" not in asked:
                    received = connection.recv(65536)
                    if not received:
                        return
                    asked += received
                self.requests.append(asked)
                self._answer(connection)
        finally:
            connection.close()
            self.finished.set()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


@contextlib.contextmanager
def raw(
    answer: Callable[[socket.socket], None] | bytes,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Raw]:
    server = Raw(
        (lambda connection: connection.sendall(answer)) if isinstance(answer, bytes) else answer, host, port, tls
    )
    try:
        yield server
    finally:
        server.close()


def response(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def until_closed(connection: socket.socket) -> None:
    """Wait until the other side hangs up."""
    while connection.recv(65536):
        pass
