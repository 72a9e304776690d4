"""What the soak and the benchmarks share: the place of things, requests, waiting, a sandbox of one's own."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Any credentials will do for the sandbox.
AWS = {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox", "AWS_EC2_METADATA_DISABLED": "true"}
# tests/soak, tests/bench/run …
PROGRAM = os.path.relpath(os.path.realpath(sys.argv[0]), ROOT)
# No proxy of this machine gets to see what is asked on the loopback interface.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def say(text, clock=False):
    """`clock`: with the time of day, as the servers' logs have it."""
    print(f"{PROGRAM}: {time.strftime('%H:%M:%S ', time.gmtime()) if clock else ''}{text}", flush=True)


def die(text):
    sys.exit(f"{PROGRAM}: {text}")


def request(method, url, body=None, headers=None, timeout=60):
    """The status and the JSON of an answer. Raises OSError when there is none."""
    message = urllib.request.Request(url, body, headers or {}, method=method)
    try:
        with _OPENER.open(message, timeout=timeout) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        text = error.read()
        try:
            return error.code, json.loads(text)
        except ValueError:
            return error.code, {"detail": text.decode(errors="replace")}


def answers(url, timeout=5):
    """Whether a GET is answered with success, whatever the answer is."""
    try:
        with _OPENER.open(url, timeout=timeout) as answer:
            return answer.status < 400
    except OSError:
        return False


def wait_for(what, probe, limit, pause=0.05):
    """What the probe finds, at last. `limit` and `pause` are in seconds."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(pause)
    die(f"waited {limit} s for {what}")


def find_binary():
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    for profile in ("release", "debug"):
        path = os.path.join(target, profile, "ingot")
        if os.access(path, os.X_OK):
            return path
    die("no ingot program; run cargo build --release first")


def without_settings():
    """This environment, without what is configured in it for another server."""
    return {name: value for name, value in os.environ.items()
            if not name.startswith("INGOT_") and name not in ("AWS_PROFILE", "AWS_SESSION_TOKEN")}


class Sandbox:
    """An EC2 of one's own (deploy/sandbox) on a port, with its files in a folder."""

    def __init__(self, port, folder, nice=0):
        """`nice`: how much less of a busy processor it and its machines get than others do, 0 to 19."""
        self.url = f"http://127.0.0.1:{port}"
        # Its sshd and its Docker engine need root.
        root = [] if os.getuid() == 0 else ["sudo", "--preserve-env", "env", f"PATH={os.environ['PATH']}"]
        self._program = [*root, "nice", "-n", str(nice), os.path.join(ROOT, "deploy/sandbox/sandbox")]
        self._environment = {**os.environ, "INGOT_SANDBOX_PORT": str(port), "INGOT_SANDBOX_STATE": os.path.join(folder, "sandbox")}
        # Follows from the port; a value for somebody else's sandbox would collide with that one.
        self._environment.pop("INGOT_SANDBOX_SUBRANGE", None)

    def up(self, *arguments):
        self._run("up", *arguments, check=True)

    def down(self):
        self._run("down", check=False)

    def _run(self, *arguments, check):
        # A session of its own: an interrupt from the keyboard is for those who use it, and they stop it.
        subprocess.run([*self._program, *arguments], env=self._environment, stdin=subprocess.DEVNULL, check=check,
                       start_new_session=True)

    def control(self, method, path, body=None):
        """A request to its control API, which README.md there describes."""
        status, answer = request(method, f"{self.url}/_sandbox/{path}", None if body is None else json.dumps(body).encode())
        if status >= 400:
            die(f"{method} {path}: {status}: {answer}")
        return answer
