"""A sitecustomize that lets real trainers train as ranks on the CPU, and starves one of them.

Their programs want one GPU a rank and NCCL. Here the CPU stands in for each GPU and gloo for NCCL;
samplers, DistributedDataParallel and every collective are the real ones. YOLOv5 and YOLOv9 ask for
`device.type != 'cpu'`, so their device is a name of the CPU that answers this with yes; what
Ultralytics asks for, which spawns its ranks itself, stands in `spawning.py`.

In rank STARVED_RANK the data segment is limited from the second epoch on, to what is in use between
batches plus PART of what a batch takes, for later attempts too (LIMIT_FILE); with EARLY, which only
Ultralytics knows, from the second batch of all. LINGER says for how many seconds that rank, once it
has failed, does not end: as one whose collectives hang. With NVML_STAND_IN, which only Ultralytics
knows too, the CPU is taken for one of two GPUs, and who trains alone there fails: `seen_as_gpu.py`.

What each rank trains with is appended to FACTS, one JSON object an event.
"""

import atexit
import json
import os
import sys
import time
from pathlib import Path

from in_training import CALLBACKS, ULTRALYTICS, after_import, data, lift, peak, set_limit

RANK = int(os.environ.get("RANK", "-1"))
STARVED = int(os.environ.get("STARVED_RANK", "-2")) == RANK
PART = float(os.environ.get("PART", "0.5"))
EARLY = "EARLY" in os.environ
GPUS = "NVML_STAND_IN" in os.environ
LINGER = float(os.environ.get("LINGER", "0"))


class Type(str):
    """The type of a device that is the CPU and is not taken for it."""

    __hash__ = str.__hash__
    __eq__ = str.__eq__

    def __ne__(self, other):
        return True


class Device(str):
    type = Type("cpu")
    index = None


class Torch:
    """The module `torch` for the training program alone."""

    def __init__(self, module):
        self._module = module

    def __getattr__(self, name):
        return getattr(self._module, name)

    def device(self, *_arguments):
        return Device("cpu")


def let_gloo_stand_in(torch):
    parallel, distributed = torch.nn.parallel.DistributedDataParallel, torch.distributed
    created, barrier = parallel.__init__, distributed.barrier

    def __init__(self, module, device_ids=None, output_device=None, **more):
        created(self, module, **more)

    parallel.__init__ = __init__
    distributed.barrier = lambda device_ids=None, **more: barrier(**more)
    distributed.is_nccl_available = lambda: False


def tell(event, **more):
    told = {"event": event, "rank": RANK, "pid": os.getpid(), "launcher": os.getppid()}
    with open(os.environ["FACTS"], "a") as file:
        file.write(json.dumps({**told, "at": time.monotonic(), **more}) + "\n")


def trains_with(variables):
    opt, optimizer = variables["opt"], variables["optimizer"]
    return {
        "batch": variables["batch_size"],
        "loaded": variables["train_loader"].batch_size,
        "accumulate": max(round(variables["nbs"] / variables["batch_size"]), 1),
        "nbs": variables["nbs"],
        "decay": max(group["weight_decay"] for group in optimizer.param_groups),
        "start_epoch": variables["start_epoch"],
        "save_dir": os.path.abspath(opt.save_dir),
        "parallel": type(variables["model"]).__name__,
    }


class Seen:
    between = ()
    peak = None


def limit():
    file = Path(os.environ["LIMIT_FILE"])
    if Seen.between and not file.exists():
        middle = sorted(Seen.between)[len(Seen.between) // 2]
        growth = (Seen.peak or peak()) - middle
        file.write_text(str(int(data() + PART * growth)))
    if file.exists():
        set_limit(int(file.read_text()))


def watch(module):
    callbacks = module.Callbacks
    created, original = callbacks.__init__, callbacks.run

    def __init__(self):
        created(self)
        frame = sys._getframe(1)
        while frame is not None and frame.f_code.co_name != "<module>":
            frame = frame.f_back
        program = frame.f_globals if frame is not None else {}
        if "train" in program and not isinstance(program["torch"], Torch):
            torch = program["torch"]
            let_gloo_stand_in(torch)
            torch.cuda.device_count = lambda: int(os.environ["WORLD_SIZE"])
            torch.cuda.set_device = lambda device: None
            program["torch"] = Torch(torch)

    def run(self, hook, *args, **kwargs):
        original(self, hook, *args, **kwargs)
        if hook == "on_train_start":
            tell("begins", **trains_with(sys._getframe(1).f_locals))
        elif hook == "on_train_batch_start":
            Seen.between += (data(),)
        elif hook == "on_train_epoch_start" and STARVED:
            limit()

    callbacks.__init__, callbacks.run = __init__, run


def alone():
    """Whether this process trains without ranks, after one of them was starved."""
    return RANK < 0 and Path(os.environ["LIMIT_FILE"]).exists()


def watch_spawning(trainer):
    """The same of Ultralytics, in the process that spawns ranks as much as in those."""
    import seen_as_gpu
    import spawning

    torch = sys.modules["torch"]
    spawning.stand_in(trainer, seen_as_gpu.Device if GPUS else spawning.Device)
    let_gloo_stand_in(torch)
    if GPUS:
        seen_as_gpu.stand_in(torch)
    original = trainer.BaseTrainer.run_callbacks

    def run_callbacks(self, event):
        original(self, event)
        if event == "on_train_start":
            status = Path(f"/proc/{os.getppid()}/status").read_text()
            root = int(status.partition("PPid:")[2].split()[0])
            tell("begins", root=root, **spawning.trains_with(self))
        elif event == "on_pretrain_routine_start" and GPUS and RANK < 0 and not self.ddp:
            atexit.register(seen_as_gpu.tell_driver, False)
            seen_as_gpu.tell_driver(True)
        elif event == "on_train_batch_start":
            Seen.between += (data(),)
            if GPUS and RANK < 0 and self.epoch == 1:
                middle = sorted(Seen.between)[len(Seen.between) // 2]
                seen_as_gpu.run_out(torch, middle, Seen.peak - middle)
            if EARLY and STARVED and len(Seen.between) == 2:
                limit()
        elif event == "on_train_batch_end":
            Seen.peak = peak()  # what follows maps libraries
        elif event == "on_train_epoch_start" and (STARVED or alone()):
            limit()
        elif event == "on_train_epoch_end":
            lift()  # what a step may take says nothing of a validation by one process alone

    trainer.BaseTrainer.run_callbacks = run_callbacks


def at_exit():
    error = getattr(sys, "last_value", None)
    if error is not None and RANK >= 0:
        tell("failed", error=repr(error)[:200])
        time.sleep(LINGER if STARVED else 0)


if RANK >= 0 or "SPAWNS_RANKS" in os.environ:
    lift()
    atexit.register(at_exit)  # runs after the hook's, which is registered later
    after_import(CALLBACKS, watch)
    after_import([ULTRALYTICS], watch_spawning)
