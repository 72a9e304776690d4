"""What stands behind an instance: a container, a shared sshd, or nothing. One interface for the three:

prepare(machine)            make it, without starting it
power_on(machine)           start it
power_off(machine)          shut it down, keep its disk
discard(machine)            remove it, disk and all
capture(machine, image_id)  its disk as an image; returns a reference for `Machine.disk`
share(disk, image_id)       one more name for an image's disk (a copied AMI)
forget(image_id)            that name is no longer needed
"""

import os
import shutil
import threading

from .engine import Engine, EngineError

LABEL = "ingot.sandbox"
INSTANCE_LABEL = "ingot.sandbox.instance"


class Machine:
    """The machine of one instance."""

    def __init__(self, instance_id, account, region, address, user_name, disk, key, user_data, faulty=False):
        self.instance_id = instance_id
        self.account = account
        self.region = region
        self.address = address
        self.user_name = user_name
        self.disk = disk
        self.authorized_key = key
        self.user_data = user_data
        # Comes up without an SSH server, as an image with a broken network configuration does.
        self.faulty = faulty
        self.container = None
        self.last_console = ""
        # Held during calls to the engine, so that stop waits for a start that is under way.
        self.lock = threading.RLock()
        # Counts the commands; a task of an earlier command finds another number and does nothing.
        self.command = 0
        # True while we end it ourselves: its end is then no news.
        self.end_expected = False


class NoMachines:
    """--instances=none: the API alone. Nothing answers on port 22."""

    def __init__(self, settings):
        self.settings = settings

    def address(self, addresses):
        return addresses.take()

    def prepare(self, machine): pass
    def power_on(self, machine): pass
    def power_off(self, machine): pass
    def kill(self, machine): pass
    def discard(self, machine): pass
    def capture(self, machine, image_id): return machine.disk
    def share(self, disk, image_id): return disk
    def forget(self, image_id): pass
    def is_running(self, machine): return True
    def clear(self): pass
    def watch(self, ended): pass
    def inventory(self): return {"containers": [], "container_images": []}

    def console(self, machine):
        return f"Ingot sandbox: no console, started with --instances={self.settings.instances}\n"

    def execute(self, machine, command, timeout):
        raise EngineError(501, f"no containers: started with --instances={self.settings.instances}")


class DockerMachines(NoMachines):
    """A container an instance, an image an AMI."""

    def __init__(self, settings):
        super().__init__(settings)
        self.engine = Engine()
        self.repository = f"ingot-sandbox-{settings.identifier}"
        self.seeds = os.path.join(settings.state, "instances")
        self.label = f"{LABEL}={settings.identifier}"
        self.apt_configuration = os.path.join(settings.state, "apt.conf")
        # Images that were to be forgotten while a machine still ran from them; they go with that machine.
        self.still_used = set()

    def _seed(self, machine):
        """Per-machine data, mounted read-only and thus never part of an image."""
        folder = os.path.join(self.seeds, machine.instance_id)
        os.makedirs(folder, exist_ok=True)
        contents = {"instance-id": machine.instance_id.encode(), "user-name": machine.user_name.encode(),
                    "authorized-key": (machine.authorized_key or "").strip().encode(),
                    "user-data": machine.user_data or b""}
        if machine.faulty:
            contents["faulty"] = b"1"
        for name, content in contents.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content)
        return folder

    def prepare(self, machine):
        binds = [f"{self._seed(machine)}:/run/ingot-sandbox:ro"]
        if os.path.exists(self.apt_configuration):
            binds.append(f"{self.apt_configuration}:/etc/apt/apt.conf.d/90ingot-sandbox:ro")
        ports = [f"{port}/tcp" for port in self.settings.ports]
        machine.container = self.engine.create(f"{self.repository}-{machine.instance_id}", {
            "Image": machine.disk,
            "Hostname": "ip-" + machine.address.replace(".", "-"),
            "Cmd": ["/sbin/sandbox-init"],
            "StopSignal": "SIGTERM",
            "ExposedPorts": {port: {} for port in ports},
            "Labels": {LABEL: self.settings.identifier, INSTANCE_LABEL: machine.instance_id},
            "HostConfig": {
                "Binds": binds,
                "PortBindings": {port: [{"HostIp": machine.address, "HostPort": port.split("/")[0]}]
                                 for port in ports},
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "2m", "max-file": "1"}},
            },
        })

    def power_on(self, machine):
        machine.end_expected = False
        self.engine.start(machine.container)

    def power_off(self, machine):
        machine.end_expected = True
        if machine.container:
            self.engine.stop(machine.container, 2)

    def kill(self, machine):
        machine.end_expected = True
        if machine.container:
            try:
                self.engine.kill(machine.container)
            except EngineError as error:
                if error.status not in (404, 409):
                    raise

    def discard(self, machine):
        machine.end_expected = True
        if machine.container:
            machine.last_console = self.console(machine)
            container, machine.container = machine.container, None
            self.engine.remove(container)
            for image_id in list(self.still_used):
                self.forget(image_id)
        shutil.rmtree(os.path.join(self.seeds, machine.instance_id), ignore_errors=True)

    def capture(self, machine, image_id):
        self.engine.commit(machine.container, self.repository, image_id,
                           {LABEL: self.settings.identifier, INSTANCE_LABEL: '""'}, pause=True)
        return f"{self.repository}:{image_id}"

    def share(self, disk, image_id):
        self.engine.tag(disk, self.repository, image_id)
        return f"{self.repository}:{image_id}"

    def forget(self, image_id):
        if self.engine.remove_image(f"{self.repository}:{image_id}"):
            self.still_used.discard(image_id)
        else:
            self.still_used.add(image_id)

    def is_running(self, machine):
        return machine.container is not None and self.engine.is_running(machine.container)

    def console(self, machine):
        if not machine.container:
            return machine.last_console
        try:
            return self.engine.logs(machine.container)
        except EngineError as error:
            return f"{machine.last_console}(no console: {error})\n"

    def execute(self, machine, command, timeout):
        if not machine.container:
            raise EngineError(409, "the instance has no machine (pending, or terminated)")
        return self.engine.execute(machine.container, command, timeout)

    def clear(self):
        for container in self.engine.containers(self.label):
            self.engine.remove(container["Id"])
        for _ in range(2):  # a parent can only go after its children
            for image in self.engine.images(self.label):
                for name in image["RepoTags"] or [image["Id"]]:
                    self.engine.remove_image(image["Id"] if name == "<none>:<none>" else name, force=True)
        self.still_used.clear()
        shutil.rmtree(self.seeds, ignore_errors=True)

    def watch(self, ended):
        """Calls `ended(instance_id, exit code)` when a container ends, for ever."""
        def follow():
            for _, labels, code in self.engine.events(self.label):
                if labels.get(INSTANCE_LABEL):
                    ended(labels[INSTANCE_LABEL], code)
        threading.Thread(target=follow, name="events", daemon=True).start()

    def inventory(self):
        containers = self.engine.containers(self.label)
        images = self.engine.images(self.label)
        return {"containers": [c["Names"][0].lstrip("/") for c in containers],
                "container_images": sorted({name for i in images for name in i["RepoTags"] or [i["Id"]]})}


class SharedSshd(NoMachines):
    """--instances=sshd, for benchmarks: all instances are one sshd (started by ./sandbox) that lets in every key
    of a living instance. Images hold nothing."""

    def __init__(self, settings):
        super().__init__(settings)
        self.file = os.path.join(settings.state, "sshd", "home", "authorized_keys")
        self._keys = {}
        self._lock = threading.Lock()

    def address(self, addresses):
        return addresses.prefix + "254"

    def power_on(self, machine):
        with self._lock:
            self._keys[machine.instance_id] = (machine.authorized_key or "").strip()
            self._write()

    def power_off(self, machine):
        with self._lock:
            self._keys.pop(machine.instance_id, None)
            self._write()

    kill = discard = power_off

    def clear(self):
        with self._lock:
            self._keys.clear()
            self._write()

    def _write(self):
        # A new file each time: sshd must never read a half-written one.
        temporary = self.file + ".new"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write("".join(key + "\n" for key in self._keys.values() if key))
        os.chmod(temporary, 0o644)
        os.replace(temporary, self.file)


def base_disks(base_version):
    """The container image of each family's base image."""
    return {family: f"ingot-sandbox/{family}:{base_version}" for family in ("ubuntu", "amazon", "debian")}


def make(settings):
    kinds = {"docker": DockerMachines, "sshd": SharedSshd, "none": NoMachines}
    return kinds[settings.instances](settings)
