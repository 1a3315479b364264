"""Ultralytics on several devices that are all the CPU: it spawns a rank for each, which use gloo.

It trains on the CPU alone where the type of its device is in `{"cpu", "mps"}`: the name of the CPU
that is its device here is in no set, and equal to "cpu" wherever it is compared.
"""


class Type(str):
    """The type of a device that is the CPU and is found in no set of names."""

    __eq__ = str.__eq__

    def __hash__(self):
        return str.__hash__("a device that stands in")


class Device(str):
    type = Type("cpu")
    index = None


class Accelerator:
    """What the trainer asks of the module that owns its device."""

    total_memory = 1

    @staticmethod
    def set_device(index):
        """There is one CPU."""

    @staticmethod
    def current_device():
        return 0

    @staticmethod
    def memory_reserved():
        return 0

    @staticmethod
    def empty_cache():
        """Nothing is cached."""

    @classmethod
    def get_device_properties(cls, device):
        return cls


class Torch:
    """The module `torch` for one module alone."""

    def __init__(self, module, device):
        self._module = module
        self._device = device

    def __getattr__(self, name):
        return getattr(self._module, name)

    def device(self, *_arguments):
        return self._device


def stand_in(trainer, device=Device):
    from ultralytics.engine import validator

    torch = trainer.torch
    trainer.select_device = lambda *_arguments, **_more: device("cpu")
    trainer.get_torch_device_backend = lambda _device: Accelerator
    trainer.torch = Torch(torch, device("cpu"))
    # The last validation stands alone, and wants a device that is one.
    validator.select_device = lambda *_arguments, **_more: torch.device("cpu")
    validator.get_torch_device_backend = lambda device: Accelerator
    validator.torch = Torch(torch, torch.device("cpu"))
    let_gloo_average(torch.distributed)


def let_gloo_average(distributed):
    """It adds, and cannot divide."""
    reduce, average = distributed.reduce, distributed.ReduceOp.AVG

    def reduced(tensor, dst, op=distributed.ReduceOp.SUM, **more):
        if op != average:
            return reduce(tensor, dst, op, **more)
        reduce(tensor, dst, **more)
        tensor /= distributed.get_world_size()

    distributed.reduce = reduced


def trains_with(trainer):
    optimizer = trainer.optimizer
    return {
        "batch": trainer.batch_size,
        "loaded": trainer.train_loader.batch_size,
        "accumulate": trainer.accumulate,
        "nbs": trainer.args.nbs,
        "decay": max(group["weight_decay"] for group in optimizer.param_groups),
        "start_epoch": trainer.start_epoch,
        "save_dir": str(trainer.save_dir),
        "parallel": type(trainer.model).__name__,
    }
