"""A throwaway PostgreSQL of a script's own: a cluster below /tmp, on a socket, run as the user postgres when root asks."""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import urllib.parse

from common import die


class Postgres:
    def __init__(self, settings=""):
        """`settings`: further options of the server, as `-c name=value`."""
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin") + glob.glob("/usr/pgsql-*/bin"))
        if not found:
            die("PostgreSQL is not installed")
        self._bin, self._folder = found[-1], tempfile.mkdtemp(prefix="ingot-postgres-", dir="/tmp")
        self._data = f"{self._folder}/data"
        self._user = []
        if os.getuid() == 0:
            postgres = pwd.getpwnam("postgres")
            os.chown(self._folder, postgres.pw_uid, postgres.pw_gid)
            self._user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self._options = f"-k {self._folder} -h '' {settings}"
        self.url = f"postgres://ingot@{urllib.parse.quote(self._folder, safe='')}/ingot"

    def start(self):
        self._run("initdb", "--username=ingot", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D", self._data)
        self.start_again()
        self._run("createdb", "-h", self._folder, "-U", "ingot", "ingot")

    def halt(self, mode):
        """Until `start_again`. `fast`: it ends its connections and stops; `immediate`: as in a crash."""
        self._pg_ctl("-w", "-m", mode, "stop")

    def start_again(self):
        self._pg_ctl("-w", "-o", self._options, "start")

    def stop(self):
        """Ends it and removes all of it. It need not run."""
        if os.path.exists(f"{self._data}/postmaster.pid"):
            if os.path.exists(f"/proc/{self._postmaster()}"):
                self.signal(signal.SIGCONT)
            self._run("pg_ctl", "-D", self._data, "-m", "immediate", "stop", check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def signal(self, number, only_postmaster=False):
        """To the postmaster and, unless told otherwise, to all processes that serve connections."""
        postmaster = self._postmaster()
        pids = [postmaster]
        if not only_postmaster:
            with open(f"/proc/{postmaster}/task/{postmaster}/children", encoding="ascii") as file:
                pids += [int(pid) for pid in file.read().split()]
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def sql(self, text, limit=60):
        """What psql prints: rows of fields with | between them. None when the server does not answer within `limit` seconds."""
        try:
            done = self._run("psql", "-h", self._folder, "-U", "ingot", "-d", "ingot", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text,
                             check=False, limit=limit)
        except subprocess.TimeoutExpired:
            return None
        # 2: no connection. A server that stops tells so to those it still answers.
        if done.returncode == 2 or "terminating connection" in done.stdout or "connection to server was lost" in done.stdout:
            return None
        if done.returncode:
            die(f"psql: {done.stdout}")
        return done.stdout.strip()

    def load(self, file, **variables):
        """Runs a file of SQL with psql's variables."""
        copy = shutil.copy(file, self._folder)
        os.chmod(copy, 0o644)
        settings = [part for name, value in variables.items() for part in ("-v", f"{name}={value}")]
        self._run("psql", "-h", self._folder, "-U", "ingot", "-d", "ingot", "-Xq", *settings, "-f", copy)

    def _postmaster(self):
        with open(f"{self._data}/postmaster.pid", encoding="utf-8") as file:
            return int(file.readline())

    def _pg_ctl(self, *arguments):
        self._run("pg_ctl", "-D", self._data, "-l", f"{self._folder}/log", *arguments)

    def _run(self, program, *arguments, check=True, limit=None):
        done = subprocess.run([*self._user, f"{self._bin}/{program}", *arguments], cwd="/", text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=limit, start_new_session=True)
        if check and done.returncode:
            die(f"{program}: {done.stdout}")
        return done
