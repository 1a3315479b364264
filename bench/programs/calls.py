"""Times what the hook adds to a step, with nothing of a training in between.

Runs in the trainer's own Python with the real hook in front, as `hook_calls.py` starts it. A step
here is the calls that an Ultralytics step makes through the hook, to the trainer's real methods:
two callbacks without subscribers, a forward that computes nothing, an optimizer step of an
optimizer without parameters. They are called as the hook left them and as the trainer has them, in
turn.

Prints one JSON object: microseconds a step of both, one for each block.
"""

import collections
import json
import sys
import time

import torch
from torch.optim import SGD, optimizer
from ultralytics.nn.tasks import BaseModel

STEPS, BLOCKS = 2000, 40


def nothing(_model, _batch, *_args, **_kwargs):
    return None


assert "ultralytics.engine.trainer" not in sys.modules, "after it the hook has wrapped forward"
BaseModel.forward = nothing

from ultralytics.engine.trainer import BaseTrainer  # noqa: E402
from ultralytics.models.yolo.detect import DetectionTrainer  # noqa: E402

torch.set_num_threads(1)


class Network(BaseModel):
    def __init__(self):
        torch.nn.Module.__init__(self)


trainer = object.__new__(DetectionTrainer)
trainer.callbacks = collections.defaultdict(list)
trainer.model, trainer.ema = Network(), None
trainer.device, trainer.batch_size, trainer.accumulate = torch.device("cpu"), 2, 1
parameter = torch.nn.Parameter(torch.zeros(1))
trainer.optimizer = SGD([parameter], lr=0.0, momentum=0.9)
trainer.scaler = torch.amp.GradScaler("cuda", enabled=False)
parameter.grad = torch.zeros(1)
trainer.optimizer.step()  # its state exists: from here on a step is like every other
batch = {"img": torch.zeros(2, 3, 32, 32), "cls": torch.zeros(5, 1)}
ways = dict.fromkeys(
    ("hooked", "bare"), (BaseTrainer.run_callbacks, BaseModel.forward, BaseTrainer.optimizer_step)
)
ways["bare"] = tuple(method.__wrapped__ for method in ways["bare"])
hooks = optimizer._global_optimizer_post_hooks
after_step = {"hooked": dict(hooks), "bare": {}}


def block(name):
    """Microseconds a step."""
    run_callbacks, forward, optimizer_step = ways[name]
    hooks.clear()
    hooks.update(after_step[name])
    began = time.perf_counter_ns()
    for _ in range(STEPS):
        run_callbacks(trainer, "on_train_batch_start")
        forward(trainer.model, batch)
        optimizer_step(trainer)
        run_callbacks(trainer, "on_train_batch_end")
    return (time.perf_counter_ns() - began) / STEPS / 1000


ways["hooked"][0](trainer, "on_train_epoch_end")
found = {"bare": [], "hooked": [], "bare again": []}
ways["bare again"], after_step["bare again"] = ways["bare"], after_step["bare"]
for _ in range(BLOCKS):
    for name, blocks in found.items():
        blocks.append(block(name))
print(json.dumps(found))
