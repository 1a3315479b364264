"""Chooses the hands of a service: the root helper's, or its own for the runs of its own user."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from yolowatch.edges.captures import CaptureStore
from yolowatch.edges.clock import Clock
from yolowatch.edges.nvml import Nvml
from yolowatch.hands.helper.client import HelperHands
from yolowatch.hands.in_process import InProcessHands
from yolowatch.hands.launching import Hooking
from yolowatch.hands.port import PostOf, ServiceHands
from yolowatch.model.plan import Policy


def service_hands(
    helper: Path | None,
    hooking: Hooking,
    policy_of: Callable[[str], Policy],
    nvml: Nvml,
    post: PostOf,
    *,
    grace_seconds: Callable[[], float],
    clock: Clock,
) -> ServiceHands:
    """Hands that ask at the socket `helper`, or that act as this user where it is None."""
    if helper is not None:
        return HelperHands(helper, policy_of, nvml, post, grace_seconds=grace_seconds, clock=clock)
    store = CaptureStore(hooking.socket.parent / "captures")
    return InProcessHands(
        hooking, policy_of, nvml, post, store, grace_seconds=grace_seconds, clock=clock
    )
