"""A training in miniature: the run directory and the loop's shape of YOLOv5, with real torch.

    python train.py [--batch-size N] [--epochs N] [--project DIR] [--name NAME] [--exist-ok]
    python train.py --resume RUN/weights/last.pt

Written for the tests of faults, where a run must take seconds: a network that keeps a lot and
computes little, and images made up on the spot. Everything that it trains is appended to
trained.jsonl in its run directory: a line for each start, each batch, each epoch and each save. The
weights themselves count the images that they were trained with.
"""

import argparse
import csv
import datetime
import json
import os
import random  # noqa: F401 (a training program has it, and a hook may look for it)
from copy import deepcopy
from pathlib import Path

import torch
import yaml
from utils.callbacks import Callbacks
from utils.network import ComputeLoss, Model, ModelEMA

GIT_INFO = None
HYP = {"lr0": 0.01, "momentum": 0.9, "weight_decay": 0.0005, "warmup_epochs": 0.0}
COLUMNS = (
    "epoch",
    "train/box_loss",
    "train/obj_loss",
    "train/cls_loss",
    "metrics/mAP_0.5",
    "x/lr0",
)


def smart_resume(ckpt, optimizer, ema, weights, epochs, resume):
    """Give back what a checkpoint holds: (best fitness, first epoch, epochs)."""
    optimizer.load_state_dict(ckpt["optimizer"])
    ema.ema.load_state_dict(ckpt["ema"].float().state_dict())
    ema.updates = ckpt["updates"]
    start_epoch = ckpt["epoch"] + 1
    if resume:
        assert start_epoch > 0, f"{weights} is of a finished training: nothing to resume"
    return ckpt["best_fitness"], start_epoch, epochs


def create_dataloader(images, batch_size, size, pad=0.0):
    """Batches of made-up images; the same images each time."""
    generator = torch.Generator().manual_seed(len(range(images)))
    targets = torch.rand(images, 2, generator=generator)
    dataset = torch.utils.data.TensorDataset(torch.arange(images), targets)

    def collate(items):
        drawn = torch.rand(len(items), 3, size, size, generator=generator)
        return drawn, torch.stack([target for _number, target in items])

    loader = torch.utils.data.DataLoader(dataset, batch_size=batch_size, collate_fn=collate)
    return loader, dataset


def train(hyp, opt, device, callbacks):
    save_dir, epochs, batch_size = Path(opt.save_dir), opt.epochs, opt.batch_size
    weights = save_dir / "weights"
    last, best = weights / "last.pt", weights / "best.pt"
    weights.mkdir(parents=True, exist_ok=True)
    if isinstance(hyp, str):
        hyp = yaml.safe_load(Path(hyp).read_text())
    opt.hyp = dict(hyp)
    (save_dir / "hyp.yaml").write_text(yaml.safe_dump(hyp, sort_keys=False))
    (save_dir / "opt.yaml").write_text(yaml.safe_dump(vars(opt), sort_keys=False))

    torch.manual_seed(0)
    ckpt = torch.load(last, weights_only=False) if opt.resume else None
    model = Model().to(device)
    if ckpt is not None:
        model.load_state_dict(ckpt["model"].float().state_dict())
    # A hook reads what is set up here from the variables, used or not.
    amp, gs, imgsz = False, 32, opt.imgsz  # noqa: F841
    nbs = 64
    accumulate = max(round(nbs / batch_size), 1)
    hyp["weight_decay"] *= batch_size * accumulate / nbs
    optimizer = torch.optim.SGD(
        model.parameters(), hyp["lr0"], hyp["momentum"], weight_decay=hyp["weight_decay"]
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda e: 1 - 0.9 * e / epochs)
    ema = ModelEMA(model)
    best_fitness, start_epoch = 0.0, 0
    if ckpt is not None:
        best_fitness, start_epoch, epochs = smart_resume(
            ckpt, optimizer, ema, last, epochs, opt.resume
        )
    del ckpt
    train_loader, dataset = create_dataloader(opt.images, batch_size, imgsz)  # noqa: RUF059
    val_loader, _ = create_dataloader(8, min(batch_size * 2, 8), imgsz, pad=0.5)
    compute_loss = ComputeLoss()
    scaler = torch.amp.GradScaler("cpu", enabled=amp)
    nb = len(train_loader)
    nw = max(round(hyp["warmup_epochs"] * nb), 1)  # noqa: F841
    last_opt_step = start_epoch * nb - 1
    scheduler.last_epoch = start_epoch - 1
    note(opt, "start", epoch=start_epoch, batch=batch_size, accumulate=accumulate, nbs=nbs)
    callbacks.run("on_train_start")
    for epoch in range(start_epoch, epochs):
        callbacks.run("on_train_epoch_start")
        model.train()
        mloss = torch.zeros(3)
        optimizer.zero_grad()
        for i, (imgs, targets) in enumerate(train_loader):
            callbacks.run("on_train_batch_start")
            ni = i + nb * epoch
            pred = model(imgs)
            loss, loss_items = compute_loss(pred, targets)
            scaler.scale(loss).backward()
            model.images_seen += len(imgs)
            if ni - last_opt_step >= accumulate:
                scaler.unscale_(optimizer)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
                ema.update(model)
                last_opt_step = ni
            mloss = (mloss * i + loss_items) / (i + 1)
            note(opt, "batch", epoch=epoch, i=i, images=len(imgs))
            callbacks.run("on_train_batch_end", model, ni, imgs, targets, None, list(mloss))
        lr = [group["lr"] for group in optimizer.param_groups]
        scheduler.step()
        note(opt, "epoch", epoch=epoch)
        callbacks.run("on_train_epoch_end", epoch=epoch)
        final_epoch = epoch + 1 == epochs
        fitness = validate(ema.ema, val_loader, callbacks)
        best_fitness = max(best_fitness, fitness)
        log_vals = [*mloss.tolist(), fitness, *lr]
        add_results(save_dir / "results.csv", epoch, log_vals)
        callbacks.run("on_fit_epoch_end", log_vals, epoch, best_fitness, fitness)
        saved = {
            "epoch": epoch,
            "best_fitness": best_fitness,
            "model": deepcopy(model).half(),
            "ema": deepcopy(ema.ema).half(),
            "updates": ema.updates,
            "optimizer": optimizer.state_dict(),
            "opt": vars(opt),
            "git": GIT_INFO,
            "date": datetime.datetime.now().isoformat(),
        }
        torch.save(saved, last)
        if best_fitness == fitness:
            torch.save(saved, best)
        del saved
        note(opt, "saved", epoch=epoch)
        callbacks.run("on_model_save", last, epoch, final_epoch, best_fitness, fitness)
    for path in (last, best):
        strip_optimizer(path)
    note(opt, "end", images_seen=int(model.images_seen))
    callbacks.run("on_train_end", last, best, epoch, (0, 0, 0, 0, 0, 0, 0))


def validate(model, loader, callbacks):
    """The fitness of the weights."""
    callbacks.run("on_val_start")
    model.eval()
    errors = []
    with torch.no_grad():
        for batch_i, (imgs, targets) in enumerate(loader):
            callbacks.run("on_val_batch_start")
            errors.append(float((model(imgs) - targets).abs().mean()))
            callbacks.run("on_val_batch_end", batch_i, imgs, targets, None, None, None)
    callbacks.run("on_val_end")
    return 1 / (1 + sum(errors) / len(errors))


def add_results(path, epoch, values):
    """One row of the table of results, after its first line where that is missing."""
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow([name.rjust(20) for name in COLUMNS])
        writer.writerow([f"{value:20.5g}" for value in (epoch, *values)])


def strip_optimizer(path):
    """What a finished training leaves of a checkpoint: it cannot be resumed any more."""
    if path.exists():
        saved = torch.load(path, weights_only=False)
        saved |= {"model": saved["ema"], "ema": None, "optimizer": None, "updates": None}
        torch.save(saved | {"best_fitness": None, "epoch": -1}, path)


def note(opt, event, **facts):
    """One line of trained.jsonl, whole even where this process is killed."""
    line = json.dumps({"event": event, "pid": os.getpid(), **facts}) + "\n"
    path = os.path.join(opt.save_dir, "trained.jsonl")
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def parse_opt():
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", default="")
    parser.add_argument("--cfg", default="miniature.yaml")
    parser.add_argument("--data", default="made-up")
    parser.add_argument("--hyp", default="")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--imgsz", type=int, default=64)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--multi-scale", action="store_true")
    parser.add_argument("--resume", nargs="?", const=True, default=False)
    parser.add_argument("--cache", nargs="?", const="ram")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--freeze", nargs="+", type=int, default=[0])
    parser.add_argument("--project", default="runs/train")
    parser.add_argument("--name", default="exp")
    parser.add_argument("--exist-ok", action="store_true")
    return parser.parse_args()


def main(opt, callbacks=Callbacks()):  # noqa: B008 (the hook recognises a training by this)
    if opt.resume:
        last = Path(opt.resume)
        options = yaml.safe_load((last.parent.parent / "opt.yaml").read_text())
        opt = argparse.Namespace(**options)
        opt.weights, opt.resume = str(last), True
    else:
        save_dir = Path(opt.project) / opt.name
        assert opt.exist_ok or not save_dir.exists(), f"{save_dir} exists"
        opt.save_dir = str(save_dir)
        opt.hyp = opt.hyp or dict(HYP)
    torch.set_num_threads(1)
    train(opt.hyp, opt, torch.device(opt.device), callbacks)


if __name__ == "__main__":
    main(parse_opt())
