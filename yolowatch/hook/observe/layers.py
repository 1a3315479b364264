"""Which layers of a YOLO model are its backbone, and how many of the first are not trained."""


def backbone(model):
    """How many of the first layers the description of the model calls its backbone, or None."""
    described = getattr(getattr(model, "module", model), "yaml", None)
    layers = described.get("backbone") if isinstance(described, dict) else None
    return len(layers) if isinstance(layers, (list, tuple)) else None


def frozen(model):
    """So many of the first layers have parameters and train none of them; None for no model.

    Layers without parameters count where the next one that has some is frozen as well.
    """
    layers = getattr(getattr(model, "module", model), "model", None)
    count = None if layers is None else 0
    for index, layer in enumerate(layers if layers is not None else ()):
        trained = [each.requires_grad for each in layer.parameters()]
        if any(trained):
            break
        if trained:
            count = index + 1
    return count
