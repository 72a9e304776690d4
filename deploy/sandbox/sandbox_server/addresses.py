"""Loopback addresses for instances: each sandbox has 127.77.N.0/24, each instance one address of it."""

import threading


class AddressesExhausted(Exception):
    pass


class Addresses:
    # .1 and .254 stay free: a network's first address, and the shared sshd.
    FIRST, LAST = 2, 250

    def __init__(self, subrange):
        self.prefix = f"127.77.{subrange}."
        self._free = list(range(self.FIRST, self.LAST + 1))
        self._lock = threading.Lock()

    def take(self):
        with self._lock:
            if not self._free:
                raise AddressesExhausted(f"all addresses of {self.prefix}0/24 are in use")
            # The one unused for longest, so that a late connection does not reach somebody else's machine.
            return self.prefix + str(self._free.pop(0))

    def give_back(self, address):
        """An address that is none (its instance ended) or not of the pool (the shared sshd's) is no error."""
        if address is None:
            return
        with self._lock:
            number = int(address.rsplit(".", 1)[1])
            if self.FIRST <= number <= self.LAST and number not in self._free:
                self._free.append(number)
