"""A safekeeper that says where a log ends, and nothing else."""

import socket
import struct
import threading
from contextlib import suppress
from typing import Self


class Safekeeper:
    """Answers TIMELINE_STATUS with *flush* and *commit*; with no row where it has no *flush*.

    A silent one takes connections and says nothing.
    """

    def __init__(
        self, flush: str | None, commit: str | None = None, *, silent: bool = False
    ) -> None:
        self._row = None if flush is None else (flush, commit or flush)
        self._silent = silent
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.options = ""
        """Of the last session."""
        self.commands: list[str] = []

    @property
    def address(self) -> str:
        """Return ``host:port``."""
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as stream, suppress(OSError, struct.error):
            if self._silent:
                stream.read()
                return
            startup = stream.read(struct.unpack("!I", stream.read(4))[0] - 4)
            fields = startup[4:].decode().split("\0")
            self.options = dict(zip(fields[::2], fields[1::2], strict=False))["options"]
            client.sendall(_message(b"R", struct.pack("!I", 0)) + _message(b"Z", b"I"))
            while kind := stream.read(1):
                text = stream.read(struct.unpack("!I", stream.read(4))[0] - 4)
                if kind == b"Q":
                    self.commands.append(text.rstrip(b"\0").decode())
                    client.sendall(self._answer())

    def _answer(self) -> bytes:
        columns = (b"flush_lsn", b"commit_lsn")
        described = b"".join(
            name + b"\0" + struct.pack("!IHIhih", 0, 0, 25, -1, -1, 0) for name in columns
        )
        answer = _message(b"T", struct.pack("!H", len(columns)) + described)
        if self._row is not None:
            values = b"".join(struct.pack("!I", len(one)) + one.encode() for one in self._row)
            answer += _message(b"D", struct.pack("!H", len(self._row)) + values)
        return answer + _message(b"C", b"TIMELINE_STATUS\0") + _message(b"Z", b"I")


def _message(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("!I", len(payload) + 4) + payload
