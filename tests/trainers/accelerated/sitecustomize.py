"""A sitecustomize that leaves an Ultralytics training on the CPU what it takes away from one there.

For a CPU the trainer loads without workers, pins no memory and finds that mixed precision does not
work. Here it keeps the workers that it was asked for, its loaders are built as beside one GPU, and
the check of mixed precision passes. Whether it is asked for is the training's own affair.
"""

import os

from in_training import ULTRALYTICS, after_import


class Backend:
    """The module that owns a device, for whoever builds loaders."""

    @staticmethod
    def device_count():
        return 1


def load_as_beside_a_gpu():
    from ultralytics.data import build
    from ultralytics.models.yolo.detect import train

    original = build.build_dataloader

    def build_dataloader(*words, **more):
        return original(*words, **{**more, "device": "accelerator"})

    build.get_torch_device_backend = lambda device: Backend
    train.build_dataloader = build_dataloader


def stand_in(trainer):
    trainer.check_amp = lambda model: True
    # The first is called before the trainer takes the workers away, the second after that.
    directory_of, found = trainer.get_save_dir, trainer.check_model_file_from_stem
    asked = []

    def get_save_dir(args, *more):
        load_as_beside_a_gpu()
        asked[:] = [(args, args.workers)]
        return directory_of(args, *more)

    def check_model_file_from_stem(*words):
        for args, workers in asked:
            args.workers = workers
        return found(*words)

    trainer.get_save_dir = get_save_dir
    trainer.check_model_file_from_stem = check_model_file_from_stem


if "RANK" not in os.environ:
    after_import([ULTRALYTICS], stand_in)
