"""The life of an instance: which state follows which, how long it takes, and what its machine does meanwhile.

Each command (run, stop, start, terminate) takes the next number of the machine's `command` counter and puts its
steps on the timeline; a step whose number is no longer the current one does nothing. So a terminate in the
middle of a boot simply wins.
"""

import logging
import time
from datetime import datetime, timezone

from moto.ec2.models.instances import InstanceState, StateReason

from . import catalogue, images
from .machines import Machine

log = logging.getLogger("sandbox")

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
# A container needs about this long from its start until sshd listens. It is started that much before the
# instance is called running, so that "running" and "sshd answers" come together.
HEAD_START = 0.4
# What a guest's init exits with when it wants to be started again.
REBOOT_EXIT_CODE = 64


def set_state(instance, name, code="", message=""):
    instance._state = InstanceState(name, CODES[name])
    instance.state_reason = StateReason(message, code) if code else StateReason()
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S GMT")
    instance._reason = f"User initiated ({now})" if code.startswith("Client.User") else ""


def _current(world, machine, command):
    return machine.command == command and world.machines.get(machine.instance_id) is machine


def _instance(world, machine):
    from moto.ec2 import ec2_backends
    return ec2_backends[machine.account][machine.region].get_instance_by_id(machine.instance_id)


def adopt(world, backend, instance, image, key, user_data):
    """A new instance of moto gets an address and a machine, and begins its life as pending."""
    fault = world.faults.take("SandboxBoot", backend.region_name, backend.account_id)
    machine = Machine(instance.id, backend.account_id, backend.region_name,
                      world.machines_kind.address(world.addresses),
                      catalogue.USER_NAMES[image.family], images.disk_of(world, image), key, user_data,
                      faulty=fault is not None)
    world.machines[instance.id] = machine
    set_state(instance, "pending")
    _set_address(instance, machine.address)
    begin(world, machine, prepare=True)
    return machine


def _set_address(instance, address):
    """The instance's one address, public and private. A template that refuses a public one gets none."""
    interface = instance.nics.get(0)
    if interface is None:
        return
    if interface.public_ip is not None or str(interface.public_ip_auto_assign).lower() == "true":
        interface.public_ip = address
    interface.private_ip_address = address
    interface.private_ip_addresses = [{"Primary": True, "PrivateIpAddress": address}]
    interface.public_ip_auto_assign = False


def begin(world, machine, prepare):
    """pending → running."""
    machine.command += 1
    deadline = time.monotonic() + world.timing["boot"]
    world.timeline.after(0, _prepare if prepare else _schedule_power_on, world, machine, machine.command, deadline)


def _prepare(world, machine, command, deadline):
    with machine.lock:
        if not _current(world, machine, command):
            return
        try:
            world.machines_kind.prepare(machine)
        except Exception as error:  # noqa: BLE001 - whatever it is, the user sees a machine that did not come up
            _fail(world, machine, command, error)
            return
    _schedule_power_on(world, machine, command, deadline)


def _schedule_power_on(world, machine, command, deadline):
    world.timeline.after(deadline - HEAD_START - time.monotonic(), _power_on, world, machine, command, deadline)


def _power_on(world, machine, command, deadline):
    with machine.lock:
        if not _current(world, machine, command):
            return
        try:
            world.machines_kind.power_on(machine)
        except Exception as error:  # noqa: BLE001
            _fail(world, machine, command, error)
            return
    world.timeline.after(deadline - time.monotonic(), _running, world, machine, command)


def _running(world, machine, command):
    with world.lock:
        if _current(world, machine, command):
            set_state(_instance(world, machine), "running")


def _fail(world, machine, command, error):
    """As EC2 does when a machine cannot be made: the instance goes from pending to terminated and says why."""
    log.error("%s: %s", machine.instance_id, error)
    with world.lock:
        if not _current(world, machine, command):
            return
    end(world, machine, 0, "Server.InternalError", f"Server.InternalError: {error}")


def stop(world, machine, seconds, code="Client.UserInitiatedShutdown", force=False):
    """running → stopping → stopped."""
    set_state(_instance(world, machine), "stopping", code, f"{code}: User initiated shutdown")
    machine.command += 1
    deadline = time.monotonic() + seconds
    world.timeline.after(0, _power_off, world, machine, machine.command, deadline, code, force)


def _power_off(world, machine, command, deadline, code, force):
    with machine.lock:
        if not _current(world, machine, command):
            return
        (world.machines_kind.kill if force else world.machines_kind.power_off)(machine)
    world.timeline.after(deadline - time.monotonic(), _stopped, world, machine, command, code)


def _stopped(world, machine, command, code):
    with world.lock:
        if _current(world, machine, command):
            set_state(_instance(world, machine), "stopped", code, f"{code}: User initiated shutdown")


def end(world, machine, seconds, code="Client.UserInitiatedShutdown", message=None):
    """any state → shutting-down → terminated."""
    message = message or f"{code}: User initiated shutdown"
    with world.lock:
        set_state(_instance(world, machine), "shutting-down", code, message)
        machine.command += 1
        command = machine.command
    world.timeline.after(0, _discard, world, machine, command, time.monotonic() + seconds, code, message)


def _discard(world, machine, command, deadline, code, message):
    with machine.lock:
        # No check of the command: nothing revives a machine that is shutting down.
        try:
            world.machines_kind.discard(machine)
        except Exception:  # noqa: BLE001
            log.exception("%s: its machine could not be removed", machine.instance_id)
    world.timeline.after(deadline - time.monotonic(), _terminated, world, machine, command, code, message)


def _terminated(world, machine, command, code, message):
    with world.lock:
        if not _current(world, machine, command):
            return
        instance = _instance(world, machine)
        # moto's own: volumes and interfaces that go with the instance.
        instance.terminate()
        instance.nics = {}
        set_state(instance, "terminated", code, message)
        world.addresses.give_back(machine.address)
        machine.address = None


def reboot(world, machine):
    world.timeline.after(0, _reboot, world, machine, machine.command)


def _reboot(world, machine, command):
    with machine.lock:
        if _current(world, machine, command):
            world.machines_kind.power_off(machine)
            world.machines_kind.power_on(machine)


def guest_ended(world, instance_id, exit_code):
    """A container ended: the guest powered off, or asked for a reboot, or we ended it ourselves."""
    machine = world.machines.get(instance_id)
    if machine is not None and not machine.end_expected:
        world.timeline.after(0, _guest_ended, world, machine, machine.command, exit_code)


def _guest_ended(world, machine, command, exit_code):
    with machine.lock:
        # The news of an end that a reboot caused may come when that reboot is over.
        if not _current(world, machine, command) or machine.end_expected or world.machines_kind.is_running(machine):
            return
        if exit_code == REBOOT_EXIT_CODE:
            world.machines_kind.power_on(machine)
            return
    with world.lock:
        instance = _instance(world, machine)
        if not _current(world, machine, command) or instance.state not in ("pending", "running"):
            return
        code = "Client.InstanceInitiatedShutdown"
        if instance.instance_initiated_shutdown_behavior == "terminate":
            end(world, machine, world.timing["terminate"], code, f"{code}: Instance initiated shutdown")
        else:
            stop(world, machine, world.timing["stop"], code)
