"""What the hook would say of a simulated training: its own footprints, folded as the daemon does.

The real `hook.footprint` reads a stand-in for the allocator, so that what is exact, what is only a
lower bound and what is not looked at at all is as in a real training.
"""

from __future__ import annotations

from typing import Any

from bench.world.nature import Setting
from bench.world.playing import Batch
from bench.world.population import EPOCHS, Case
from yolowatch.hook.footprint import Footprints
from yolowatch.model.fold import fold
from yolowatch.model.run import LastWords, Memory, Place, RunSpec, RunState

_VERSIONS = {"ultralytics": "8.4.190", "yolov5": "7.0.14", "yolov9": "1.1.0"}
_DECAY = 0.0005


class _Allocator:
    """What the training has in use now, and the most that it ever had."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def used(self) -> int:
        return self.now

    def peak(self) -> int:
        return self.most


def described(case: Case, setting: Setting, *, resumed: bool, decay: float = _DECAY) -> RunSpec:
    """The run as its trainer would describe it."""
    truth, (least, most) = case.truth, setting.sizes
    return RunSpec(
        trainer=case.trainer,
        trainer_version=_VERSIONS[case.trainer],
        entry="command",
        train_calls=1,
        run_dir="/runs/train",
        model=f"{case.network}.yaml",
        task="detect",
        batch=setting.batch,
        accumulate=setting.accumulate,
        nbs=setting.nbs,
        weight_decay=decay,
        epochs=EPOCHS,
        start_epoch=0,
        image_size=setting.size,
        image_size_max=most,
        image_size_min=least,
        stride=32,
        precision="fp16" if setting.amp else "fp32",
        optimizer=case.optimizer,
        optimizer_state_bytes=round(truth.state_ratio * truth.parameter_bytes),
        optimizer_state_exists=False,
        parameter_bytes=round(truth.parameter_bytes),
        device="cuda:0",
        train_images=case.images,
        validation_batch=setting.validation_batch,
        resumed=resumed,
        multi_scale=setting.ratio,
        autocast="fp16",
        checkpointable=10,
        checkpointed=10 if setting.checkpointing else 0,
        classes=80,
        gpu="A card",
    )


class Teller:
    """The hook of one attempt, and what the daemon makes of it."""

    def __init__(self, case: Case, setting: Setting, attempt: int) -> None:
        self._case = case
        self._allocator = _Allocator()
        self._prints = Footprints(self._allocator)
        self._prints.pause_seconds = 1e9  # a window of the hook is shorter than all of this
        self.state = RunState(attempt)
        self.fold("hello", {"pid": 1, "python": "3.12.0", "torch": "2.15.0"})
        self.describe(setting)

    def describe(self, setting: Setting) -> None:
        """The trainer is configured like this now."""
        spec = described(self._case, setting, resumed=self.state.attempt > 0)
        stepped = any(each.phase == "optimizer" for each in self.state.footprints)
        known = {k: v for k, v in vars(spec).items() if v is not None}
        self.fold("run", {**known, "optimizer_state_exists": stepped})

    def fold(self, kind: str, fields: dict[str, Any]) -> None:
        self.state = fold(self.state, kind, fields, 0.0)

    def see(self, batch: Batch) -> None:
        """One batch went well; the daemon hears of it at the next window."""
        taken = batch.taken
        phase = "backward" if batch.phase == "training" else "validation"
        self._use(taken.base)
        self._prints.begin(phase, batch.images, batch.side, batch.side, batch.boxes)
        self._use(taken.held)
        if batch.phase == "training":
            self._prints.forward_end()
        self._use(taken.peak)
        self._use(taken.base)
        self._prints.end()
        if batch.phase == "training" and (batch.step + 1) % batch.accumulate == 0:
            self._prints.phase_end("optimizer")

    def window(self, batch: Batch) -> bool:
        """What the hook sends about once a second; whether a batch was told of."""
        self.fold("sample", {**self._place(batch), **self._memory(batch)})
        items = self._prints.take()
        if items:
            self.fold("footprints", {"items": items})
        return bool(items)

    def fail(self, batch: Batch) -> None:
        """The last words: an allocation that did not fit, as torch words it."""
        items = self._prints.take(1 << 20)
        if items:
            self.fold("footprints", {"items": items})
        taken, lost = batch.taken, batch.taken.reserved - batch.taken.peak
        asked = max(0.06 * (taken.peak - taken.base), 2.0 * (1 << 20))
        short = taken.reserved - batch.available
        allocated = round(taken.peak - max(asked, short))
        asked = round(taken.peak - allocated)
        free = max(round(batch.available - allocated - lost), 0)
        memory = Memory(
            allocated_bytes=allocated,
            reserved_bytes=round(allocated + lost),
            peak_bytes=max(self._allocator.most, allocated),
            capacity_bytes=round(allocated + lost + free),
            ooms=1,
        )
        text = (
            f"CUDA out of memory. Tried to allocate {asked} bytes. GPU 0 has a total capacity of "
            f"{round(batch.available)} bytes of which {free} bytes is free. Of the allocated "
            f"memory {allocated} bytes is allocated by PyTorch, and {round(lost)} bytes is "
            "reserved by PyTorch but unallocated."
        )
        place = Place(**self._place(batch))
        words = LastWords(
            0.0, "torch.OutOfMemoryError", text, place, memory, (), asked, free, 1, False
        )
        self.state = RunState(**{**vars(self.state), "last_words": words})

    def _use(self, count: float) -> None:
        self._allocator.now = round(count)
        self._allocator.most = max(self._allocator.most, round(count))

    def _place(self, batch: Batch) -> dict[str, Any]:
        phases = {"loss": "loss", "backward": "backward", "optimizer": "optimizer"}
        return {
            "phase": phases.get(batch.taken.phase, "validation"),
            "epoch": batch.epoch,
            "step": batch.step,
            "batch": batch.images,
            "height": batch.side,
            "width": batch.side,
            "accumulate": batch.accumulate,
            "boxes": batch.boxes,
        }

    def _memory(self, batch: Batch) -> dict[str, Any]:
        reserved = max(self._allocator.most, round(batch.taken.base))
        return {
            "allocated_bytes": self._allocator.now,
            "reserved_bytes": reserved,
            "peak_bytes": self._allocator.most,
            "capacity_bytes": round(batch.available),
            "retries": 0,
            "ooms": 0,
        }
