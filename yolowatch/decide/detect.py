"""What ended an attempt: one verdict from the exit status and from what the hook said.

An out-of-memory failure is recognised by the type and the whole form of the exception that ended
the process, never by what the program printed, and only when nothing else explains the end: a
program that finished, that was asked to stop or that handled the failure itself needs no remedy.
Why a device had too little is asked in `detect_device`, and of the host's memory in `host`.
"""

from __future__ import annotations

from yolowatch.decide import ranks
from yolowatch.decide.detect_device import device_cause, is_tight
from yolowatch.decide.detect_wording import ending, evidence, quoted, sentence, where
from yolowatch.decide.host import Cause, host_cause, was_killed
from yolowatch.decide.texts import Form, Source, parse_capacity, recognise
from yolowatch.decide.texts_faults import device_fault
from yolowatch.model.device import DeviceUser
from yolowatch.model.printable import printable
from yolowatch.model.quantity import bytes_text
from yolowatch.model.run import LastWords, Memory, RunState
from yolowatch.model.surroundings import Around
from yolowatch.model.thresholds import Thresholds
from yolowatch.model.verdict import Kind, Verdict

_SIGINT, _SIGTERM, _SIGHUP = 2, 15, 1
_STOPPING_SIGNALS = (_SIGHUP, _SIGINT, _SIGTERM)
_LAST_SIGNAL = 64

# Where the interpreter's own MemoryError says that the training step does not fit; elsewhere (a
# cache, a worker, the program's own lists) a smaller batch is no answer.
_WORK_PHASES = ("forward", "loss", "backward", "optimizer", "validation")

_TIGHT = 0.05  # of the capacity: with less left, a failure that gives no reason is one of memory
_NOTHING, _DEFAULTS = Around(), Thresholds()


def classify(
    state: RunState,
    *,
    exit_status: int | None,
    exit_signal: int | None,
    asked_to_stop: bool,
    around: Around = _NOTHING,
    thresholds: Thresholds = _DEFAULTS,
) -> Verdict:
    """The verdict on an attempt that has ended.

    `exit_status` and `exit_signal` are as the parent reads them, at most one of them known;
    `asked_to_stop` says that a person asked for the end, by Ctrl-C or through the supervisor. With
    neither status nor signal known only what the hook said counts: that the training is finished,
    or that an exception was about to end the process. Unknown is not a failure.
    """
    words = state.last_words
    if words is None and exit_status is not None and 128 < exit_status <= 128 + _LAST_SIGNAL:
        # A shell in between passes its child's signal on like this.
        exit_signal, exit_status = exit_status - 128, None
    if asked_to_stop or exit_signal == _SIGINT:
        return Verdict(Kind.INTERRUPTED, "Stopped on request.", evidence=ending(exit_signal))
    if exit_status == 0 and (state.finished or words is None):
        return Verdict(Kind.FINISHED, "The training finished.")
    unknown = exit_status is None and exit_signal is None
    if (unknown or exit_signal) and was_killed(state, exit_signal, around.oom_kills):
        return _killed(state, around, exit_signal)
    if unknown and state.finished:
        return Verdict(Kind.FINISHED, "The training finished.")
    if unknown and (words is None or words.handled):
        return Verdict(Kind.OBSERVED, "How it ended is not known.", evidence=quoted(words))
    if words is not None:
        return _by_last_words(state, words, exit_signal, around, thresholds)
    if exit_signal is not None:
        return _by_signal(exit_signal, state, around)
    if not state.hooked:
        return Verdict(
            Kind.OBSERVED,
            f"It ended with status {exit_status}; no hook ever spoke, so only that is known.",
        )
    return Verdict(
        Kind.OBSERVED,
        f"It ended with status {exit_status} and no exception was seen.",
        evidence=quoted(words),
    )


def _killed(state: RunState, around: Around, exit_signal: int | None) -> Verdict:
    """By the kernel, for want of the host's memory; on the CPU that is what a batch takes, unless
    all images are cached in it.
    """
    memory, spec = state.memory, state.spec
    on_cpu = spec is not None and (spec.device or "").startswith("cpu") and spec.cache != "ram"
    kills = f"killed for want of memory in its control group: {around.oom_kills}"
    facts = (kills, *ending(exit_signal))
    if on_cpu:
        used, capacity = bytes_text(memory.allocated_bytes), bytes_text(memory.capacity_bytes)
        said = f"The kernel killed it for want of memory; last seen: {used} in use of {capacity}."
        found = where(state, state.place)
        return Verdict(Kind.CPU_OOM, said, found, facts, capacity_bytes=memory.capacity_bytes)
    said = f"Host out of memory {Cause.KILLED.value}."
    return Verdict(Kind.HOST_OOM, said, evidence=facts)


def _by_signal(signal: int, state: RunState, around: Around) -> Verdict:
    if signal in _STOPPING_SIGNALS:
        return Verdict(Kind.INTERRUPTED, f"Stopped by signal {signal}.", evidence=ending(signal))
    said = f"Killed by signal {signal}, which nobody here sent; the cause is not known"
    facts = ending(signal) + _xids(around)
    if around.xids:
        said = f"Killed by signal {signal} after a critical error of the GPU"
        return Verdict(Kind.DEVICE_FAULT, f"{said}: see the kernel log.", evidence=facts)
    memory = state.memory
    if _was_tight(memory):
        # Native code that gets no memory often crashes: a hint for a person, not a proof.
        used, capacity = bytes_text(memory.allocated_bytes), bytes_text(memory.capacity_bytes)
        said += f", but memory was short: {used} in use of {capacity}"
    return Verdict(Kind.KILLED, f"{said}.", evidence=facts)


def _by_last_words(
    state: RunState,
    words: LastWords,
    exit_signal: int | None,
    around: Around,
    thresholds: Thresholds,
) -> Verdict:
    if words.exception.rpartition(".")[2] == "KeyboardInterrupt":
        return Verdict(Kind.INTERRUPTED, "Stopped by Ctrl-C.", evidence=quoted(words))
    cause = host_cause(state, words)
    if cause is not None and not words.handled:
        return _host_oom(state, words, cause, exit_signal)
    form = recognise(words.exception, words.text)
    doubt = _doubt(state, words, form, around) if form is not None else None
    if form is None or doubt is not None:
        if words.handled and exit_signal is not None:
            return _by_signal(exit_signal, state, around)
        return _no_oom(words, form, doubt, around)
    figures = parse_capacity(words.text)
    device = form.source is Source.DEVICE
    capacity = figures.capacity if device else None
    if capacity is None:
        capacity = words.memory.capacity_bytes
    kind = Kind.CUDA_OOM if device else Kind.CPU_OOM
    said = sentence(words, form, figures, capacity)
    neighbours: tuple[DeviceUser, ...] = ()
    if words.handled:
        kind = Kind.HANDLED_OOM
        said = f"The program itself handled a failure: {said}"
    elif device:
        found = device_cause(state, words, form, figures, around, thresholds)
        if found is not None:
            kind, neighbours = found.kind, found.neighbours
            said = f"{said} {found.sentence}"
    return Verdict(
        kind=kind,
        sentence=said,
        where=where(state, words.place),
        evidence=evidence(state, words, figures, capacity) + ending(exit_signal) + _xids(around),
        capacity_bytes=capacity,
        neighbours=neighbours,
        device_index=around.device.index if around.device is not None else None,
    )


def _no_oom(words: LastWords, form: Form | None, doubt: str | None, around: Around) -> Verdict:
    """What is never answered with a smaller footprint, whatever else its text says."""
    name = printable(words.exception.rpartition(".")[2], 60)
    facts = quoted(words) + _xids(around)
    fault = device_fault(words.exception, words.text)
    disguised = form is not None and form.disguised and form.source is Source.DEVICE
    if words.handled:
        pass  # the program's own affair
    elif fault is not None or (disguised and around.xids):
        what = f"{name} ({fault})" if fault is not None else f"{name} after an XID"
        said = f"The device failed: {what}. No memory was lacking, and a smaller batch is no cure."
        return Verdict(Kind.DEVICE_FAULT, said, evidence=facts)
    elif disguised:
        assert form is not None
        said = f"The library {form.name} failed with {name}, which is not acted upon: {doubt}."
        return Verdict(Kind.LIBRARY, said, evidence=facts)
    elif form is None and ranks.is_echo(words):
        said = f"It ended with {name}: another rank is gone, and none said why."
        return Verdict(Kind.RANK_LOST, said, evidence=facts)
    said = f"It ended with {name}, which is no lack of memory that a smaller batch answers."
    if doubt is not None:
        said = f"It ended with {name}, which is not acted upon: {doubt}."
    return Verdict(Kind.ERROR, said, evidence=facts)


_OF_CAUSE = {Cause.SHARED: Kind.SHARED_MEMORY, Cause.PINNED: Kind.PINNED_MEMORY}


def _host_oom(state: RunState, words: LastWords, cause: Cause, exit_signal: int | None) -> Verdict:
    figures, capacity = parse_capacity(words.text), words.memory.capacity_bytes
    kind, said = _OF_CAUSE.get(cause, Kind.HOST_OOM), f"Host out of memory {cause.value}."
    cached = state.spec is not None and state.spec.cache == "ram"
    if kind is Kind.HOST_OOM and cached and state.ranks > 1:
        kind = Kind.RAM_CACHE
        said = f"{said} Each of {state.ranks} ranks caches all images in memory of its own."
    facts = evidence(state, words, figures, capacity) + ending(exit_signal)
    return Verdict(kind, said, where(state, words.place), facts, capacity)


def _doubt(state: RunState, words: LastWords, form: Form, around: Around) -> str | None:
    """What speaks against a memory failure that the text alone suggests, or None."""
    place = words.place
    device = state.spec.device if state.spec is not None else None
    if form.source is Source.DEVICE and form.disguised:
        if device is not None and device.startswith("cpu"):
            return "the training is on the CPU"
        if around.xids:
            return "the driver told of a critical error of the GPU"
        if not is_tight(words.memory, _TIGHT):
            return "it may have other causes, and memory was not seen to be short"
        return None
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
    """On the CPU, where reserved and allocated are the same."""
    return is_tight(memory, _TIGHT)


def _xids(around: Around) -> tuple[str, ...]:
    """That the driver told of critical errors while the attempt ran."""
    device = around.device
    if not around.xids or device is None:
        return ()
    newest = "" if device.last_xid is None else f", the last of them XID {device.last_xid}"
    return (f"{around.xids} critical errors of GPU {device.index}{newest}",)
