"""Orders of the daemon: live changes, asked for over the socket and made between two batches.

The agent's thread reads and judges them, a few a window, and answers each; what it accepts waits
here until the training thread begins a batch. A later order of the same name takes the place of one
that still waits, so that a flood costs no more than its reading, and the rest of it waits in the
socket at the sender's cost. `waiting` is almost always empty: a batch asks only that.

It stands beside the levers, which know how a change is made; here is only whether it may be.
"""

import os
import socket
import struct

from . import wire
from .guard import faults

AT_ONCE = 8  # orders read in one window
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class OrderError(ValueError):
    """The trainer cannot carry out an order; the text says why."""


waiting = {}  # name -> (id, value): accepted, and not carried out yet
farewell = []  # ids of orders to leave this process, which the agent's own thread carries out
LEAVE = "detach"
_taken = {}  # name -> what the trainer of this moment takes: (lowest, highest) value


def take(name, lowest, highest):
    """From now on the training takes orders of this name, with values in these bounds."""
    _taken[name] = lowest, highest


def are_taken():
    """Whether there is a training that takes any."""
    return bool(_taken)


def take_none():
    """There is no training that could take any."""
    _taken.clear()
    waiting.clear()


def is_trusted(connection):
    """Whether the daemon behind a connected socket may give orders: root's, or of our own user."""
    try:
        size = _CREDENTIALS.size
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    except OSError:
        return False
    return _CREDENTIALS.unpack(data)[1] in (0, os.getuid())


def read(connection):
    """The messages that wait in a socket, a few of them, and whether its other end is closed."""
    arrived = []
    while connection is not None and len(arrived) < AT_ONCE:
        try:
            data = connection.recv(wire.MAX_MESSAGE_BYTES + 1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            break
        except OSError:
            data = b""
        if not data:
            return arrived, True
        arrived.append(data)
    return arrived, False


def received(data, trusted):
    """Judge one message; the fields of its `ack`, or None for what is no order that has an id."""
    try:
        kind, fields = wire.decode(data)
    except wire.WireError:
        return None
    if kind != "order" or "id" not in fields:
        return None
    if fields.get("name") == LEAVE and trusted:
        farewell.append(fields["id"])
        return None  # it is answered when everything is taken back
    reason = _against(fields.get("name"), fields.get("value"), trusted)
    if reason is None:
        waiting[fields["name"]] = fields["id"], fields["value"]
    return {"id": fields["id"], "accepted": reason is None, "reason": reason}


def _against(name, value, trusted):
    """Why an order is not obeyed, or None."""
    if not trusted:
        return "the daemon's user is neither root nor that of the training"
    if not faults.armed:
        return "the hook has switched itself off"
    if not _taken:
        return "no training takes orders at this moment"
    if name not in _taken:
        return "this training takes no order of that name"
    if value is None:
        return "it has no value"
    lowest, highest = _taken[name]
    if not lowest <= value <= highest:
        return "its value is not between %g and %g" % (lowest, highest)
    return None


def carry_out(levers):
    """In the training thread: make the changes that wait; `levers` are functions by name.

    Returns the fields of an `ack` for each that could not be made after all.
    """
    refused = []
    while waiting:
        name, (number, value) = waiting.popitem()
        try:
            levers[name](value)
        except (OrderError, LookupError, AttributeError, TypeError) as error:
            reason = "it could not be carried out: %s" % error
            refused.append({"id": number, "accepted": False, "reason": reason})
    return refused
