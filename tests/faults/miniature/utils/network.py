"""The miniature's network, its loss and the running mean of its weights.

Little is computed, and a lot is kept for the gradients: a batch takes memory in proportion to its
images, as in a real training, and hardly any time.
"""

import copy

import torch
from torch import nn

_CHANNELS = 16
_LAYERS = 10  # each keeps its output until the gradients are computed


class Model(nn.Module):
    """`images_seen` is learnt with the weights: how many images they have been trained with."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, _CHANNELS, 1)
        self.scales = nn.ParameterList(torch.ones(1) for _ in range(_LAYERS))
        self.head = nn.Linear(_CHANNELS, 2)
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        x = self.stem(x)
        for scale in self.scales:
            x = torch.tanh(x * scale)
        return self.head(x.mean((2, 3)))


class ComputeLoss:
    """The mean squared error, and its parts as the table of results shows them."""

    def __call__(self, predicted, targets):
        loss = ((predicted - targets) ** 2).mean()
        return loss * len(targets), loss.detach().expand(3)


class ModelEMA:
    """A running mean of the weights; what is no weight is taken over."""

    def __init__(self, model, updates=0):
        self.ema = copy.deepcopy(model).eval()
        self.updates = updates

    def update(self, model):
        self.updates += 1
        mean, now = self.ema.state_dict(), model.state_dict()
        for name, value in mean.items():
            if value.dtype.is_floating_point:
                value.mul_(0.9).add_(now[name].detach(), alpha=0.1)
            else:
                value.copy_(now[name])
