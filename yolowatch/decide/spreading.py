"""Over which devices a training on one of them may be spread: the lever `more gpus`.

It resumes on its own device and on idle ones, each with its share of the batch. A device is named
by the number that the training gives it, and known by the one that the driver gives it. That both
are the same is believed only where nothing in the environment changes the former, all devices are
alike, and the training is seen by the driver on the one that it calls its own. Of what is not known
none counts as idle.
"""

from __future__ import annotations

from collections.abc import Iterator

from yolowatch.decide.combination import Combination
from yolowatch.model.device import DeviceReading
from yolowatch.model.opt_in import OPT_IN
from yolowatch.model.plan import Edits, LeverUse
from yolowatch.model.run import RunSpec
from yolowatch.model.surroundings import Around

NAME = "more gpus"
# Of a device's memory, in use though nobody computes there: its driver and a desktop hold less,
# and a plan keeps more than that free.
IDLE_PART = 0.02

Devices = tuple[int, ...] | str
"""The training's own device and the idle ones, by their numbers; or why it may have no others."""
UNREAD = "what the devices' driver says of them is not known"


def devices(spec: RunSpec, around: Around) -> Devices:
    """What may be had of the devices as they were read when the attempt ended."""
    own, found = around.device, around.devices
    if spec.renumbered is None or spec.gpu_number is None:
        return "how the training numbers its devices is not known"
    if spec.renumbered:
        return (
            "its environment has CUDA_VISIBLE_DEVICES or CUDA_DEVICE_ORDER, so that it may number "
            "devices in another way than their driver"
        )
    if found is None:
        return "what the devices' driver says of them is too old or missing"
    if own is None:
        return "the driver did not tell on which device it computes"
    if own.index != spec.gpu_number:
        return (
            f"the driver saw it on device {own.index}, and it calls its device {spec.gpu_number}: "
            "they number devices in different ways"
        )
    if len(found) < 2:
        return "there is no other device"
    if not _alike(found, spec.gpu):
        return "the devices are not known to be all alike, so that their numbers may differ"
    idle = tuple(each.index for each in found if each.index != own.index and _is_idle(each))
    return (own.index, *idle) if idle else "no other device is known to be idle"


def obstacle(spec: RunSpec, earlier: Edits, ranks: int, found: Devices) -> str | None:
    """Why this training is not to be spread, or None."""
    if earlier.more_gpus is not None:
        return None  # it is already
    if ranks > 1 or earlier.one_gpu is not None:
        return "the training is made of several ranks already, or was until a plan changed that"
    if spec.device is None or not spec.device.startswith("cuda"):
        return "the training is not on a CUDA device"
    if spec.entry != "command":
        return "a program of the user's own may do more than its ranks would"
    if spec.cache not in ("disk", "none"):
        return "its images may be cached in memory, and each rank would cache all of them"
    if not spec.spawnable:
        return (
            "its trainer cannot spawn ranks that train as it does alone: it lacks the package "
            "cloudpickle, or trains with rect=True"
        )
    if not spec.parameter_bytes:
        return "how large its gradients are is not known, so nothing can be promised"
    if not spec.batch or spec.batch % 2:
        return "its batch cannot be shared in equal parts"
    return found if isinstance(found, str) else None


def sets(spec: RunSpec, earlier: Edits, ranks: int, found: Devices) -> Iterator[Combination]:
    """On two devices, on four and so on, for as long as their number divides the batch."""
    if isinstance(found, str) or earlier.more_gpus is not None:
        return
    if obstacle(spec, earlier, ranks, found) is not None:
        return
    count = 2
    while count <= len(found) and spec.batch is not None and spec.batch % count == 0:
        numbers = found[:count]
        shared = ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"
        use = LeverUse(
            name=NAME,
            cost=OPT_IN[NAME],
            before=f"each batch on device {numbers[0]}",
            after=f"each batch shared by the devices {shared}",
            why="nobody computes on the others, and each device has the activations of its share "
            "alone",
        )
        # What `one gpu` saves, this one costs.
        more_bytes = spec.parameter_bytes or 0
        yield Combination((use,), Edits(more_gpus=numbers), saved_bytes=-more_bytes, ranks=count)
        count *= 2


def _alike(found: tuple[DeviceReading, ...], name: str | None) -> bool:
    """Whether all have this name and one size; a part of a device has another name."""
    names, sizes = {each.name for each in found}, {each.total_bytes for each in found}
    return None not in (name, *sizes) and names == {name} and len(sizes) == 1


def _is_idle(device: DeviceReading) -> bool:
    """Whether it is known that nobody computes there, and that it is sound and undivided: of one
    that is divided into parts the driver does not tell how busy it is.
    """
    used, total = device.used_bytes, device.total_bytes
    return (
        device.answers
        and device.users == ()
        and device.xids == 0
        and device.utilization_ratio is not None
        and used is not None
        and total is not None
        and used <= IDLE_PART * total
    )
