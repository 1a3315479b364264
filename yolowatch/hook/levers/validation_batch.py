"""A smaller validation batch, with the same results.

The loader is built as the trainer builds it, and only then gets smaller batches. A validation set
with rectangular batches was laid out for the original batch, whose images share one shape: a
smaller batch that divides it keeps every image at that shape, so that each prediction, and every
metric made of them, stays the same but for rounding: a library may compute another batch by another
kernel. The validation losses are means over batches, and differ.

Touches: the batch size of the validation loader, and its iterator, which may have begun already.
"""

import sys


def shrink(loader, batch):
    """Let `loader` give batches of `batch` images, where that divides what it gives now."""
    sampler = loader.batch_sampler
    data = sys.modules["torch"].utils.data
    if not isinstance(sampler, data.BatchSampler):
        sampler = sampler.sampler  # of a loader that repeats for ever
    if not isinstance(sampler, data.BatchSampler) or sampler.batch_size <= batch:
        return
    sampler.batch_size = batch
    object.__setattr__(loader, "batch_size", batch)  # DataLoader itself would refuse
    if "iterator" in vars(loader):
        loader.iterator = data.DataLoader.__iter__(loader)
