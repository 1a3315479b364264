"""One training step of a real network with and without checkpointed activations, compared.

Usage: python checkpointing.py ultralytics|yolov5|yolov9 NETWORK.yaml compare|plain|checkpointed
or, by torchrun, with `ranks`: three steps of each, the gradients averaged over the ranks

One JSON object on stdout: what differs, or the peak of one way alone, which is the growth of the
resident set over what was there before the step, in bytes.
"""

import copy
import gc
import json
import sys
from pathlib import Path

import torch

from yolowatch.hook.levers import checkpointing

torch.manual_seed(0)
torch.set_num_threads(1)


def network(trainer, config):
    if trainer == "ultralytics":
        from ultralytics.nn.tasks import DetectionModel

        return DetectionModel(config, ch=3, nc=3, verbose=False)
    if trainer == "yolov5":
        from yolov5.models.yolo import Model

        config = Path(sys.modules[Model.__module__].__file__).parent / config
    else:
        from yolov9.models.yolo import Model
    return Model(config, ch=3, nc=3)


def tensors(outputs):
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    return [each for part in outputs for each in tensors(part)]


def status(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def step(model, images):
    """Gradients of every parameter, and what the step added to the resident set."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    base = status("VmRSS")
    loss = sum(each.float().pow(2).mean() for each in tensors(model(images)))
    loss.backward()
    peak = status("VmHWM") - base
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}, peak


def in_ranks(model):
    """Averaged gradients and the buffers after each of three steps, as the trainer sets it up."""
    # What each trainer asks for: the two older ones know that all steps are alike.
    options = {"static_graph": True}
    if sys.argv[1] == "ultralytics":
        options = {"find_unused_parameters": True, "broadcast_buffers": False}
    shared = torch.nn.parallel.DistributedDataParallel(model, **options)
    torch.manual_seed(1 + torch.distributed.get_rank())
    seen = []
    for _ in range(3):
        shared.zero_grad(set_to_none=True)
        gradients, _peak = step(shared, torch.rand(2, 3, 128, 128))
        # The gradients are views of what the next step reuses.
        seen.append({name: gradient.clone() for name, gradient in gradients.items()})
    return seen, dict(model.named_buffers())


plain = network(sys.argv[1], sys.argv[2]).train()
if sys.argv[3] == "ranks":
    torch.distributed.init_process_group("gloo")
    checkpointed = copy.deepcopy(plain)
    expected, buffers = in_ranks(plain)
    blocks = checkpointing.install(checkpointed)
    found, others = in_ranks(checkpointed)
    scale = max(float(g.abs().max()) for each in expected for g in each.values())
    told = {
        "blocks": blocks,
        "steps": len(found),
        "same_names": [a.keys() == b.keys() for a, b in zip(expected, found, strict=True)],
        "difference": max(
            float((b[name] - a[name]).abs().max()) / scale
            for a, b in zip(expected, found, strict=True)
            for name in a
        ),
        "different_buffers": [n for n in buffers if not torch.equal(buffers[n], others[n])],
    }
    every = [None, None]
    torch.distributed.all_gather_object(every, told)
    if torch.distributed.get_rank() == 0:
        print(json.dumps(every))
    torch.distributed.destroy_process_group()
    sys.exit()
images = torch.rand(8, 3, 192, 192)
if sys.argv[3] != "compare":
    if sys.argv[3] == "checkpointed":
        checkpointing.install(plain)
    step(plain, torch.rand(1, 3, 64, 64))  # what is loaded and made once
    plain.zero_grad(set_to_none=True)
    print(json.dumps({"peak": step(plain, torch.rand(16, 3, 192, 192))[1]}))
    sys.exit()

again, checkpointed = copy.deepcopy(plain), copy.deepcopy(plain)
gradients, _peak = step(plain, images)
same, _peak = step(again, images)
available, active = checkpointing.count(checkpointed)
blocks = checkpointing.install(checkpointed)
found, _peak = step(checkpointed, images)
scale = max(float(g.abs().max()) for g in gradients.values())


def largest_difference(others):
    assert others.keys() == gradients.keys()
    return max(float((others[n] - g).abs().max()) for n, g in gradients.items()) / scale


before, after = dict(plain.named_buffers()), dict(checkpointed.named_buffers())
told = {
    "blocks": blocks,
    "counted": [[available, active], list(checkpointing.count(checkpointed))],
    "difference": largest_difference(found),
    "noise": largest_difference(same),
    "different_buffers": [name for name in before if not torch.equal(before[name], after[name])],
    "tracked": sum(name.endswith("num_batches_tracked") for name in after),
    "evaluates": all(map(torch.equal, *(tensors(m.eval()(images)) for m in (again, checkpointed)))),
}
print(json.dumps(told))
