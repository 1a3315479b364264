"""How far apart two trainings are: prints the largest difference of any tensor, as a part of it.

Usage: python apart.py ONE OTHER   (as tests/trainers/rescuing keeps them)
"""

import sys

import torch

one, other = (torch.load(path, weights_only=True) for path in sys.argv[1:3])
pairs = [(one["model"][name], other["model"][name]) for name in one["model"]]
pairs += list(zip(one["optimizer"], other["optimizer"], strict=True))
assert one["model"].keys() == other["model"].keys()
assert len(one["optimizer"]) == len(other["optimizer"]) > 0
largest = 0.0
for mine, theirs in pairs:
    mine, theirs = mine.double(), theirs.double()
    assert torch.isfinite(mine).all()
    scale = mine.abs().max().clamp(min=1e-6)
    largest = max(largest, float((mine - theirs).abs().max() / scale))
print(largest)
