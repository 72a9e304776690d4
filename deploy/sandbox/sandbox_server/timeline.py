"""Work that happens later, or beside the request: state changes that take time, and calls to the engine."""

import heapq
import itertools
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

log = logging.getLogger("sandbox")


class Timeline:
    """Runs functions after a delay, on a pool of threads. A failing one is logged and forgotten: each piece of
    work turns its own failures into the state a user of EC2 would see."""

    def __init__(self, threads=24, at_once=False):
        # Without containers nothing takes time but what `timing` says: then no delay means no delay.
        self._at_once = at_once
        self._pool = ThreadPoolExecutor(threads, "later")
        self._heap = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        # Work of before a reset must not touch the world after it.
        self._epoch = 0
        threading.Thread(target=self._tick, name="timeline", daemon=True).start()

    def after(self, seconds, function, *arguments):
        if self._at_once and seconds <= 0:
            self._run(self._epoch, function, arguments)
            return
        with self._changed:
            heapq.heappush(self._heap, (time.monotonic() + max(0.0, seconds), next(self._order), self._epoch,
                                        function, arguments))
            self._changed.notify()

    def clear(self):
        with self._changed:
            self._heap.clear()
            self._epoch += 1

    def _tick(self):
        while True:
            with self._changed:
                while not self._heap or self._heap[0][0] > time.monotonic():
                    self._changed.wait(self._heap[0][0] - time.monotonic() if self._heap else None)
                _, _, epoch, function, arguments = heapq.heappop(self._heap)
            self._pool.submit(self._run, epoch, function, arguments)

    def _run(self, epoch, function, arguments):
        if epoch != self._epoch:
            return
        try:
            function(*arguments)
        except Exception:  # noqa: BLE001 - a thread of the pool has nobody to tell
            log.exception("%s failed", getattr(function, "__qualname__", function))
