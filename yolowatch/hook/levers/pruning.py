"""A model with fewer channels, of the package torch-pruning: whole channels are taken away.

Touches: a copy of the model takes its place, before its optimizer and its average exist. Kept as
they are: what the last layer puts out, and in blocks that divide their channels in two, both halves
and all that they are joined with, because the package does not see where a half begins. Everything
else may lose the given part of its channels, those with the smallest weights.

A trainer that resumes builds the whole model from its description and loads what fits: it would
lose every pruned layer. Here the model of the checkpoint itself takes its place.
"""

import copy
import importlib.util
import sys

_DIVIDING = {"C2", "C2f", "C2fAttn", "C2PSA", "C2fPSA", "PSA", "A2C2f"}
_ELAN = {"RepNCSPELAN4", "ELAN1"}  # these join a third and a fourth part to the halves
_LAST = {"Bottleneck": "cv2", "C3": "cv3"}  # the convolution that a block ends with
_ROUND_TO = 8  # channels: what convolutions are fast with


def available():
    """Whether the package is there; it is not imported."""
    return importlib.util.find_spec("torch_pruning") is not None


def pruned(whole, ratio):
    """A copy with up to this part of the channels taken away; raises what the package does."""
    import torch_pruning

    torch = sys.modules["torch"]
    model = copy.deepcopy(whole)
    parameters = list(model.parameters())
    wanted = [each.requires_grad for each in parameters]
    for each in parameters:  # the package follows the gradients through the model
        each.requires_grad_(each.is_floating_point())
    model.eval()
    images = torch.zeros(1, _channels(model), 64, 64, device=parameters[0].device)
    torch_pruning.pruner.MagnitudePruner(
        model,
        images,
        importance=torch_pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=ratio,
        ignored_layers=_kept(model, torch),
        round_to=_ROUND_TO,
    ).step()
    model(images)  # what does not run any more is not trained
    model.train(whole.training)
    for each, had in zip(model.parameters(), wanted):
        each.requires_grad_(had)
    Pruned.part = 1 - weights(model) / weights(whole)
    return model


class Pruned:
    """`part` of the parameters that was taken away in this process, or 0."""

    part = 0.0


def weights(model):
    return sum(each.numel() for each in model.parameters())


def _channels(model):
    return next(each for each in model.parameters() if each.dim() == 4).shape[1]


def _kept(model, torch):
    kept = [model.model[-1]]
    for block in model.modules():
        if _kinds(block) & _ELAN:
            kept += [block.cv1, _last(block.cv2, torch), _last(block.cv3, torch)]
        if not _kinds(block) & _DIVIDING:
            continue
        kept.append(block.cv1)
        for name in ("m", "attn", "ffn"):
            kept += _ends(getattr(block, name, None), torch)
    return kept


def _last(part, torch):
    return part[-1] if isinstance(part, torch.nn.Sequential) else part


def _ends(part, torch):
    """What the blocks within a dividing block end with; those that are not known, whole."""
    if part is None:
        return []
    inner = isinstance(part, (torch.nn.ModuleList, torch.nn.Sequential))
    found = []
    for block in part if inner else [part]:
        names = [last for kind, last in _LAST.items() if kind in _kinds(block)]
        found.append(getattr(block, names[0], block) if names else block)
    return found


def _kinds(block):
    return {each.__name__ for each in type(block).__mro__}


def _shapes(model):
    return {name: each.shape for name, each in model.state_dict().items()}


def is_smaller(saved, whole):
    """Whether a checkpoint's model is the same network with fewer channels."""
    return weights(saved) < weights(whole) and _shapes(saved).keys() == _shapes(whole).keys()


def fits(saved, model):
    """Whether a checkpoint's model has the very shapes of the one that is trained."""
    return saved is not None and _shapes(saved) == _shapes(getattr(model, "module", model))


def adopted(saved, whole):
    """The checkpoint's model, made ready to be trained in the place of the whole one."""
    model = saved.float()
    for each in model.parameters():
        each.requires_grad_(each.is_floating_point())
    model.train(whole.training)
    Pruned.part = 1 - weights(model) / weights(whole)
    return model
