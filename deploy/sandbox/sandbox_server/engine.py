"""The few Docker Engine API calls the sandbox needs, over the engine's Unix socket.

Not the command-line client: each call of that costs a process and some 40 ms of CPU, which at forty instances
on two cores is longer than the builds themselves. Not a library either: this is one page.
"""

import http.client
import json
import os
import socket
import struct
from urllib.parse import quote, urlencode

SOCKET = "/var/run/docker.sock"


class EngineError(Exception):
    """The engine answered with an error; `status` is its HTTP status."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """A Docker engine. Safe for threads: every call has a connection of its own."""

    def __init__(self, path=None):
        host = os.environ.get("DOCKER_HOST", "")
        self.path = path or (host[len("unix://"):] if host.startswith("unix://") else SOCKET)

    def _request(self, method, path, query=None, body=None, timeout=120):
        connection = _UnixConnection(self.path, timeout)
        if query:
            path += "?" + urlencode({k: json.dumps(v) if isinstance(v, dict) else v for k, v in query.items()})
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        return connection, connection.getresponse()

    def call(self, method, path, query=None, body=None, timeout=120, raw=False):
        connection, response = self._request(method, path, query, body, timeout)
        try:
            data = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            try:
                message = json.loads(data)["message"]
            except (ValueError, KeyError):
                message = data.decode(errors="replace")
            raise EngineError(response.status, message)
        if raw:
            return data
        return json.loads(data) if data and response.status != 204 else None

    def create(self, name, configuration):
        return self.call("POST", "/containers/create", {"name": name}, configuration)["Id"]

    def start(self, container):
        self.call("POST", f"/containers/{container}/start")

    def stop(self, container, seconds):
        """SIGTERM, then SIGKILL after `seconds`. A container that is stopped already is no error (304)."""
        self.call("POST", f"/containers/{container}/stop", {"t": seconds})

    def kill(self, container):
        self.call("POST", f"/containers/{container}/kill")

    def remove(self, container):
        """Removes it, running or not; one that is gone already is no error."""
        try:
            self.call("DELETE", f"/containers/{container}", {"force": "true", "v": "true"})
        except EngineError as error:
            # 409: another removal of the same container is under way.
            if error.status not in (404, 409):
                raise

    def is_running(self, container):
        return self.call("GET", f"/containers/{container}/json")["State"]["Running"]

    def containers(self, label):
        return self.call("GET", "/containers/json", {"all": "true", "filters": {"label": [label]}})

    def images(self, label):
        return self.call("GET", "/images/json", {"all": "false", "filters": {"label": [label]}})

    def commit(self, container, repository, tag, labels, pause):
        changes = "\n".join(f"LABEL {key}={value}" for key, value in labels.items())
        query = {"container": container, "repo": repository, "tag": tag, "pause": "1" if pause else "0",
                 "changes": changes}
        return self.call("POST", "/commit", query, {})["Id"]

    def tag(self, image, repository, tag):
        self.call("POST", f"/images/{quote(image, safe='')}/tag", {"repo": repository, "tag": tag})

    def remove_image(self, image, force=False):
        """False when a container still uses it; one that is gone already is no error."""
        try:
            self.call("DELETE", f"/images/{quote(image, safe='')}", {"force": "true" if force else "false"})
        except EngineError as error:
            if error.status == 409:
                return False
            if error.status != 404:
                raise
        return True

    def logs(self, container):
        data = self.call("GET", f"/containers/{container}/logs",
                         {"stdout": "1", "stderr": "1", "tail": "2000"}, raw=True)
        return b"".join(part for _, part in _demultiplex(data)).decode(errors="replace")

    def execute(self, container, command, timeout):
        """Runs `command` (a list) in the container and waits. Returns (exit code, stdout, stderr)."""
        body = {"AttachStdout": True, "AttachStderr": True, "Cmd": command}
        identity = self.call("POST", f"/containers/{container}/exec", body=body)["Id"]
        data = self.call("POST", f"/exec/{identity}/start", body={"Detach": False, "Tty": False},
                         timeout=timeout, raw=True)
        out = {1: b"", 2: b""}
        for stream, part in _demultiplex(data):
            out[2 if stream == 2 else 1] += part
        code = self.call("GET", f"/exec/{identity}/json")["ExitCode"]
        return code, out[1].decode(errors="replace"), out[2].decode(errors="replace")

    def events(self, label):
        """Yields (container id, labels, exit code) each time a container with `label` ends. Blocks; ends only
        when the engine goes away."""
        connection, response = self._request(
            "GET", "/events", {"filters": {"label": [label], "type": ["container"], "event": ["die"]}}, timeout=None)
        try:
            while True:
                line = response.readline()
                if not line:
                    return
                actor = json.loads(line)["Actor"]
                yield actor["ID"], actor["Attributes"], int(actor["Attributes"].get("exitCode", 0))
        finally:
            connection.close()


def _demultiplex(data):
    """The engine's framing of stdout and stderr in one stream: one byte stream, three of zero, four of length."""
    position = 0
    while position + 8 <= len(data):
        stream, length = struct.unpack(">BxxxL", data[position:position + 8])
        yield stream, data[position + 8:position + 8 + length]
        position += 8 + length
