"""A sandbox of the tests' own, and a clean one for each test."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.config import Config

HERE = os.path.dirname(os.path.abspath(__file__))
PORT = int(os.environ.get("INGOT_SANDBOX_TEST_PORT", "5599"))
URL = f"http://127.0.0.1:{PORT}"
WAIT_SECONDS = 60


class Sandbox:
    def __init__(self, state):
        self.state = state
        self.environment = {**os.environ, "INGOT_SANDBOX_PORT": str(PORT), "INGOT_SANDBOX_STATE": state}
        self.key = os.path.join(state, "test-key")

    def script(self, *arguments):
        return subprocess.run([os.path.join(HERE, "sandbox"), *arguments], env=self.environment, check=True,
                              capture_output=True, text=True)

    def control(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{URL}/_sandbox/{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def client(self, service="ec2", region="us-east-1", key="AKIATEST", secret="x", token=None):
        return boto3.client(service, endpoint_url=URL, region_name=region, aws_access_key_id=key,
                            aws_secret_access_key=secret, aws_session_token=token,
                            config=Config(retries={"total_max_attempts": 1}, read_timeout=60))

    def ssh(self, address, command, user="ubuntu"):
        """Runs a command, retrying the connection: an instance is running a moment before its sshd answers."""
        arguments = ["ssh", "-i", self.key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                     "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", f"{user}@{address}", command]
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            done = subprocess.run(arguments, capture_output=True, text=True)
            if done.returncode != 255 or time.monotonic() > deadline:
                return done
            time.sleep(0.1)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory):
    box = Sandbox(str(tmp_path_factory.mktemp("sandbox")))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", box.key], check=True)
    box.script("up")
    yield box
    label = "label=ingot.sandbox=" + box.control("GET", "health")["sandbox"]
    found = subprocess.run(["docker", "ps", "-aq", "--filter", label], capture_output=True, text=True).stdout
    box.script("down")
    assert found == "", "reset left containers"
    with pytest.raises(urllib.error.URLError):
        box.control("GET", "health")


@pytest.fixture(autouse=True)
def clean(sandbox):
    """Each test starts with nothing, and what it leaves is removed."""
    sandbox.control("POST", "reset")
    yield
    sandbox.control("POST", "reset")
    assert sandbox.control("GET", "leftovers")["total"] == 0


@pytest.fixture
def ec2(sandbox):
    return sandbox.client()
