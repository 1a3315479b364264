"""What ended an attempt: one verdict from the exit status and from what the hook said.

An out-of-memory failure is recognised by the type and the whole form of the exception that ended
the process, never by what the program printed, and only when nothing else explains the end: a
program that finished, that was asked to stop or that handled the failure itself needs no remedy.
"""

from __future__ import annotations

from yolowatch.decide.host import Cause, host_cause
from yolowatch.decide.texts import Figures, Form, Source, parse_capacity, recognise
from yolowatch.model.printable import printable
from yolowatch.model.quantity import bytes_text
from yolowatch.model.run import LastWords, Memory, RunState
from yolowatch.model.verdict import Kind, Verdict, Where

_SIGINT, _SIGTERM, _SIGHUP = 2, 15, 1
_STOPPING_SIGNALS = (_SIGHUP, _SIGINT, _SIGTERM)
_LAST_SIGNAL = 64

# Where the interpreter's own MemoryError says that the training step does not fit; elsewhere (a
# cache, a worker, the program's own lists) a smaller batch is no answer.
_WORK_PHASES = ("forward", "loss", "backward", "optimizer", "validation")

_TIGHT = 0.95  # of the capacity in use: then a failure that gives no reason is one of memory
_STEP_PHASES = ("forward", "loss", "backward")
_SIMPLE = {"setup": Where.SETUP, "validation": Where.VALIDATION, "save": Where.SAVE}


def classify(
    state: RunState, *, exit_status: int | None, exit_signal: int | None, asked_to_stop: bool
) -> Verdict:
    """The verdict on an attempt that has ended.

    `exit_status` and `exit_signal` are as the parent reads them, at most one of them known;
    `asked_to_stop` says that a person asked for the end, by Ctrl-C or through the supervisor. With
    neither status nor signal known only what the hook said counts: that the training is finished,
    or that an exception was about to end the process. Unknown is not a failure.
    """
    words = state.last_words
    form = recognise(words.exception, words.text) if words is not None else None
    if words is None and exit_status is not None and 128 < exit_status <= 128 + _LAST_SIGNAL:
        # A shell in between passes its child's signal on like this.
        exit_signal, exit_status = exit_status - 128, None
    if asked_to_stop or exit_signal == _SIGINT:
        return Verdict(Kind.INTERRUPTED, "Stopped on request.", evidence=_ending(exit_signal))
    if exit_status == 0 and (state.finished or words is None):
        return Verdict(Kind.FINISHED, "The training finished.")
    unknown = exit_status is None and exit_signal is None
    if unknown and state.finished:
        return Verdict(Kind.FINISHED, "The training finished.")
    if unknown and (words is None or words.handled):
        return Verdict(Kind.OBSERVED, "How it ended is not known.", evidence=_quoted(words))
    if words is not None:
        return _by_last_words(state, words, form, exit_signal)
    if exit_signal is not None:
        return _by_signal(exit_signal, state)
    if not state.hooked:
        return Verdict(
            Kind.OBSERVED,
            f"It ended with status {exit_status}; no hook ever spoke, so only that is known.",
        )
    return Verdict(
        Kind.OBSERVED,
        f"It ended with status {exit_status} and no exception was seen.",
        evidence=_quoted(words),
    )


def _by_signal(signal: int, state: RunState) -> Verdict:
    if signal in _STOPPING_SIGNALS:
        return Verdict(Kind.INTERRUPTED, f"Stopped by signal {signal}.", evidence=_ending(signal))
    sentence = f"Killed by signal {signal}, which nobody here sent; the cause is not known"
    memory = state.memory
    if _was_tight(memory):
        # Native code that gets no memory often crashes: a hint for a person, not a proof.
        used, capacity = bytes_text(memory.allocated_bytes), bytes_text(memory.capacity_bytes)
        sentence += f", but memory was short: {used} in use of {capacity}"
    return Verdict(Kind.KILLED, f"{sentence}.", evidence=_ending(signal))


def _by_last_words(
    state: RunState, words: LastWords, form: Form | None, exit_signal: int | None
) -> Verdict:
    if words.exception.rpartition(".")[2] == "KeyboardInterrupt":
        return Verdict(Kind.INTERRUPTED, "Stopped by Ctrl-C.", evidence=_quoted(words))
    cause = host_cause(state, words)
    if cause is not None and not words.handled:
        return _host_oom(state, words, cause, exit_signal)
    doubt = _doubt(state, words, form) if form is not None else None
    if form is None or doubt is not None:
        if words.handled and exit_signal is not None:
            return _by_signal(exit_signal, state)
        name = printable(words.exception.rpartition(".")[2], 60)
        sentence = f"It ended with {name}, which is no lack of memory that a smaller batch answers."
        if doubt is not None:
            sentence = f"It ended with {name}, which is not acted upon: {doubt}."
        return Verdict(Kind.ERROR, sentence, evidence=_quoted(words))
    figures = parse_capacity(words.text)
    device = form.source is Source.DEVICE
    capacity = figures.capacity if device else None
    if capacity is None:
        capacity = words.memory.capacity_bytes
    kind = Kind.CUDA_OOM if device else Kind.CPU_OOM
    sentence = _sentence(words, form, figures, capacity)
    if words.handled:
        kind = Kind.HANDLED_OOM
        sentence = f"The program itself handled a failure: {sentence}"
    return Verdict(
        kind=kind,
        sentence=sentence,
        where=_where(state, words),
        evidence=_evidence(state, words, figures, capacity) + _ending(exit_signal),
        capacity_bytes=capacity,
    )


def _host_oom(state: RunState, words: LastWords, cause: Cause, exit_signal: int | None) -> Verdict:
    figures, capacity = parse_capacity(words.text), words.memory.capacity_bytes
    return Verdict(
        Kind.HOST_OOM,
        f"Host out of memory {cause.value}.",
        _where(state, words),
        _evidence(state, words, figures, capacity) + _ending(exit_signal),
        capacity,
    )


def _doubt(state: RunState, words: LastWords, form: Form) -> str | None:
    """What speaks against a memory failure that the text alone suggests, or None."""
    place = words.place
    device = state.spec.device if state.spec is not None else None
    if form.source is Source.DEVICE:
        typed = words.exception.rpartition(".")[2] != "RuntimeError"
        if not typed and words.memory.ooms == 0:
            return "the allocator itself counted no failure"
        return None
    if device is None:
        return "it is the host's memory, and which device is trained on is not known"
    if not device.startswith("cpu"):
        return f"it is the host's memory, and the training is on {printable(device, 20)}"
    untold = form.source is Source.PYTHON or form.name == "bad-alloc" or form.disguised
    if form.name == "save-cut-short" and place.phase != "save":
        return "a file was closed too early, and no checkpoint was being saved"
    in_tight_save = place.phase == "save" and _was_tight(words.memory)
    if untold and place.phase not in _WORK_PHASES and not in_tight_save:
        return f"it came outside the training step (phase {place.phase or 'unknown'})"
    if form.disguised and not _was_tight(words.memory):
        return "it may have other causes, and memory was not seen to be short"
    return None


def _was_tight(memory: Memory) -> bool:
    """Whether nearly all of the capacity was in use; False where that is not known."""
    used = max(memory.allocated_bytes or 0, memory.peak_bytes or 0)
    return memory.capacity_bytes is not None and used >= _TIGHT * memory.capacity_bytes


def _where(state: RunState, words: LastWords) -> Where:
    place, spec = words.place, state.spec
    phase = place.phase or ""
    if phase in _SIMPLE:
        return _SIMPLE[phase]
    if phase == "optimizer":
        first = _first_optimizer_step(state, words)
        return Where.FIRST_OPTIMIZER_STEP if first else Where.OPTIMIZER
    if phase not in _STEP_PHASES:
        return Where.UNKNOWN
    if spec is None or spec.image_size is None or spec.image_size_max is None:
        return Where.STEP
    side = max(place.height or 0, place.width or 0)
    if side > spec.image_size and spec.image_size_max > spec.image_size:
        return Where.MULTI_SCALE_PEAK
    return Where.STEP


def _first_optimizer_step(state: RunState, words: LastWords) -> bool:
    if any(each.phase == "optimizer" for each in state.footprints):
        return False
    exists = state.spec.optimizer_state_exists if state.spec is not None else None
    if exists is not None:
        return not exists
    step, accumulate = words.place.step, words.place.accumulate
    return step is not None and accumulate is not None and step < accumulate


def _sentence(words: LastWords, form: Form, figures: Figures, capacity: int | None) -> str:
    place = words.place
    match = form.pattern.match(words.text)
    device = (match.groupdict().get("device") if match else None) or "CUDA"
    parts = [f"{device.upper() if form.source is Source.DEVICE else 'CPU'} out of memory"]
    if place.phase:
        parts.append(f"in {'the optimizer step' if place.phase == 'optimizer' else place.phase}")
    if place.height and place.width:
        parts.append(f"at {max(place.height, place.width)} px")
    if place.batch:
        parts.append(f"with batch {place.batch}")
    if place.epoch is not None:
        parts.append(f"(epoch {place.epoch + 1})")
    sentence = " ".join(parts)
    used = figures.allocated if figures.allocated is not None else words.memory.allocated_bytes
    if used is not None:
        sentence += f": {bytes_text(used)} in use"
        if capacity is not None:
            sentence += f" of {bytes_text(capacity)}"
    return sentence + "."


def _evidence(
    state: RunState, words: LastWords, figures: Figures, capacity: int | None
) -> tuple[str, ...]:
    place, memory = words.place, words.memory
    facts = list(_quoted(words))
    if place.phase:
        facts.append(f"phase {place.phase}")
    if place.batch and place.height and place.width:
        facts.append(f"batch {place.batch} at {place.width} x {place.height} px")
    if place.boxes:
        facts.append(f"{place.boxes} labelled boxes in the batch")
    requested = figures.requested if figures.requested is not None else words.requested_bytes
    allocated = figures.allocated if figures.allocated is not None else memory.allocated_bytes
    figure_of = {
        "requested": requested,
        "allocated": allocated,
        "reserved": memory.reserved_bytes,
        "reserved but unallocated": figures.reserved_unallocated,
        "capacity": capacity,
        "device free": figures.free if figures.free is not None else words.device_free_bytes,
    }
    facts += [f"{name} {bytes_text(n)}" for name, n in figure_of.items() if n is not None]
    if state.retries:
        facts.append(f"the trainer itself had retried {len(state.retries)} times with less")
    return tuple(facts)


def _quoted(words: LastWords | None) -> tuple[str, ...]:
    if words is None:
        return ()
    name = printable(words.exception, 80)
    text = printable(words.text, 300)
    return (f"{name}: {text}" if text else name,)


def _ending(exit_signal: int | None) -> tuple[str, ...]:
    return () if exit_signal is None else (f"ended by signal {exit_signal}",)
