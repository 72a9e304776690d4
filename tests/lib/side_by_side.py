"""Ingot and Packer carry out the same builds against the same sandbox, and are looked at meanwhile."""

import os
import re
import secrets
import signal
import subprocess
import threading
import time

from common import AWS, answers, die, request, wait_for, without_settings

# The template of the fixtures' seed-000, with `true` for its package commands and with the newest of several images.
_SOURCE = """
source "amazon-ebs" "ubuntu%(suffix)s" {
  ami_name      = "%(name)s-{{timestamp}}"
  instance_type = "t3.micro"
  region        = "us-east-1"
  source_ami_filter {
    filters = {
      name                = "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    owners      = ["099720109477"]
    most_recent = true
  }
  ssh_username = "ubuntu"
  tags = {
    "OS"    = "Ubuntu",
    "Ver"   = "22.04",
    "Build" = "{{timestamp}}"
  }
%(more)s}
"""
_BUILD = """
build {
  sources = [%s]

  provisioner "shell" {
    inline = ["true", "true", "true", "true", "echo 'Hello from Packer build {{timestamp}}'"]
  }
}
"""
# What Packer needs to talk to the sandbox, and nothing else.
_FOR_PACKER = """  custom_endpoint_ec2     = "%s"
  skip_region_validation  = true
  skip_metadata_api_check = true
"""


def template(name, builds=1, more=""):
    suffixes = [""] if builds == 1 else [f"{number:03}" for number in range(1, builds + 1)]
    sources = [_SOURCE % {"suffix": suffix, "name": f"{name}{suffix}", "more": more} for suffix in suffixes]
    names = ", ".join(f'"source.amazon-ebs.ubuntu{suffix}"' for suffix in suffixes)
    return "".join(sources) + _BUILD % names


class Family:
    """A process and its descendants, looked at ten times a second: the most there were, and their memory."""

    def __init__(self, pid):
        self.pid, self.processes, self.rss, self.beside = pid, 0, 0, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *ignored):
        self._over.set()
        self._thread.join()

    def _watch(self):
        while not self._over.wait(0.1):
            processes, rss, beside = self._look()
            self.processes, self.rss, self.beside = max(self.processes, processes), max(self.rss, rss), max(self.beside, beside)

    def _look(self):
        children, about = {}, {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    name, rest = re.match(r"\d+ \((.*)\) (.*)", file.read(), re.S).groups()
                fields = rest.split()
            except (OSError, AttributeError):
                continue
            # Fields 4 (parent) and 24 (resident pages) of proc(5).
            children.setdefault(int(fields[1]), []).append(int(entry))
            about[int(entry)] = name, int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        found, todo = [], [self.pid]
        while todo:
            pid = todo.pop()
            if pid in about:
                found.append(about[pid])
                todo.extend(children.get(pid, []))
        # The server's private database is not the server; it is told apart.
        own = [rss for name, rss in found if not name.startswith("postgres")]
        return len(own), sum(own), len(found) - len(own)


class Ingot:
    """A server with a private database. `limit`: seconds that builds may take."""

    name = "Ingot"

    def __init__(self, binary, folder, ec2, listen, limit, max_builds=64):
        self._listen, self._limit, self._token = listen, limit, secrets.token_hex(32)
        self._command, self._log_path = [binary, "serve"], os.path.join(folder, "ingot.log")
        self._environment = {**without_settings(), **AWS, "INGOT__SERVER__LISTEN": listen, "INGOT__AWS__ENDPOINT_URL": ec2,
                             "INGOT__DATA_DIR": os.path.join(folder, "data"), "INGOT__AWS__REGION": "us-east-1",
                             # EC2's limits are not the sandbox's; the peer keeps none either.
                             "INGOT__AWS__DESCRIBE_RATE": "1000/s", "INGOT__AWS__CHANGE_RATE": "1000/s",
                             "INGOT__AWS__LAUNCH_RATE": "1000/s", "INGOT__AWS__LAUNCH_BURST": "1000",
                             "INGOT__AUTH__BOOTSTRAP_TOKEN": self._token, "INGOT__WORKERS__MAX_BUILDS": str(max_builds)}
        self._process = None

    def start(self):
        with open(self._log_path, "ab") as log:
            self._process = subprocess.Popen(self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log,
                                             stderr=subprocess.STDOUT)
        wait_for("the server", self._ready, self._limit)

    def _ready(self):
        if self._process.poll() is not None:
            die(f"the server ended; see {self._log_path}")
        return answers(f"http://{self._listen}/readyz")

    def _ask(self, method, path, body=None, **headers):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        status, answer = request(method, f"http://{self._listen}/v1/{path}", body, {"Authorization": f"Bearer {self._token}", **names})
        if status >= 400:
            die(f"{method} {path}: {status}: {answer}")
        return answer

    def build(self, builds, clean):
        """Seconds from the POST until the run has succeeded, and the server meanwhile."""
        text = template("bench-ingot", builds).encode()
        with Family(self._process.pid) as family:
            began = time.monotonic()
            run = self._ask("POST", f"runs?name=bench&clean_image={'true' if clean else 'false'}", text, Content_Type="application/hcl")
            # An answer that tells of hundreds of builds is work; asking without a pause would be part of what is measured.
            over = wait_for("the run", lambda: self._over(run["id"]), self._limit, pause=0.05 + builds / 1000)
            took = time.monotonic() - began
        if over["state"] != "succeeded":
            die(f"the run {over['state']}: {[build['error'] for build in over['builds'] if build['error']][:3]}")
        # Its clean-up goes on after the commit; what is measured next must not meet it.
        wait_for("the clean-up", lambda: all(build["cleanup"] == "done" for build in self._ask("GET", f"runs/{run['id']}")["builds"]),
                 self._limit)
        return took, family

    def _over(self, run):
        run = self._ask("GET", f"runs/{run}")
        return run if run["state"] in ("succeeded", "failed", "cancelled", "stuck") else None

    def stop(self):
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class Packer:
    """The `packer` on the PATH: a process for all builds, and what that starts."""

    def __init__(self, folder, ec2, limit):
        self._folder, self._more, self._limit, self._process = folder, _FOR_PACKER % ec2, limit, None
        version = subprocess.run(["packer", "version"], capture_output=True, text=True, check=True,
                                 env={**os.environ, "CHECKPOINT_DISABLE": "1"}).stdout
        self.name = re.search(r"Packer v\S+", version)[0]

    def start(self):
        """There is nothing to start before a build."""

    def build(self, builds, clean):
        """Seconds from the start of the process to its exit. Packer cleans no image."""
        path = os.path.join(self._folder, "bench.pkr.hcl")
        with open(path, "w", encoding="utf-8") as file:
            file.write(template("bench-packer", builds, self._more))
        log = os.path.join(self._folder, "packer.log")
        environment = {**os.environ, **AWS, "CHECKPOINT_DISABLE": "1", "PACKER_CACHE_DIR": os.path.join(self._folder, "cache")}
        with open(log, "wb") as output:
            began = time.monotonic()
            self._process = subprocess.Popen(["packer", "build", "-color=false", path], env=environment, stdin=subprocess.DEVNULL,
                                             stdout=output, stderr=subprocess.STDOUT)
            with Family(self._process.pid) as family:
                try:
                    code = self._process.wait(self._limit)
                except subprocess.TimeoutExpired:
                    die(f"packer took longer than {self._limit} s")
            took = time.monotonic() - began
        if code != 0:
            with open(log, encoding="utf-8", errors="replace") as file:
                die("packer failed:\n" + "".join(file.readlines()[-15:]))
        return took, family

    def stop(self):
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


def noticed(sandbox):
    """For each image that is there: seconds from the end of its making to the end of the first answer that could tell of it."""
    answered = {}
    for call in sandbox.control("GET", "calls?action=DescribeImages")["calls"]:
        for value in call["parameters"].values():
            answered.setdefault(value, []).append(call["time"] + call["seconds"])
    waits = []
    for image in sandbox.control("GET", "leftovers")["images"]:
        # A call's time is rounded to a millisecond.
        later = [end - image["settled_at"] for end in answered.get(image["id"], []) if end >= image["settled_at"] - 0.001]
        if later:
            waits.append(max(0.0, min(later)))
    return waits
