"""Failures on demand.

A fault is `{action, region?, account?, times, code?, message?, status?, delay?, when}`. `action` is an API action
or `*`. With `when: before` (the default) the call is not carried out; with `after` it is, and then the reply is
replaced by the error; `after` without a code loses the reply: the connection is closed. `delay` is in seconds
and alone makes a slow call. The pseudo-action `SandboxBoot` makes the next machines come up without sshd.
"""

import itertools
import threading


class Faults:
    def __init__(self):
        self._faults = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def add(self, specification):
        known = {"action", "region", "account", "times", "code", "message", "status", "delay", "when"}
        unknown = set(specification) - known
        if unknown or "action" not in specification:
            raise ValueError(f"a fault needs an action, and has only {sorted(known)}; unknown: {sorted(unknown)}")
        if specification.get("when", "before") not in ("before", "after"):
            raise ValueError('"when" is "before" or "after"')
        fault = {"times": 1, "when": "before", "delay": 0, **specification}
        with self._lock:
            fault["id"] = next(self._numbers)
            fault["left"] = fault["times"]
            self._faults.append(fault)
        return fault

    def take(self, action, region, account):
        """The first fault that fits this call, used up by one; None when the call shall go well."""
        with self._lock:
            for fault in self._faults:
                if (fault["left"] > 0 and fault["action"] in (action, "*")
                        and fault.get("region") in (None, region) and fault.get("account") in (None, account)):
                    fault["left"] -= 1
                    return fault
        return None

    def listing(self):
        with self._lock:
            return [dict(fault) for fault in self._faults]

    def clear(self):
        with self._lock:
            self._faults.clear()
