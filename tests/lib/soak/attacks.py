"""What the soak does to the servers, their database and their cloud. What is done, when and to whom comes from one seed:
the same seed makes the same choices, though what they meet depends on time."""

import json
import signal
import time
from collections import Counter

from common import say
from soak import templates

# How often each attack is in a hand of cards. A hand takes about four minutes.
HAND = {"fault": 9, "cancel": 6, "kill": 3, "drain": 3, "retry": 2, "kill all": 1, "freeze": 1, "restart database": 1, "pause database": 1}
# Seconds between two attacks.
PAUSE = (3, 14)
# Longer than a lease (60 s), so that another server takes the builds over before it wakes.
FREEZE = (66, 80)
# Seconds that PostgreSQL is away at most; most outages are much shorter.
LONGEST_OUTAGE = 60

CHANGES = ["RunInstances", "ImportKeyPair", "CreateSecurityGroup", "AuthorizeSecurityGroupIngress", "StopInstances", "CreateImage",
           "CopyImage", "CreateTags", "DeleteTags", "TerminateInstances", "DeleteSecurityGroup", "DeleteKeyPair", "DeregisterImage",
           "DeleteSnapshot"]
QUESTIONS = ["DescribeImages", "DescribeInstances", "DescribeSecurityGroups", "DescribeKeyPairs", "DescribeVolumes",
             "DescribeNetworkInterfaces", "DescribeSnapshots", "DescribeSubnets"]
CAPACITY = "We currently do not have sufficient capacity in the zone you requested."


class Deck:
    """Cards are dealt without putting them back, so that also what is rare comes in a short soak."""

    def __init__(self, random, cards):
        self._random, self._cards, self._hand = random, cards, []

    def deal(self):
        if not self._hand:
            self._hand = self._random.sample(self._cards, len(self._cards))
        return self._hand.pop()


class Attacks:
    def __init__(self, random, sandbox, database, servers, runs):
        self._random, self._sandbox, self._database, self._servers, self._runs = random, sandbox, database, servers, runs
        self._deck = Deck(random, [kind for kind, times in HAND.items() for _ in range(times)])
        self._next = time.monotonic() + 5
        # When and how the database gets back to work; None while it works.
        self._database_away = None
        self.done, self._fault_kinds, self._cancelled, self.machines_killed = Counter(), {}, set(), 0

    def step(self):
        """Does what is due."""
        now = time.monotonic()
        if self._database_away is not None and now >= self._database_away[0]:
            self._bring_database_back()
        if now < self._next:
            return
        # All that an attack may need is drawn now, whether it needs it or not: so each choice is at the same place.
        kind, first, second, third = self._deck.deal(), self._random.random(), self._random.random(), self._random.random()
        self._next = now + self._random.uniform(*PAUSE)
        said = getattr(self, "_" + kind.replace(" ", "_"))(first, second, third)
        if said:
            self.done[kind] += 1
            say(f"{kind}: {said}", clock=True)

    def end(self):
        """Nothing hinders anybody any more."""
        self._bring_database_back()
        hits = Counter()
        for fault in self._sandbox.control("GET", "faults")["faults"]:
            hits[self._fault_kinds[fault["id"]]] += fault["times"] - fault["left"]
        self._sandbox.control("DELETE", "faults")
        hits["a machine dies"] = self.machines_killed
        self._servers.calm()
        return hits

    def _bring_database_back(self):
        if self._database_away is not None:
            self._database_away[1]()
            self._database_away = None
            self._servers.database_is_back()

    def _victim(self, draw):
        ready = self._servers.up()
        return ready[int(draw * len(ready))] if ready else None

    def _kill(self, which, pause, _):
        server = self._victim(which)
        if server:
            server.kill(1 + 14 * pause)
            return f"{server.name}, starts again after {1 + 14 * pause:.0f} s"
        return None

    def _kill_all(self, _, pause, spread):
        running = self._servers.running()
        for number, server in enumerate(running):
            server.kill(1 + 9 * pause + number * 5 * spread)
        return ", ".join(server.name for server in running)

    def _drain(self, which, pause, _):
        server = self._victim(which)
        if server:
            server.drain(10 * pause)
            return f"SIGTERM to {server.name}"
        return None

    def _freeze(self, which, length, _):
        server = self._victim(which)
        # One at a time: somebody has to take over.
        if server and all(other.state != "frozen" for other in self._servers.all):
            seconds = FREEZE[0] + (FREEZE[1] - FREEZE[0]) * length
            server.freeze(seconds)
            return f"{server.name} for {seconds:.0f} s"
        return None

    def _restart_database(self, how, length, _):
        self._bring_database_back()
        mode, seconds = "immediate" if how < 0.6 else "fast", LONGEST_OUTAGE * length ** 3
        self._servers.database_is_away()
        self._database.halt(mode)
        self._database_away = time.monotonic() + seconds, self._database.start_again
        return f"{mode} stop, away for {seconds:.0f} s"

    def _pause_database(self, how, length, _):
        self._bring_database_back()
        only_postmaster, seconds = how < 0.3, 2 + 18 * length
        self._servers.database_is_away()
        self._database.signal(signal.SIGSTOP, only_postmaster)
        self._database_away = time.monotonic() + seconds, lambda: self._database.signal(signal.SIGCONT)
        return f"{'the postmaster' if only_postmaster else 'all its processes'} for {seconds:.0f} s"

    def _cancel(self, which, *_):
        live = [run for run in self._runs.live() if run not in self._cancelled]
        if not live:
            return None
        run = live[int(which * len(live))]
        answer = self._servers.ask("POST", f"runs/{run}/cancel")
        # 409: it is over, or has committed.
        if answer is None or answer[0] != 202:
            return None
        self._cancelled.add(run)
        return f"run {run}"

    def _retry(self, which, *_):
        over = self._runs.failed()
        if not over:
            return None
        run = over[int(which * len(over))]
        answer = self._servers.ask("POST", f"runs/{run}/retry")
        if answer is None or answer[0] != 202:
            return None
        self._cancelled.discard(run)
        return f"run {run}"

    def _fault(self, which, what, times):
        kind, make = FAULTS[int(which * len(FAULTS))]
        if make is None:
            return self._machine_dies(what)
        fault = make(what, times)
        added = self._sandbox.control("POST", "faults", fault)
        self._fault_kinds[added["id"]] = kind
        return f"{kind}: {json.dumps(fault)}"

    def _machine_dies(self, which):
        running = [one for one in self._sandbox.control("GET", "leftovers")["instances"] if one["state"] == "running"]
        if not running:
            return None
        machine = running[int(which * len(running))]["id"]
        self._sandbox.control("POST", f"instances/{machine}/kill", {"state": "terminated"})
        self.machines_killed += 1
        return f"a machine dies: {machine}"


def _pick(names, draw):
    return names[int(draw * len(names))]


# name, and the fault that two random numbers make.
FAULTS = [
    ("throttling", lambda what, times: {"action": _pick(["*", *QUESTIONS, *CHANGES], what), "code": "RequestLimitExceeded",
                                        "message": "Request limit exceeded.", "status": 503, "times": 1 + int(times * 20)}),
    ("server errors", lambda what, times: {"action": _pick([*QUESTIONS, *CHANGES], what), "code": "InternalError",
                                           "message": "An internal error has occurred", "status": 500, "times": 1 + int(times * 6)}),
    ("errors after the effect", lambda what, times: {"action": _pick(CHANGES, what), "code": "InternalError", "status": 500,
                                                     "when": "after", "times": 1 + int(times * 2)}),
    ("lost replies", lambda what, times: {"action": _pick(CHANGES, what), "when": "after", "times": 1 + int(times * 2)}),
    ("no capacity", lambda _, times: {"action": "RunInstances", "code": "InsufficientInstanceCapacity", "message": CAPACITY,
                                      "status": 500, "region": templates.REGION, "times": 1 + int(times * 3)}),
    ("slow answers", lambda what, times: {"action": _pick([*QUESTIONS, *CHANGES], what), "delay": 2 + int(times * 16),
                                          "times": 1 + int(times * 3)}),
    ("not visible yet", lambda _, times: {"action": "DescribeInstances", "code": "InvalidInstanceID.NotFound",
                                          "message": "The instance ID does not exist", "times": 1 + int(times * 2)}),
    ("a machine dies", None),
]
