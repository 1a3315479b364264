"""The hook comes into a process that runs already, or is asked to leave it.

Runs in a thread of its own, which the payload started. Whoever attaches listens at the address
`greet`: a hook that is new here says HELLO there and stays until that connection ends; one that
serves another daemon says HELLO once, and with whom it stays.
"""

import socket

from . import arming, leaving, settings, wire
from .agent import agent
from .guard import faults
from .hello import hello

_SEND_SECONDS = 1.0


def arrive(order, is_fresh):
    """Carry out what the payload was given; whatever is raised here ends in the payload.

    `order` holds `do` ("attach" or "detach"), `greet`, `socket` (of the daemon to come) and, where
    they are to be set, `attempt` and `emergency`.
    """
    if order["do"] == "detach":
        _leave(order["greet"], is_fresh)
    elif not faults.armed:
        leaving.leave()
        leaving.forget()
        _say(order["greet"], "its hook had switched itself off, and is gone now; attach again")
    elif arming.is_worker():
        leaving.forget()
        _say(order["greet"], "it serves another process of the same training")
    elif not is_fresh and agent.is_connected():
        _say(order["greet"], None, stays_with=agent.address)
    else:
        _settle(order, is_fresh)


def _settle(order, is_fresh):
    given = {"YOLOWATCH_SOCKET": order.get("socket")}
    if is_fresh:  # one that came with its process knows better
        given.update(
            YOLOWATCH_ATTEMPT=order.get("attempt"),
            YOLOWATCH_EMERGENCY=order.get("emergency"),
            late="1",
        )
    settings.give(given)
    agent.greet(order["greet"])
    agent.start()
    if is_fresh:
        arming.arm()


def _leave(address, is_fresh):
    obstacle = "there is no hook in this process" if is_fresh else leaving.obstacle()
    if obstacle is not None:
        if is_fresh:
            leaving.forget()
        _say(address, obstacle)
        return
    kept = leaving.leave()
    leaving.forget()  # before it is said: whoever hears it finds nothing left
    _say(address, None, kept=kept)


def _say(address, reason, stays_with=None, kept=()):
    """HELLO and one answer, on a connection for nothing else."""
    if kept:
        reason = "wrapped by somebody else since, and passive now: " + ", ".join(kept)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    connection.settimeout(_SEND_SECONDS)
    answer = {"id": 0, "accepted": reason is None or bool(kept), "reason": reason}
    try:
        connection.connect(address)
        connection.send(wire.encode("hello", dict(hello(), stays_with=stays_with)))
        connection.send(wire.encode("ack", answer))
    except OSError:
        pass  # whoever asked has gone
    finally:
        connection.close()
