"""As much of RFC 6455 as a server's side of short messages needs, on the socket of a request."""

import base64
import hashlib
import socket
import struct
import threading

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MOST_BYTES = 1024 * 1024


class Closed(Exception):
    """The other end is gone, or speaks something else."""


class Websocket:
    def __init__(self, connection):
        self.connection = connection
        self._sending = threading.Lock()

    @classmethod
    def accept(cls, environ):
        """Answers the upgrade and takes the connection over; None when the request is none."""
        key = environ.get("HTTP_SEC_WEBSOCKET_KEY")
        connection = environ.get("werkzeug.socket")
        if not key or connection is None or environ.get("HTTP_UPGRADE", "").lower() != "websocket":
            return None
        answer = base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()
        connection.sendall(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            f"Sec-WebSocket-Accept: {answer}\r\n\r\n").encode())
        return cls(connection)

    def _read(self, count):
        found = b""
        while len(found) < count:
            try:
                more = self.connection.recv(count - len(found))
            except OSError as error:
                raise Closed(str(error)) from error
            if not more:
                raise Closed("the connection ended")
            found += more
        return found

    def receive(self):
        """The next message: its kind (TEXT or BINARY) and bytes. Answers pings."""
        message, kind = b"", None
        while True:
            first, second = self._read(2)
            length = second & 0x7F
            if length >= 126:
                length = int.from_bytes(self._read(2 if length == 126 else 8), "big")
            if length > MOST_BYTES or not second & 0x80:
                raise Closed("a frame is too long or not masked")
            mask = self._read(4)
            payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self._read(length)))
            code = first & 0x0F
            if code == CLOSE:
                raise Closed("closed")
            if code == PING:
                self.send(PONG, payload)
                continue
            if code == PONG:
                continue
            kind = kind or code
            message += payload
            if first & 0x80:
                return kind, message

    def hang_up(self):
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def send(self, kind, payload):
        length = len(payload)
        if length < 126:
            head = struct.pack(">BB", 0x80 | kind, length)
        elif length < 65536:
            head = struct.pack(">BBH", 0x80 | kind, 126, length)
        else:
            head = struct.pack(">BBQ", 0x80 | kind, 127, length)
        with self._sending:
            try:
                self.connection.sendall(head + payload)
            except OSError as error:
                raise Closed(str(error)) from error
