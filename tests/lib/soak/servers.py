"""The servers of the soak: several `ingot serve` on one database that are killed, stopped, frozen and started again."""

import os
import re
import secrets
import signal
import subprocess
import time

from common import AWS, answers, die, request, say, wait_for, without_settings

# A server that was told to stop has 30 s for its scripts and requests; what goes on after that hangs.
DRAIN_LIMIT = 120
START_LIMIT = 120
# As systemd and the like do: a server that ended by itself is started again so many seconds later.
RESTART_PAUSE = 2
# What a server ends with that finds no database at its start.
NO_DATABASE = 3
# Seconds after the database's return in which a server may still end with that.
EXCUSED = 10


class Server:
    """One of them, over all its lives. `state` is new, up, down, starting, stopping or frozen."""

    def __init__(self, number, binary, folder, environment):
        self.name = f"soak-{number}"
        self.state, self.url, self.hwm = "new", None, 0
        # When its present state has to be over; for `down`, when it starts again; for `frozen`, when it is thawed.
        self.until = 0.0
        # Starts that found no database.
        self.without_database = 0
        self._binary, self._folder, self._process, self._starts = binary, os.path.join(folder, self.name), None, 0
        os.makedirs(self._folder)
        self._environment = {**environment, "INGOT__SERVER__NAME": self.name, "INGOT__DATA_DIR": os.path.join(self._folder, "data")}

    def start(self):
        self._starts += 1
        self.url, self.state, self.until = None, "starting", time.monotonic() + START_LIMIT
        # Only from the main thread: the signal for the parent's death comes at the end of the thread that made the process.
        with open(self._file("stdout"), "wb") as output, open(self._file("stderr"), "wb") as log:
            self._process = subprocess.Popen(["setpriv", "--pdeathsig=KILL", "--", self._binary, "serve"], env=self._environment,
                                             stdin=subprocess.DEVNULL, stdout=output, stderr=log, start_new_session=True)

    def _file(self, name):
        return os.path.join(self._folder, f"{name}.{self._starts}")

    def logs(self):
        """The files of its own log, one for each life."""
        return [os.path.join(self._folder, f"stderr.{start}") for start in range(1, self._starts + 1)]

    def look(self, database_away):
        """Moves `state` on. Returns a fault, if there is one. `database_away`: whether it may end because of that."""
        now = time.monotonic()
        if self.state in ("up", "starting", "stopping"):
            self._note_memory()
            code = self._process.poll()
            if code is not None:
                told = self.state == "stopping" and code == 0
                excused = self.state == "starting" and code == NO_DATABASE and database_away
                fault = None if told or excused else f"{self.name} ended with {code} while {self.state}; see {self._file('stderr')}"
                if self.state != "stopping":
                    self.until = now + RESTART_PAUSE
                self.without_database += excused
                self.state = "down"
                return fault
        if self.state == "starting":
            if self._is_ready():
                self.state = "up"
            elif now > self.until:
                self.kill()
                return f"{self.name} was not ready after {START_LIMIT} s; see {self._file('stderr')}"
        elif self.state == "stopping" and now > self.drain_until:
            self.kill()
            return f"{self.name} did not stop within {DRAIN_LIMIT} s; see {self._file('stderr')}"
        elif self.state == "frozen" and now >= self.until:
            self.thaw()
        elif self.state == "down" and now >= self.until:
            self.start()
        return None

    def _is_ready(self):
        if self.url is None:
            with open(self._file("stdout"), encoding="utf-8", errors="replace") as file:
                found = re.search(r" is ready on (http://\S+): deployment", file.read())
            if not found:
                return False
            self.url = found[1]
        return answers(f"{self.url}/readyz", 2)

    def _note_memory(self):
        try:
            with open(f"/proc/{self._process.pid}/status", encoding="ascii", errors="replace") as file:
                found = re.search(r"VmHWM:\s+(\d+) kB", file.read())
        except OSError:
            return
        if found:
            self.hwm = max(self.hwm, int(found[1]) * 1024)

    def kill(self, pause=0.0):
        """`kill -9`; it starts again `pause` seconds later."""
        self._note_memory()
        self._process.kill()
        self._process.wait()
        self.state, self.until = "down", time.monotonic() + pause

    def drain(self, pause):
        """SIGTERM; it starts again `pause` seconds from now, or when it has stopped."""
        self._process.send_signal(signal.SIGTERM)
        self.state, self.until, self.drain_until = "stopping", time.monotonic() + pause, time.monotonic() + DRAIN_LIMIT

    def freeze(self, seconds):
        self._process.send_signal(signal.SIGSTOP)
        self.state, self.until = "frozen", time.monotonic() + seconds

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)
        self.state = "up"

    def end(self):
        """For good."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Servers:
    def __init__(self, count, binary, folder, database_url, ec2):
        self._token = "ingot_soak_" + secrets.token_hex(24)
        environment = {**without_settings(), **AWS, "INGOT__DATABASE__URL": database_url, "INGOT__DATABASE__MAX_CONNECTIONS": "20",
                       "INGOT__SERVER__LISTEN": "127.0.0.1:0", "INGOT__AWS__ENDPOINT_URL": ec2, "INGOT__AWS__REGION": "us-east-1",
                       "INGOT__AUTH__BOOTSTRAP_TOKEN": self._token, "INGOT__LOG__LEVEL": "info,ingot=debug"}
        self.all = [Server(1, binary, folder, environment)]
        # One key for all: a server takes only builds whose secrets it can read.
        environment["INGOT__SECRETS__KEY_FILE"] = os.path.join(folder, "soak-1", "data", "secret.key")
        self.all += [Server(number, binary, folder, environment) for number in range(2, count + 1)]
        self.faults, self.asked, self.unanswered, self._turn = [], 0, 0, 0
        self._excused_until = 0.0

    def start(self):
        # The first makes the schema and the key.
        for server in (self.all[:1], self.all[1:]):
            for one in server:
                one.start()
            wait_for("the servers", lambda: self.look() or all(one.state == "up" for one in server) or None, START_LIMIT)

    def database_is_away(self):
        self._excused_until = float("inf")

    def database_is_back(self):
        self._excused_until = time.monotonic() + EXCUSED

    def look(self):
        for server in self.all:
            fault = server.look(time.monotonic() < self._excused_until)
            if fault:
                say(f"FAULT: {fault}", clock=True)
                self.faults.append(fault)

    def up(self):
        return [server for server in self.all if server.state == "up"]

    def running(self):
        return [server for server in self.all if server.state in ("up", "starting", "stopping", "frozen")]

    def ask(self, method, path, body=None, tries=3, **headers):
        """Status and answer of the first server that gives one; None when none of so many does. What is sent twice must be
        harmless."""
        ready = self.up()
        for offset in range(min(tries, len(ready))):
            self.asked += 1
            server = ready[(self._turn + offset) % len(ready)]
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            try:
                status, answer = request(method, f"{server.url}/v1/{path}", body,
                                         {"Authorization": f"Bearer {self._token}", **names}, timeout=5)
            # HTTPException (half an answer) is none of OSError's children.
            except Exception:  # noqa: BLE001
                self.unanswered += 1
                continue
            if status < 500:
                self._turn += 1
                return status, answer
            self.unanswered += 1
            if status != 503:
                fault = f"{server.name}: {method} {path}: {status}: {answer}"
                say(f"FAULT: {fault}", clock=True)
                self.faults.append(fault)
        self._turn += 1
        return None

    def calm(self):
        """Everybody runs, nothing is frozen."""
        for server in self.all:
            if server.state in ("frozen", "down") and server.until > time.monotonic() + RESTART_PAUSE:
                server.until = 0.0

    def end(self):
        for server in self.all:
            server.end()

    def max_rss(self):
        return max(server.hwm for server in self.all)
