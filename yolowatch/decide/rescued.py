"""What a failure that was answered in the process itself comes to: its verdict and its change."""

from __future__ import annotations

from yolowatch.decide.texts import Source, recognise
from yolowatch.model.plan import COSTS, Cost, Edits, LeverUse
from yolowatch.model.printable import printable
from yolowatch.model.quantity import bytes_text
from yolowatch.model.run import Rescue, RunState
from yolowatch.model.verdict import Kind, Verdict, Where

VALIDATION = "validation"


def verdict_of(rescue: Rescue, state: RunState) -> Verdict:
    """A memory failure, as the hook took it: what it says of itself is quoted."""
    form = recognise(rescue.exception, rescue.text)
    device = state.spec.device if state.spec is not None else None
    on_device = form is not None and form.source is Source.DEVICE
    cpu = not on_device if form is not None else device is not None and device.startswith("cpu")
    place, validation = rescue.place, rescue.what == VALIDATION
    sentence = f"{'CPU' if cpu else 'CUDA'} out of memory in {place.phase or rescue.what}"
    if place.height and place.width:
        sentence += f" at {max(place.height, place.width)} px"
    if place.batch:
        sentence += f" with batch {place.batch}"
    facts = [f"{printable(rescue.exception, 80)}: {printable(rescue.text, 300)}"]
    capacity = rescue.memory.capacity_bytes
    if capacity is not None:
        facts.append(f"capacity {bytes_text(capacity)}")
    return Verdict(
        Kind.CPU_OOM if cpu else Kind.CUDA_OOM,
        f"{sentence}.",
        Where.VALIDATION if validation else Where.STEP,
        tuple(facts),
        capacity,
    )


def changes_of(rescue: Rescue) -> tuple[LeverUse, Edits]:
    """What is otherwise in the training since then."""
    if rescue.what == VALIDATION:
        use = LeverUse(
            "validation batch",
            COSTS["validation batch"],
            f"validation batch {rescue.before}",
            f"validation batch {rescue.after}",
            "the validation ran again from its beginning",
        )
        return use, Edits(validation_batch=rescue.after)
    use = LeverUse(
        "checkpointing",
        Cost.COMPENSATED,
        "all activations kept",
        f"activations of {rescue.blocks or 'the big'} blocks computed again",
        "the step ran again, from the same random numbers and BatchNorm statistics",
    )
    return use, Edits(checkpointing=True)
