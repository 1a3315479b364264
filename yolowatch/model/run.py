"""A run: what is trained (`RunSpec`) and how far it is (`RunState`), as its hooks told.

None is unknown everywhere, and unknown is not zero.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunSpec:
    """What the trainer set up, as the hook read it from the trainer itself.

    Sizes are in pixels, memory in bytes, epochs counted from 0. None is unknown.
    """

    trainer: str
    trainer_version: str | None = None
    entry: str | None = None
    train_calls: int | None = None
    run_dir: str | None = None
    model: str | None = None
    data: str | None = None
    task: str | None = None
    batch: int | None = None
    accumulate: int | None = None
    nbs: int | None = None
    weight_decay: float | None = None
    effective_weight_decay: float | None = None
    epochs: int | None = None
    start_epoch: int | None = None
    image_size: int | None = None
    image_size_max: int | None = None
    image_size_min: int | None = None
    stride: int | None = None
    warmup_epochs: float | None = None
    precision: str | None = None
    optimizer: str | None = None
    optimizer_state_bytes: int | None = None
    optimizer_state_exists: bool | None = None
    parameter_bytes: int | None = None
    device: str | None = None
    train_images: int | None = None
    validation_batch: int | None = None
    resumed: bool | None = None
    multi_scale: float | None = None  # sizes from 1 - this to 1 + this, of `image_size`
    autocast: str | None = None  # the best mixed precision that device and trainer offer
    checkpointable: int | None = None  # blocks whose activations can be checkpointed
    checkpointed: int | None = None
    allocator: str | None = None  # the settings of the CUDA allocator
    workers: int | None = None  # processes that load images for the training
    cache: str | None = None  # where images are cached: "ram", "disk" or "none"
    pin_memory: bool | None = None
    freezable: int | None = None  # layers of the backbone, the first ones of the model
    frozen: int | None = None  # so many of the first layers are not trained
    pruned: float | None = None  # part of the parameters that was taken away
    prunable: bool | None = None  # whether the package for it is there
    eight_bit: bool | None = None  # whether the package for 8-bit optimizers is there
    guarded: bool | None = None  # the range of sizes is capped for the first batches
    releasing: bool | None = None  # it gives cached memory back between the phases
    leaving: bool | None = None  # it ends as soon as this epoch is saved
    classes: int | None = None
    gpu: str | None = None  # its name, as its driver has it
    gpu_number: int | None = None  # of its CUDA device, as it numbers all devices itself
    renumbered: bool | None = None  # by its environment, which hides devices or orders them
    spawnable: bool | None = None  # its trainer can spawn ranks that train as it does alone

    @property
    def effective_batch(self) -> int | None:
        """Images an optimizer step, after warm-up."""
        if self.batch is None or self.accumulate is None or self.batch < 1:
            return None
        return self.batch * self.accumulate


@dataclass(frozen=True, slots=True)
class Place:
    """Where in its training a process stands."""

    phase: str | None = None
    epoch: int | None = None
    step: int | None = None
    batch: int | None = None
    height: int | None = None
    width: int | None = None
    accumulate: int | None = None
    boxes: int | None = None

    @property
    def pixels(self) -> int | None:
        """Batch x height x width, the quantity that activations grow with."""
        if self.batch is None or self.height is None or self.width is None:
            return None
        return self.batch * self.height * self.width


@dataclass(frozen=True, slots=True)
class Memory:
    """What the allocator says; on the CPU `allocated` and `reserved` are what the cap counts."""

    allocated_bytes: int | None = None
    reserved_bytes: int | None = None
    inactive_split_bytes: int | None = None
    peak_bytes: int | None = None
    capacity_bytes: int | None = None
    retries: int | None = None
    ooms: int | None = None
    active_bytes: int | None = None  # allocated, and freed ones that a stream may still use

    @property
    def headroom_bytes(self) -> int | None:
        """What could still be allocated."""
        if self.capacity_bytes is None or self.allocated_bytes is None:
            return None
        return max(self.capacity_bytes - self.allocated_bytes, 0)


@dataclass(frozen=True, slots=True)
class Sample:
    """One window of about a second."""

    at: float
    place: Place
    memory: Memory
    seconds: float | None = None
    steps: int | None = None
    allocated_min_bytes: int | None = None
    allocated_max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one batch took.

    `base_bytes` was in use when the batch began, `peak_bytes` the most while it was worked on.
    `exact` says that the allocator's own high-water mark rose in this batch, so that the peak is
    its own; otherwise it is only what was seen at the ends of the phases, a lower bound.
    """

    phase: str
    batch: int
    height: int
    width: int
    boxes: int | None
    base_bytes: int | None
    peak_bytes: int
    exact: bool
    epoch: int | None = None

    @property
    def pixels(self) -> int:
        return self.batch * self.height * self.width


@dataclass(frozen=True)
class Retry:
    """The trainer met an out-of-memory failure and went on by itself with a smaller batch."""

    at: float
    place: Place
    batch_before: int | None
    text: str


@dataclass(frozen=True)
class LastWords:
    """What the hook said when an exception was about to end the process."""

    at: float
    exception: str
    text: str
    place: Place
    memory: Memory
    frames: tuple[str, ...] = ()
    requested_bytes: int | None = None
    device_free_bytes: int | None = None
    train_calls: int | None = None
    handled: bool = False


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint that the trainer says it has completed."""

    at: float
    path: str
    epoch: int
    step: int | None = None  # training batches of the attempt until then


@dataclass(frozen=True)
class EmergencySave:
    """What a failed training saved of itself, counted in epochs from 0.

    `complete` says that nothing of epoch `epoch` but its validation is missing; then `losses` and
    `rates` are the figures that its row of results shows. Otherwise the weights are in the middle
    of the epoch after it.
    """

    at: float
    epoch: int
    complete: bool
    step: int | None = None
    losses: tuple[float, ...] = ()
    loss_names: tuple[str, ...] = ()
    rates: tuple[float, ...] = ()


@dataclass(frozen=True)
class Rank:
    """Which of the processes of one training this is, as its launcher told it; None is unknown."""

    number: int
    ranks: int
    ranks_here: int | None = None  # those on this machine
    max_restarts: int | None = None  # of failed ranks, by the launcher itself


@dataclass(frozen=True)
class Ack:
    """A hook's answer to an order; a refusal after it was accepted takes that back."""

    id: int
    accepted: bool
    reason: str | None = None


@dataclass(frozen=True)
class Rescue:
    """A failure that would have ended the process, and was answered in it.

    `what` is "validation", with its batch before and after, or "step", with the number of blocks
    whose activations are computed again since.
    """

    at: float
    what: str
    place: Place
    memory: Memory
    exception: str
    text: str
    before: int | None = None
    after: int | None = None
    blocks: int | None = None


@dataclass(frozen=True)
class Released:
    """How often cached memory was given back, how long that took in all, and the most of it."""

    times: int = 0
    seconds: float = 0.0
    most_bytes: int | None = None


@dataclass(frozen=True)
class RunState:
    """Everything the hooks of one attempt have said, folded."""

    attempt: int
    spec: RunSpec | None = None
    rank: Rank | None = None
    place: Place = Place()
    memory: Memory = Memory()
    python: str | None = None
    torch: str | None = None
    hook: str | None = None
    connected: int = 0
    last_epoch_ended: int | None = None
    checkpoint: SavedCheckpoint | None = None
    emergency: EmergencySave | None = None
    last_words: LastWords | None = None
    finished: bool = False
    dropped: int = 0
    faults: int = 0
    fault_text: str | None = None
    samples: tuple[Sample, ...] = ()
    footprints: tuple[Footprint, ...] = ()
    retries: tuple[Retry, ...] = ()
    acks: tuple[Ack, ...] = ()
    rescues: tuple[Rescue, ...] = ()
    released: Released = Released()
    left: int | None = None  # the epoch after which the process ends, as ordered
    messages: int = 0

    @property
    def ranks(self) -> int:
        """How many processes share one batch: what `spec` says of it is for all of them."""
        return self.rank.ranks if self.rank is not None else 1

    @property
    def hooked(self) -> bool:
        """Whether a hook ever spoke: without one only the outside of the process is known."""
        return self.messages > 0
