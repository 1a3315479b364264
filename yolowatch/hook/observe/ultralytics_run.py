"""What an Ultralytics trainer is set up to do, read from its attributes."""

import os
import sys

from ..levers import checkpointing, departing, eight_bit, guarding, host_memory, pruning, releasing
from ..place import place
from . import layers, numbering

# Bytes of optimizer state for each byte of parameters, once every state exists.
_STATE_RATIO = {
    "SGD": 1,
    "MuSGD": 1,
    "RMSprop": 2,
    "Adam": 2,
    "AdamW": 2,
    "Adamax": 2,
    "NAdam": 2,
    "RAdam": 2,
    # With their state in 8 bits, and scales of a few numbers for each block of it.
    "SGD8bit": 0.26,
    "RMSprop8bit": 0.26,
    "Adam8bit": 0.52,
    "AdamW8bit": 0.52,
}


def entry_of_training():
    """Whether Ultralytics' own command line started this training, or a program of the user's."""
    frame = sys._getframe()
    while frame is not None:
        if (
            frame.f_code.co_name == "entrypoint"
            and frame.f_globals.get("__name__") == "ultralytics.cfg"
        ):
            return "command"
        frame = frame.f_back
    return "script"


def describe(trainer):
    """The fields of `wire`'s run, as far as this trainer has them by now."""
    args = trainer.args
    optimizer = getattr(trainer, "optimizer", None)
    model = trainer.model if hasattr(trainer.model, "parameters") else None
    smallest, largest = _sizes(args, getattr(trainer, "stride", None) or 32)
    parameter_bytes = trainable_bytes = None
    if model is not None:
        parameters = list(model.parameters())
        parameter_bytes = sum(p.numel() * p.element_size() for p in parameters)
        trainable_bytes = sum(p.numel() * p.element_size() for p in parameters if p.requires_grad)
    blocks = checkpointing.count(model) if model is not None else None
    name = type(optimizer).__name__ if optimizer is not None else None
    ratio = _STATE_RATIO.get(name)
    known = ratio is not None and trainable_bytes
    loader = getattr(trainer, "train_loader", None)
    test_loader = getattr(trainer, "test_loader", None)
    batch = trainer.batch_size
    return {
        "trainer": "ultralytics",
        "trainer_version": sys.modules["ultralytics"].__version__,
        "entry": entry_of_training(),
        "train_calls": place.train_calls,
        "run_dir": os.path.abspath(trainer.save_dir),
        "model": str(args.model),
        "data": str(args.data),
        "task": str(args.task),
        "batch": batch if isinstance(batch, int) else None,
        "accumulate": _nominal_accumulate(trainer) if loader is not None else None,
        "nbs": args.nbs,
        "weight_decay": args.weight_decay,
        "effective_weight_decay": _decay(optimizer),
        "epochs": trainer.epochs,
        "start_epoch": trainer.start_epoch,
        "image_size": args.imgsz if isinstance(args.imgsz, int) else max(args.imgsz),
        "image_size_min": smallest,
        "image_size_max": largest,
        "stride": getattr(trainer, "stride", None),
        "warmup_epochs": args.warmup_epochs,
        "precision": _precision(trainer),
        "optimizer": name,
        "optimizer_state_bytes": round(ratio * trainable_bytes) if known else None,
        "optimizer_state_exists": len(optimizer.state) > 0 if optimizer is not None else None,
        "parameter_bytes": parameter_bytes,
        "device": str(trainer.device),
        "train_images": len(loader.dataset) if loader is not None else None,
        "validation_batch": getattr(test_loader, "batch_size", None),
        "resumed": bool(trainer.args.resume),
        "multi_scale": ratio_of(args.multi_scale),
        "autocast": _autocast(trainer),
        "checkpointable": blocks[0] if blocks else None,
        "checkpointed": blocks[1] if blocks else None,
        "allocator": allocator_settings(),
        **host_memory.describe(args, loader),
        "freezable": layers.backbone(model),
        "frozen": layers.frozen(model),
        "pruned": pruning.Pruned.part if model is not None else None,
        "prunable": pruning.available(),
        "eight_bit": eight_bit.available(),
        "guarded": guarding.guard.active,
        "leaving": departing.departure.wanted,
        "releasing": releasing.releasing.wanted,
        "classes": classes_of(model),
        "gpu": gpu_of(trainer.device),
        **numbering.describe(trainer),
    }


def _nominal_accumulate(trainer):
    """Micro-batches an optimizer step after warm-up, by the trainer's own formula."""
    nominal = max(round(trainer.args.nbs / trainer.batch_size), 1)
    if not getattr(trainer.args, "time", None):
        nominal = min(nominal, max(len(trainer.train_loader) * trainer.epochs, 1))
    return nominal


def _decay(optimizer):
    """The weight decay that the optimizer applies: the largest of its groups."""
    groups = getattr(optimizer, "param_groups", None)
    return max(float(group.get("weight_decay", 0.0)) for group in groups) if groups else None


def _precision(trainer):
    amp = getattr(trainer, "amp", None)
    if not isinstance(amp, bool):
        return None  # not decided yet
    if not amp:
        return "fp32"
    return "bf16" if trainer.args.amp == "bf16" else "fp16"


def ratio_of(scale):
    """The multi-scale range as a ratio; releases before 8.4 know only on and off."""
    if scale is True:
        drawing = sys.modules.get("ultralytics.models.yolo.detect.train")
        ratio = getattr(getattr(drawing, "random", None), "ratio", None)
        return 0.5 if ratio is None else ratio
    return float(scale or 0.0)


def classes_of(model):
    """How many classes the network tells apart, or None."""
    classes = getattr(model, "nc", None)
    return classes if isinstance(classes, int) and classes >= 0 else None


def gpu_of(device):
    """The name of the CUDA device that is trained on, or None."""
    if device.type != "cuda":
        return None
    return sys.modules["torch"].cuda.get_device_name(device)


def _autocast(trainer):
    """The best mixed precision there is for this trainer on its device, or None."""
    if trainer.device.type != "cuda":
        return None
    release = tuple(map(int, sys.modules["ultralytics"].__version__.split(".")[:2]))
    bf16 = release >= (8, 4) and sys.modules["torch"].cuda.is_bf16_supported()
    return "bf16" if bf16 else "fp16"


def allocator_settings():
    """What the CUDA allocator of this process was told, or None."""
    names = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _sizes(args, stride):
    """The smallest and the largest image size of the multi-scale range, as the trainer rounds
    them.
    """
    size = args.imgsz if isinstance(args.imgsz, int) else max(args.imgsz)
    scale = ratio_of(args.multi_scale)
    if not scale:
        return size, size
    smallest = max(int(size * (1.0 - scale)), stride) // stride * stride
    return smallest, (int(size * (1.0 + scale) + stride) - 1) // stride * stride
