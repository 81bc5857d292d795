"""A server that says whatever a test wants, byte by byte, after a proper login.

The devstack pageserver is well-behaved between its ordered faults; this one never is.
"""

import socket
import struct
import threading
from contextlib import suppress
from typing import Self

SSL_REQUEST = 80877103
COPY_BOTH = b"W" + struct.pack("!IBH", 7, 0, 0)


def message(kind: bytes, payload: bytes) -> bytes:
    """Return a protocol message."""
    return kind + struct.pack("!I", len(payload) + 4) + payload


def notice(text: bytes) -> bytes:
    """Return a NoticeResponse."""
    fields = (b"SNOTICE", b"VNOTICE", b"C00000", b"M" + text)
    return message(b"N", b"\0".join(fields) + b"\0\0")


def page_error(text: bytes) -> bytes:
    """Return an ERROR answer inside the stream, protocol version 2."""
    return message(b"d", bytes([103]) + text + b"\0")


class RawServer:
    """Logs everybody in, greets the pagestream query, and gives the same answer to each request.

    With *endless* what it says to that kind of message (b"Q" the query, b"d" a request) is
    followed by zeros without end.
    """

    def __init__(self, *, greeting: bytes = b"", answer: bytes = b"", endless: bytes = b"") -> None:
        self._greeting = greeting
        self._endless = endless
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def url(self) -> str:
        """Return the conninfo."""
        return f"host=127.0.0.1 port={self._socket.getsockname()[1]} user=u sslmode=disable"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as stream, suppress(OSError, struct.error):
            stream.read(struct.unpack("!I", stream.read(4))[0] - 4)
            client.sendall(message(b"R", struct.pack("!I", 0)) + message(b"Z", b"I"))
            while kind := stream.read(1):
                stream.read(struct.unpack("!I", stream.read(4))[0] - 4)
                client.sendall(self._greeting + COPY_BOTH if kind == b"Q" else self._answer)
                while kind == self._endless:
                    client.sendall(bytes(1 << 20))
