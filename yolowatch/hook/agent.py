"""The thread that talks to the daemon.

One daemon thread and one non-blocking socket. A message that cannot be sent at once is dropped and
counted; a daemon that is gone is looked for again, after a second and then ever less often. The
thread starts when there is something to watch, never on import, and a forked child closes the
socket and stays silent.
"""

import os
import socket
import threading
import time

from . import addresses, allocator, orders, resting, wire
from .footprint import Footprints
from .guard import entry, faults
from .hello import hello
from .keeping import Kept
from .place import place

CALM_SECONDS = 1.0
DANGER_SECONDS = 0.1
_RECONNECT_SECONDS = 1.0, 15.0  # between two looks: at first, and at most
_END_SECONDS = 5.0
_NEAR = 0.10  # of the capacity: below this headroom the windows are short
_LAST_WORDS_SECONDS = 0.5


class Agent:
    """Sends what the hook knows; every public method may be called from any thread."""

    def __init__(self):
        self._lock = threading.Lock()
        self._socket = None
        self.address = None  # of the daemon at the other end
        self._greeting = None  # an address that is tried first, for one connection
        self._retry_at = 0.0
        self._pause = _RECONNECT_SECONDS[0]
        self._trusted = False  # whether who listens there may give orders
        self._wake = threading.Event()
        self._thread = None
        self._pid = None
        self._kept = Kept()
        self.dropped = 0
        self.footprints = None
        self._allocator = None
        self._steps_sent = 0

    @property
    def started(self):
        return self._thread is not None

    def start(self, device=None):
        """Begin to watch, once; `device` is the trainer's ("cuda:0", "cpu") if it is known."""
        if self._allocator is None or (device is not None and device != self._allocator.name):
            self._allocator = allocator.current(device)
            self.footprints = Footprints(self._allocator)
        if self._thread is None and (self._greeting or addresses.known()):
            self._pid = os.getpid()
            self._thread = threading.Thread(target=self._loop, name="yolowatch-hook", daemon=True)
            self._thread.start()

    def greet(self, address):
        """Say HELLO at this address before any other, and stay until that connection ends."""
        with self._lock:
            self._close()  # it has ended, or there was none
            self._greeting, self._retry_at = address, 0.0
        self._wake.set()

    def is_connected(self):
        """Whether a daemon is at the other end now."""
        with self._lock:
            return self._socket is not None and not _has_ended(self._socket)

    def end(self):
        """Close the connection and end the thread, which may be the caller's own."""
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread.ident != threading.get_ident():
            # Not `join`, which would leave a stand-in for a calling thread that is not Python's.
            deadline = time.monotonic() + _END_SECONDS
            while thread.is_alive() and time.monotonic() < deadline:
                time.sleep(0.001)
            self.close()

    def tell(self, kind, **fields):
        """Send one message now; False when it was dropped."""
        with self._lock:
            told = self._send(wire.encode(kind, fields))
            self._kept.remember(kind, fields)  # after it: a new connection begins with these
            return told

    def tell_at_any_cost(self, kind, **fields):
        """Send one message, waiting a moment for room: for the last words of a dying process."""
        data = wire.encode(kind, fields)
        deadline = time.monotonic() + _LAST_WORDS_SECONDS
        while True:
            with self._lock:
                self._retry_at = 0.0
                if self._send(data, count=False):
                    return
            if time.monotonic() >= deadline:
                self.dropped += 1
                return self._kept.leave_note(data)
            time.sleep(0.01)

    def memory(self):
        """What the allocator says now, as `wire`'s memory fields."""
        return self._allocator.read() if self._allocator is not None else {}

    def silence(self):
        """In a forked child: no thread is there, and the parent's socket must not be held open."""
        faults.armed = False
        held, self._socket = self._socket, None
        if held is not None:
            held.close()

    def _send(self, data, count=True):
        try:
            if self._socket is None and not self._connect():
                raise OSError("nobody listens")
            self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            return True
        except BlockingIOError:
            pass
        except OSError:
            self._close()
        self.dropped += count
        return False

    def _connect(self):
        if os.getpid() != self._pid or time.monotonic() < self._retry_at:
            return False
        self._retry_at = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, _RECONNECT_SECONDS[1])
        greeting = [self._greeting] if self._greeting else []
        return any(self._connect_to(address) for address in greeting + addresses.known())

    def _connect_to(self, address):
        fresh = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            fresh.setblocking(False)
            fresh.connect(address)
            fresh.send(wire.encode("hello", hello()), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            for message in self._kept.messages():
                fresh.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            fresh.close()
            return False
        self._socket, self._trusted, self.address = fresh, orders.is_trusted(fresh), address
        self._pause = _RECONNECT_SECONDS[0]
        return True

    def close(self):
        """End the connection; whoever greeted is not looked for again, but the daemon at once."""
        with self._lock:
            self._close()

    def _close(self):
        held, self._socket = self._socket, None
        if held is not None:
            held.close()
            was_greeting = self.address == self._greeting
            self._retry_at = 0.0 if was_greeting else time.monotonic() + self._pause
            self._greeting = self.address = None

    def _loop(self):
        interval = CALM_SECONDS
        while faults.armed:
            began = time.monotonic()
            resting.rest(self._wake, interval, self.look)
            if faults.armed:
                interval = self.window(time.monotonic() - began) or CALM_SECONDS
            if orders.farewell:
                _leave(self, orders.farewell.pop())
        _tell_faults()

    def wake(self):
        """Begin a window now: a training that takes orders is set up."""
        self._wake.set()

    def look(self):
        """Look for orders between two windows."""
        _look(self)

    def window(self, seconds):
        """Send one window; returns the length of the next, in seconds."""
        return _window(self, seconds)

    def sample(self, seconds):
        memory = self.memory()
        prints = self.footprints
        low, high = prints.window_min, prints.window_max
        prints.window_min = prints.window_max = None
        steps, self._steps_sent = place.step - self._steps_sent, place.step
        fields = dict(
            place.fields(),
            seconds=seconds,
            steps=max(steps, 0),
            allocated_min_bytes=low,
            allocated_max_bytes=high,
            dropped=self.dropped,
            faults=faults.count,
        )
        fields.update(memory)
        self.tell("sample", **fields)
        self.flush()
        used, capacity = memory.get("allocated_bytes"), memory.get("capacity_bytes")
        near = used is not None and capacity and capacity - used < _NEAR * capacity
        interval = DANGER_SECONDS if near or resting.is_young() else CALM_SECONDS
        prints.pause_seconds = interval / 2
        return interval

    def receive(self):
        """Read the orders that came since the last window, a few of them, and answer each."""
        with self._lock:
            arrived, ended = orders.read(self._socket)
            if ended:
                self._close()
        for data in arrived:
            answer = orders.received(data, self._trusted)
            if answer is not None:
                self.tell("ack", **answer)

    def obey(self, levers, tell_run):
        """In the training thread: make the changes that wait, and say what is in force then."""
        refused = orders.carry_out(levers)
        tell_run()
        for answer in refused:
            self.tell("ack", **answer)

    def tell_faults(self):
        """Send what failed in the hook and was not told yet."""
        _tell_faults()

    def flush(self):
        """Send the footprints that were collected; they wait for a daemon."""
        if self._socket is None:
            return
        items = self.footprints.take() if self.footprints is not None else ()
        if items:
            self.tell("footprints", items=items)


agent = Agent()


@entry
def _window(self, seconds):
    interval = self.sample(seconds)
    self.receive()
    _tell_faults()
    return interval


@entry
def _look(self):
    self.receive()


@entry
def _report(fresh):
    for where, text in fresh:
        agent.tell("fault", where=where, text=text, count=faults.count)


@entry
def _leave(self, order):
    """Take the hook out of this process, as the daemon has ordered; this thread ends with it."""
    from . import leaving

    reason = leaving.obstacle()
    kept = leaving.leave() if reason is None else []
    if kept:
        reason = "wrapped by somebody else since, and passive now: " + ", ".join(kept)
    if not faults.armed:
        leaving.forget()
    self.tell("ack", id=order, accepted=reason is None or bool(kept), reason=reason)
    if not faults.armed:
        self.close()


def _has_ended(connection):
    try:
        return not connection.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _tell_faults():
    fresh, faults.fresh[:] = list(faults.fresh), []
    if fresh:
        _report(fresh)
