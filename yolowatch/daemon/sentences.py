"""The sentences that the core says, one function each."""

from __future__ import annotations

from collections.abc import Sequence

from yolowatch.model.plan import Plan, Start
from yolowatch.model.quantity import bytes_text
from yolowatch.model.receipt import Receipt, ResumePoint
from yolowatch.model.run import RunState
from yolowatch.model.verdict import Kind, Verdict


def observed_only(state: RunState) -> str:
    if state.hooked:
        return "no YOLO training was recognised in this command: it was only observed"
    return "no hook reported from this command: it was only observed from outside"


def met(kind: str, before: RunState, after: RunState) -> str | None:
    """What a hook's message of this kind says that a person should hear; None for most."""
    if kind == "retry" and after.retries:
        batch = after.retries[-1].batch_before
        return f"the trainer ran out of memory at batch {batch} and retries by itself"
    if kind == "fault" and before.fault_text is None:
        return f"the hook failed and leaves the training alone ({after.fault_text})"
    return None


def planned(plan: Plan) -> str:
    """What a plan changes and why."""
    if not plan.levers:
        return f"plan: {plan.reason}"
    changes = "; ".join(f"{use.before} becomes {use.after}" for use in plan.levers)
    return f"plan: {changes}. {plan.reason}"


def started_again(plan: Plan, resume: ResumePoint) -> str:
    if resume.start is Start.RESUME and resume.epoch is not None:
        where = f"resumed after epoch {resume.epoch + 1}"
        if resume.unfinished is not None:
            where += ", which is validated first"
    else:
        where = f"started afresh ({resume.reason})"
    if plan.predicted_peak_bytes is None or plan.capacity_bytes is None:
        return f"attempt {plan.attempt} {where}"
    peak, capacity = bytes_text(plan.predicted_peak_bytes), bytes_text(plan.capacity_bytes)
    return f"attempt {plan.attempt} {where}; its peak is predicted at {peak} of {capacity}"


def healed(receipts: int) -> str:
    times = "once" if receipts == 1 else f"{receipts} times"
    return f"finished: the run ran out of memory {times} and was healed"


def summary(verdicts: Sequence[Verdict], receipts: Sequence[Receipt]) -> str:
    """How a run ended, in one word or two."""
    if not verdicts:
        return "not started"
    kind = verdicts[-1].kind
    healed = kind is Kind.FINISHED and receipts and not receipts[-1].failed
    return f"{kind.value}, healed" if healed else kind.value
