"""The sandbox's own API, under /_sandbox/: JSON in, JSON out. README.md lists it."""

import json
import logging
import re

from werkzeug.wrappers import Request, Response

from . import leftovers, lifecycle
from .engine import EngineError

log = logging.getLogger("sandbox")


class _Missing(Exception):
    pass


class Control:
    def __init__(self, world):
        self.world = world
        self.routes = [
            ("GET", r"health", self.health),
            ("GET", r"timing", lambda request: self.world.timing),
            ("POST", r"timing", self.set_timing),
            ("GET", r"faults", lambda request: {"faults": self.world.faults.listing()}),
            ("POST", r"faults", self.add_fault),
            ("DELETE", r"faults", lambda request: self.world.faults.clear()),
            ("GET", r"calls", self.calls),
            ("DELETE", r"calls", lambda request: self.world.calls.clear()),
            ("GET", r"leftovers", lambda request: leftovers.collect(self.world)),
            ("GET", r"instances", self.instances),
            ("POST", r"instances/([\w-]+)/exec", self.execute),
            ("POST", r"instances/([\w-]+)/kill", self.kill),
            ("POST", r"instances/([\w-]+)/cut-sessions", self.cut_sessions),
            ("GET", r"instances/([\w-]+)/console", self.console),
            ("POST", r"reset", lambda request: self.world.reset()),
        ]

    def __call__(self, environ, start_response):
        request = Request(environ)
        path = request.path.removeprefix("/_sandbox").strip("/")
        try:
            for method, pattern, handler in self.routes:
                found = re.fullmatch(pattern, path)
                if found and method == request.method:
                    response = _json(handler(request, *found.groups()) or {"ok": True})
                    break
            else:
                response = _json({"error": f"no {request.method} {request.path}", "known":
                                  [f"{method} /_sandbox/{pattern}" for method, pattern, _ in self.routes]}, 404)
        except _Missing as missing:
            response = _json({"error": str(missing)}, 404)
        except (ValueError, KeyError) as wrong:
            response = _json({"error": f"{type(wrong).__name__}: {wrong}"}, 400)
        except EngineError as failed:
            response = _json({"error": str(failed)}, failed.status if failed.status < 500 else 500)
        except Exception as unexpected:  # noqa: BLE001
            log.exception("control API")
            response = _json({"error": f"{type(unexpected).__name__}: {unexpected}"}, 500)
        return response(environ, start_response)

    def health(self, request):
        settings = self.world.settings
        return {"ok": True, "sandbox": settings.identifier, "instances": settings.instances,
                "addresses": self.world.addresses.prefix + "0/24", "ports": settings.ports,
                "timing": self.world.timing}

    def set_timing(self, request):
        wanted = {name: float(seconds) for name, seconds in _body(request).items()}
        unknown = set(wanted) - set(self.world.timing)
        if unknown or any(seconds < 0 for seconds in wanted.values()):
            raise ValueError(f"timing is seconds for {sorted(self.world.timing)}; not: {sorted(unknown) or wanted}")
        self.world.timing.update(wanted)
        return self.world.timing

    def add_fault(self, request):
        return self.world.faults.add(_body(request))

    def calls(self, request):
        limit = request.args.get("limit")
        return self.world.calls.listing(request.args.get("action"), int(limit) if limit else None)

    def _machine(self, instance_id):
        machine = self.world.machines.get(instance_id)
        if machine is None:
            raise _Missing(f"no instance {instance_id}")
        return machine

    def instances(self, request):
        from moto.ec2 import ec2_backends
        with self.world.lock:
            listing = []
            for machine in self.world.machines.values():
                backend = ec2_backends[machine.account][machine.region]
                instance = backend.get_instance_by_id(machine.instance_id)
                listing.append({"id": machine.instance_id, "account": machine.account, "region": machine.region,
                                "address": machine.address, "user": machine.user_name, "state": instance.state,
                                "image": instance.image_id, "container": machine.container,
                                "tags": dict(backend.tags.get(machine.instance_id, {}))})
        return {"instances": listing}

    def execute(self, request, instance_id):
        body = _body(request)
        command = body["command"]
        command = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        code, out, err = self.world.machines_kind.execute(self._machine(instance_id), command,
                                                          float(body.get("timeout", 120)))
        return {"exit_code": code, "stdout": out, "stderr": err}

    def kill(self, request, instance_id):
        """The machine dies. What EC2 says of it then is `state`: terminated (the default), stopped, or running
        (it hangs, and EC2 has not noticed)."""
        state = (_body(request) or {}).get("state", "terminated")
        if state not in ("terminated", "stopped", "running"):
            raise ValueError('"state" is terminated, stopped or running')
        machine = self._machine(instance_id)
        with machine.lock:
            self.world.machines_kind.kill(machine)
        with self.world.lock:
            if state == "terminated":
                lifecycle.end(self.world, machine, 0, "Server.InternalError",
                              "Server.InternalError: the host of the instance failed")
            elif state == "stopped":
                lifecycle.stop(self.world, machine, 0, "Server.ScheduledStop", force=True)

    def cut_sessions(self, request, instance_id):
        """The websockets of the instance's sessions break; the sessions go on."""
        return {"cut": self.world.sessions.cut(self._machine(instance_id).instance_id)}

    def console(self, request, instance_id):
        return {"console": self.world.machines_kind.console(self._machine(instance_id))}


def _body(request):
    data = request.get_data()
    body = json.loads(data) if data else {}
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")
    return body


def _json(value, status=200):
    return Response(json.dumps(value, indent=2, default=str) + "\n", status, {"Content-Type": "application/json"})
