"""The log of API calls, for tests that count them."""

import threading
import time
from collections import Counter, deque

# Long or secret: the log is for counting and for ids.
_HIDDEN = ("UserData", "PublicKeyMaterial", "Version", "Action")


class Calls:
    def __init__(self, keep=10000):
        self._log = deque(maxlen=keep)
        self._counts = Counter()
        self._lock = threading.Lock()

    def add(self, service, action, region, account, parameters, status, started, fault=None):
        shown = {k: v[:200] for k, v in parameters.items() if k.split(".")[0] not in _HIDDEN}
        entry = {"time": round(started, 3), "seconds": round(time.time() - started, 4), "service": service,
                 "action": action, "region": region, "account": account, "status": status, "parameters": shown}
        if fault:
            entry["fault"] = fault
        with self._lock:
            self._log.append(entry)
            self._counts[action] += 1

    def listing(self, action=None, limit=None):
        with self._lock:
            entries = [e for e in self._log if action is None or e["action"] == action]
            return {"counts": dict(self._counts), "total": sum(self._counts.values()),
                    "calls": entries[-limit:] if limit else entries}

    def clear(self):
        with self._lock:
            self._log.clear()
            self._counts.clear()
