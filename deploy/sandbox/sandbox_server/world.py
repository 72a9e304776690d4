"""Everything the sandbox knows beside moto's own state, and the one lock over both."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from . import machines
from .addresses import Addresses
from .calls import Calls
from .faults import Faults
from .timeline import Timeline

# Seconds that a state change takes. Quick, because most users wait for their tests; the numbers of real EC2 are
# nearer to boot 15, stop 20, terminate 30, image 120, copy 180.
DEFAULT_TIMING = {"boot": 0.5, "stop": 0.3, "terminate": 0.3, "image": 0.5, "copy": 0.5}


@dataclass
class Settings:
    port: int
    state: str
    identifier: str
    subrange: int
    instances: str = "docker"
    ports: list = field(default_factory=lambda: [22, 80])
    base_version: str = ""
    timing: dict = field(default_factory=dict)


class World:
    def __init__(self, settings):
        self.settings = settings
        # moto is not made for threads, so every call to it, and every change of the fields below, holds this.
        # Calls to the engine never happen under it: they take a tenth of a second and more.
        self.lock = threading.RLock()
        self.timing = {**DEFAULT_TIMING, **settings.timing}
        self.machines_kind = machines.make(settings)
        self.base_disks = machines.base_disks(settings.base_version)
        self.addresses = Addresses(settings.subrange)
        self.timeline = Timeline(at_once=settings.instances != "docker")
        self.calls = Calls()
        self.faults = Faults()
        self.machines = {}          # instance id -> Machine
        self.images = OrderedDict()  # (region, image id) -> SandboxImage; those of users, not the base ones
        self.gone_images = set()    # ids of deregistered ones, which EC2 calls Unavailable rather than NotFound
        self.sessions = None        # the SessionManager, once there is one
        self.tokens = {}            # (action, account, region or zone, client token) -> (fingerprint, result)

    def reset(self):
        """Removes everything but base images, and forgets calls, faults and timing."""
        from moto.core.base_backend import BackendDict
        from moto.core.model_instances import reset_model_data

        with self.lock:
            self.timeline.clear()
            old = list(self.machines.values())
            for machine in old:
                machine.command += 1
                machine.end_expected = True
            self.machines.clear()
            self.images.clear()
            self.gone_images.clear()
            self.tokens.clear()
            BackendDict.reset()
            reset_model_data()
            self.timing = {**DEFAULT_TIMING, **self.settings.timing}
            self.calls.clear()
            self.faults.clear()
        if self.sessions is not None:
            self.sessions.clear()
        for machine in old:
            # Waits for a start that is under way, else its container would appear after the sweep.
            with machine.lock:
                self.machines_kind.discard(machine)
            self.addresses.give_back(machine.address)
        self.machines_kind.clear()
