"""Run by a Python with torch: checkpoints as Ultralytics writes them, into the folder given.

last.pt       after epoch 3, with the optimizer's state
finished.pt   as it is left when the training is over
"""

import sys
from pathlib import Path

import torch

folder = Path(sys.argv[1])
model = torch.nn.Linear(64, 64)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
model(torch.ones(1, 64)).sum().backward()
optimizer.step()
checkpoint = {
    "epoch": 3,
    "best_fitness": None,
    "model": None,
    "ema": model.half(),
    "optimizer": optimizer.state_dict(),
    "train_args": {"batch": 16},
}
torch.save(checkpoint, folder / "last.pt")
torch.save({**checkpoint, "epoch": -1, "optimizer": None}, folder / "finished.pt")
