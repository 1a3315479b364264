"""What a training of the YOLOv5 family is set up to do, read from the variables of its loop."""

import os
import sys

from ..levers import checkpointing, departing, guarding, host_memory, multi_scale, releasing
from ..place import place
from . import layers
from .ultralytics_run import allocator_settings, classes_of, gpu_of

# The local variables of `train()` that a description is made of.
NEEDED = (
    "opt", "batch_size", "accumulate", "nbs", "epochs", "start_epoch", "imgsz", "gs", "hyp",
    "model", "optimizer", "amp", "dataset", "train_loader", "val_loader", "device", "nw", "nb",
)  # fmt: skip

# Bytes of optimizer state for each byte of parameters, once every state exists.
_STATE_RATIO = {"SGD": 1, "Lion": 1, "RMSprop": 2, "Adam": 2, "AdamW": 2}


def describe_options(opt, device, program):
    """The fields of `wire`'s run that are known before `train()` begins; `program` is its module's
    namespace.
    """
    return {
        "trainer": _trainer(opt),
        "trainer_version": _version(program),
        "entry": entry_of_training(program),
        "train_calls": place.train_calls,
        "run_dir": os.path.abspath(opt.save_dir),
        "model": str(opt.cfg or opt.weights),
        "data": str(opt.data),
        "task": _task(program),
        "batch": opt.batch_size,
        "epochs": opt.epochs,
        "device": str(device),
        "resumed": bool(opt.resume),
        **host_memory.describe(opt, None),
    }


def describe(values, configured_decay, program):
    """The fields of `wire`'s run, from the variables of the loop once it is set up."""
    opt, model, optimizer = values["opt"], values["model"], values["optimizer"]
    stride, amp = values["gs"], values["amp"]
    smallest, largest = _sizes(_ratio(opt, program), values["imgsz"], stride)
    blocks = checkpointing.count(model)
    parameters = list(model.parameters())
    trainable = sum(p.numel() * p.element_size() for p in parameters if p.requires_grad)
    name = type(optimizer).__name__
    ratio = _STATE_RATIO.get(name)
    dataset = values["dataset"]
    fields = describe_options(opt, values["device"], program)
    fields.update(
        batch=values["batch_size"],
        accumulate=_nominal_accumulate(values),
        nbs=values["nbs"],
        weight_decay=configured_decay,
        effective_weight_decay=max(float(g["weight_decay"]) for g in optimizer.param_groups),
        epochs=values["epochs"],
        start_epoch=values["start_epoch"],
        image_size=values["imgsz"],
        image_size_min=smallest,
        image_size_max=largest,
        stride=stride,
        warmup_epochs=values["nw"] / values["nb"],  # never less than 100 batches
        precision=None if not isinstance(amp, bool) else "fp16" if amp else "fp32",
        optimizer=name,
        optimizer_state_bytes=ratio * trainable if ratio else None,
        optimizer_state_exists=len(optimizer.state) > 0,
        parameter_bytes=sum(p.numel() * p.element_size() for p in parameters),
        train_images=len(dataset) if dataset is not None else None,
        validation_batch=getattr(values["val_loader"], "batch_size", None),
        multi_scale=_ratio(opt, program),
        autocast="fp16" if values["device"].type == "cuda" else None,
        checkpointable=blocks[0],
        checkpointed=blocks[1],
        allocator=allocator_settings(),
        **host_memory.describe(opt, values["train_loader"]),
        freezable=layers.backbone(model),
        frozen=layers.frozen(model),
        guarded=guarding.guard.active,
        leaving=departing.departure.wanted,
        releasing=releasing.releasing.wanted,
        classes=classes_of(model),
        gpu=gpu_of(values["device"]),
    )
    return fields


def _trainer(opt):
    """YOLOv9's loop can close the mosaic at the end; YOLOv5's never could."""
    return "yolov9" if hasattr(opt, "close_mosaic") else "yolov5"


def _task(program):
    """The other tasks have a folder of that name, with a loop that calls no callbacks as yet."""
    folder = os.path.basename(os.path.dirname(program.get("__file__") or ""))
    return folder if folder in ("segment", "panoptic") else "detect"


def _nominal_accumulate(values):
    """Micro-batches an optimizer step after warm-up, by the trainer's own formula."""
    return max(round(values["nbs"] / values["batch_size"]), 1)


def _ratio(opt, program):
    """The multi-scale range as a ratio, which no option says."""
    if not opt.multi_scale:
        return 0.0
    ratio = getattr(program.get("random"), "ratio", None)
    return multi_scale.WIDEST if ratio is None else ratio


def _sizes(ratio, size, stride):
    """The smallest and the largest image size of the multi-scale range, as the trainer rounds
    them.
    """
    if not ratio:
        return size, size
    smallest = int(size * (1 - ratio)) // stride * stride
    return smallest, (int(size * (1 + ratio)) + stride - 1) // stride * stride


def _package(program):
    """The package that the loop's own parts come from, or None in a clone of the repository."""
    package = program["Callbacks"].__module__.split(".")[0]
    return package if package != "utils" else None


def _version(program):
    """The version of an installed package; a clone of a repository has none."""
    package = _package(program)
    version = getattr(sys.modules.get(package), "__version__", None)
    if version is None and package is not None:
        from importlib import metadata

        for name in (package, package + "py"):
            try:
                return metadata.version(name)
            except metadata.PackageNotFoundError:
                pass
    return version


def entry_of_training(program):
    """Whether the program is the trainer's own, or one of the user's that calls it.

    The trainer's own is either the loop's module, run by its own `main`, or the command line of
    its package.
    """
    command_line = "%s.cli" % _package(program)
    frame = sys._getframe()
    while frame is not None:
        names, function = frame.f_globals, frame.f_code.co_name
        if names is program and function == "main" and names["__name__"] == "__main__":
            return "command"
        if names.get("__name__") == command_line and function == "app":
            return "command"
        frame = frame.f_back
    return "script"
