"""Session Manager: the three API actions of sessions, and an imitation of the instance's agent behind a websocket.

Only the document AWS-StartSSHSession, whose session is one connection to a port of the instance. As with the real
agent: a handshake comes first, each message is acknowledged once, and the first that is not acknowledged is repeated.
"""

import hashlib
import json
import logging
import secrets
import socket
import struct
import threading
import time
import uuid

from werkzeug.wrappers import Response

from .websocket import BINARY, TEXT, Closed, Websocket

log = logging.getLogger("sandbox")
ACTIONS = ("StartSession", "ResumeSession", "TerminateSession")
PATH = "/v1/data-channel/"
DOCUMENT = "AWS-StartSSHSession"
AGENT_VERSION = "3.3.0.0"
# Header length, type, schema version, creation, number, flags, id, digest, payload type, payload length.
_HEAD = struct.Struct(">I32sIQqQ16s32sII")
_HEADER_LENGTH = _HEAD.size - 4
OUTPUT, HANDSHAKE_REQUEST, HANDSHAKE_RESPONSE, HANDSHAKE_COMPLETE, FLAG = 1, 5, 6, 7, 10
TERMINATE = 2
CHUNK = 1024


def encode(kind, number, payload_type, payload):
    identifier = uuid.uuid4().bytes
    return _HEAD.pack(_HEADER_LENGTH, kind.encode().ljust(32), 1, int(time.time() * 1000), number,
                      1 if number == 0 else 0, identifier[8:] + identifier[:8], hashlib.sha256(payload).digest(),
                      payload_type, len(payload)) + payload


def decode(message):
    """(type, number, id, payload type, payload), or a ValueError."""
    if len(message) < _HEAD.size:
        raise ValueError("too short")
    header, kind, _, _, number, _, identifier, digest, payload_type, length = _HEAD.unpack_from(message)
    payload = message[_HEAD.size:]
    if header != _HEADER_LENGTH or length != len(payload):
        raise ValueError("its lengths are wrong")
    if payload and hashlib.sha256(payload).digest() != digest:
        raise ValueError("its digest is wrong")
    return (kind.decode("ascii", "replace").strip(" \0"), number, uuid.UUID(bytes=identifier[8:] + identifier[:8]),
            payload_type, payload)


class Session:
    """One session, and its agent."""

    def __init__(self, identifier, instance_id, address, port):
        self.identifier, self.instance_id = identifier, instance_id
        self.address, self.port = address, port
        self.token = None
        self.over = False
        self.websocket = None
        self._lock = threading.RLock()
        self._machine = None
        self._next = 0
        self._unacknowledged = {}  # in the order of their numbers
        self._expected = 0
        self._early = {}

    def new_token(self):
        self.token = secrets.token_urlsafe(24)
        return self.token

    # ---- what goes to the client ----

    def _say(self, kind, number, payload_type, payload):
        message = encode(kind, number, payload_type, payload)
        self._send(message)
        return message

    def _send(self, message):
        websocket = self.websocket
        if websocket is None:
            return
        try:
            websocket.send(BINARY, message)
        except Closed:
            self.websocket = None

    def _stream(self, payload_type, payload):
        with self._lock:
            number, self._next = self._next, self._next + 1
            message = encode("output_stream_data", number, payload_type, payload)
            self._unacknowledged[number] = message
            self._send(message)

    def end(self, words=""):
        with self._lock:
            if self.over:
                return
            self.over = True
            text = json.dumps({"MessageType": "channel_closed", "SessionId": self.identifier, "Output": words})
            self._say("channel_closed", 0, 0, text.encode())
            if self._machine is not None:
                try:
                    self._machine.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _repeat(self):
        while not self.over:
            time.sleep(0.2)
            with self._lock:
                first = next(iter(self._unacknowledged.values()), None)
            if first:
                self._send(first)

    # ---- the machine ----

    def _connect(self):
        try:
            self._machine = socket.create_connection((self.address, self.port), timeout=5)
        except OSError as error:
            return self.end(f"----------ERROR-------\nUnable to connect to specified port: {error}\n")
        self._machine.settimeout(None)
        threading.Thread(target=self._read_machine, name=f"session {self.identifier}", daemon=True).start()

    def _read_machine(self):
        while not self.over:
            try:
                found = self._machine.recv(CHUNK)
            except OSError:
                found = b""
            if not found:
                # Its last words are to come before the end.
                deadline = time.monotonic() + 2
                while self._unacknowledged and time.monotonic() < deadline:
                    time.sleep(0.02)
                return self.end()
            # The agent is not faster than its client either: an SSH client takes what comes, at once.
            while len(self._unacknowledged) > 8000 and not self.over:
                time.sleep(0.02)
            self._stream(OUTPUT, found)

    # ---- what comes from the client ----

    def serve(self, websocket):
        """Until the websocket ends. The session outlives it."""
        first = self.websocket is None and self._next == 0
        self.websocket = websocket
        if first:
            action = {"ActionType": "SessionType", "ActionParameters": {
                "SessionType": "Port", "Properties": {"portNumber": str(self.port), "type": ""}}}
            request = {"AgentVersion": AGENT_VERSION, "RequestedClientActions": [action]}
            self._stream(HANDSHAKE_REQUEST, json.dumps(request).encode())
            threading.Thread(target=self._repeat, name=f"repeats of {self.identifier}", daemon=True).start()
        try:
            while not (self.over and self.websocket is None):
                kind, message = websocket.receive()
                if kind == BINARY:
                    self._hear(message)
        except (Closed, ValueError) as ended:
            log.info("session %s: the websocket ended: %s", self.identifier, ended)
        finally:
            if self.websocket is websocket:
                self.websocket = None

    def _hear(self, message):
        kind, number, identifier, payload_type, payload = decode(message)
        if kind == "acknowledge":
            with self._lock:
                self._unacknowledged.pop(json.loads(payload)["AcknowledgedMessageSequenceNumber"], None)
        elif kind == "input_stream_data" and number >= self._expected and not self.over:
            if payload_type == OUTPUT and self._machine is None:
                return
            words = {"AcknowledgedMessageType": kind, "AcknowledgedMessageId": str(identifier),
                     "AcknowledgedMessageSequenceNumber": number, "IsSequentialMessage": True}
            self._say("acknowledge", 0, 0, json.dumps(words).encode())
            self._early[number] = (payload_type, payload)
            while self._expected in self._early:
                self._input(*self._early.pop(self._expected))
                self._expected += 1

    def _input(self, payload_type, payload):
        if payload_type == HANDSHAKE_RESPONSE:
            actions = json.loads(payload)["ProcessedClientActions"]
            failed = [action for action in actions if action["ActionStatus"] != 1]
            if failed:
                return self.end(f"Encountered error while initiating handshake. {failed[0]['Error']}")
            self._stream(HANDSHAKE_COMPLETE, json.dumps({"HandshakeTimeToComplete": 1, "CustomerMessage": ""}).encode())
            self._connect()
        elif payload_type == OUTPUT:
            try:
                self._machine.sendall(payload)
            except OSError:
                self.end()
        elif payload_type == FLAG and struct.unpack(">I", payload) == (TERMINATE,):
            self.end()


class SessionManager:
    def __init__(self, world):
        self.world = world
        self.sessions = {}

    def clear(self):
        sessions, self.sessions = self.sessions, {}
        for session in sessions.values():
            session.end()

    def cut(self, instance_id):
        """Breaks the websockets of an instance's sessions; how many there were."""
        open_ones = [session.websocket for session in self.sessions.values()
                     if session.instance_id == instance_id and session.websocket is not None]
        for websocket in open_ones:
            websocket.hang_up()
        return len(open_ones)

    # ---- the API ----

    def answer(self, action, body, account, region, host):
        """The answer to one of ACTIONS: (HTTP status, body)."""
        if action == "StartSession":
            return self._start(body, account, region, host)
        session = self.sessions.get(body.get("SessionId"))
        if action == "TerminateSession":
            if session is not None:
                session.end("The session was terminated.")
                self.sessions.pop(session.identifier, None)
            return 200, {"SessionId": body.get("SessionId")}
        if session is None or session.over:
            return 400, {"__type": "DoesNotExistException", "message": f"no session {body.get('SessionId')}"}
        return 200, self._opened(session, host)

    def _start(self, body, account, region, host):
        target = body.get("Target", "")
        document = body.get("DocumentName")
        if document != DOCUMENT:
            return 400, {"__type": "InvalidDocument", "message": f"the sandbox has only {DOCUMENT}, not {document}"}
        port = int((body.get("Parameters", {}).get("portNumber") or ["22"])[0])
        with self.world.lock:
            machine = self.world.machines.get(target)
            if machine is None or not self._reports(machine, account, region):
                return 400, {"__type": "TargetNotConnected", "message": f"{target} is not connected."}
        session = Session(f"ingot-sandbox-{secrets.token_hex(8)}", target, machine.address, port)
        self.sessions[session.identifier] = session
        return 200, self._opened(session, host)

    @staticmethod
    def _reports(machine, account, region):
        """Whether the instance's agent has reported: it runs, and has a role to do it with."""
        from moto.ec2 import ec2_backends
        if (machine.account, machine.region) != (account, region):
            return False
        instance = ec2_backends[account][region].get_instance_by_id(machine.instance_id)
        return instance is not None and instance.state == "running" and bool(instance.iam_instance_profile)

    @staticmethod
    def _opened(session, host):
        return {"SessionId": session.identifier, "TokenValue": session.new_token(),
                "StreamUrl": f"ws://{host}{PATH}{session.identifier}?role=publish_subscribe"}

    # ---- the websocket ----

    def data_channel(self, environ, start_response):
        session = self.sessions.get(environ["PATH_INFO"][len(PATH):])
        websocket = Websocket.accept(environ) if session is not None else None
        if websocket is None:
            return Response("no such session\n", 404)(environ, start_response)
        try:
            kind, hello = websocket.receive()
            if kind == TEXT and secrets.compare_digest(json.loads(hello).get("TokenValue", ""), session.token or ""):
                session.token = None  # a token opens one websocket
                session.serve(websocket)
        except (Closed, ValueError) as wrong:
            log.info("session %s: no websocket: %s", session.identifier, wrong)
        websocket.hang_up()
        # The connection was taken over: nobody gets this answer.
        start_response("500 Taken over", [])
        return []
