"""yolowatch in the simulated world: the product's own decisions, on what the hook would say.

After a failure: classify, fit, plan, and start again with the plan's edits. Before one: forecast
what is to come, and order what prevents it, once a window. Everything that decides is the code of
`yolowatch.decide`; what stands here is what the daemon and the hook do around it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from bench.world.nature import RESTART_SECONDS, Setting
from bench.world.playing import Batch, play
from bench.world.population import Case
from bench.world.strategies import Outcome
from bench.world.telling import Teller, described
from yolowatch.decide import detect, forecast, planner
from yolowatch.decide.budget import AttemptHistory
from yolowatch.decide.looking import looks
from yolowatch.decide.prevent import LEAVE, MULTI_SCALE, foreseen, prevent
from yolowatch.model.plan import Edits, Policy, Refusal

_WINDOW = 1  # simulated batches between two windows of the hook: each stands for many
_MOST_ATTEMPTS = 40
_ALTERING = ("multi-scale", "amp")


class _Watch:
    """What the daemon does while one attempt runs."""

    def __init__(self, case: Case, setting: Setting, attempt: int, policy: Policy) -> None:
        self._case, self._policy = case, policy
        self.teller = Teller(case, setting, attempt)
        self.altered: set[str] = set()
        self.ordered = Edits()
        self.orders = 0

    def look(self, batch: Batch, setting: Setting) -> Setting | None:
        self.teller.see(batch)
        if not self.teller.window(batch) or not self._policy.prevention:
            return setting
        state = self.teller.state
        found = prevent(state, partial(looks, state, None, self._case.most_boxes), self._policy)
        if found is None:
            return setting
        self.orders += 1
        if found.order == LEAVE:
            return None
        self.ordered = found.edits.over(self.ordered)
        self.altered |= {found.use.name} & set(_ALTERING)
        if found.order == MULTI_SCALE:
            setting = replace(setting, ratio=found.value)
        else:
            setting = replace(setting, validation_batch=round(found.value))
        self.teller.describe(setting)
        return setting


def healed(case: Case) -> Outcome:
    """The run under yolowatch that only answers failures."""
    return _supervised(case, Policy(prevention=False))


def prevented(case: Case) -> Outcome:
    """The run under yolowatch as it comes: what is foreseen is prevented where that is possible."""
    return _supervised(case, Policy())


def _supervised(case: Case, policy: Policy) -> Outcome:
    user = described(case, case.setting, resumed=False)
    setting, edits, begin = case.setting, Edits(), 0
    history, footprints = AttemptHistory(), ()
    found, altered = Outcome(False), set[str]()
    for attempt in range(_MOST_ATTEMPTS):
        watch = _Watch(case, setting, attempt, policy)
        end = play(case, setting, attempt=attempt, begin=begin, look=watch.look)
        begin = end.completed
        altered |= watch.altered
        found = replace(
            found,
            seconds=found.seconds + end.seconds,
            restarts=attempt,
            altered=tuple(sorted(altered)),
            orders=found.orders + watch.orders,
            effective_kept=found.effective_kept
            and setting.batch * setting.accumulate == case.effective_batch,
        )
        if end.failed is None and not end.left:
            return replace(found, finished=True)
        if end.failed is not None:
            at_once = found.at_once or (attempt == 0 and end.seconds == 0.0)
            found = replace(found, failures=found.failures + 1, at_once=at_once)
            watch.teller.fail(end.failed)
        if end.failed is not None and end.failed.phase == "validation":
            begin += 1  # the emergency checkpoint: the epoch is trained, and is validated again
        else:
            found = replace(found, lost_steps=found.lost_steps + end.lost_steps)
        history = history.with_end(attempt, begin - 1 if begin else None)
        footprints = (*footprints, *watch.teller.state.footprints)[-512:]
        state = replace(watch.teller.state, footprints=footprints)
        edits = watch.ordered.over(edits)
        verdict = foreseen(state)
        if end.failed is not None:
            verdict = detect.classify(state, exit_status=1, exit_signal=None, asked_to_stop=False)
        decision = planner.plan(
            user=user,
            earlier=edits,
            state=state,
            verdict=verdict,
            laws=forecast.fit(state, case.most_boxes),
            history=history,
            policy=policy,
            incident="simulated",
        )
        if isinstance(decision, Refusal):
            return replace(found, why=decision.reason)
        edits = decision.edits
        altered |= {use.name for use in decision.levers if use.name in _ALTERING}
        setting = configured(case, edits)
        found = replace(found, seconds=found.seconds + RESTART_SECONDS)
    return replace(found, why="it was started again too often")


def configured(case: Case, edits: Edits) -> Setting:
    """What the resumed trainer is configured to do."""
    batch = edits.batch or case.setting.batch
    return replace(
        case.setting,
        batch=batch,
        nbs=edits.nbs or case.setting.nbs,
        ratio=case.setting.ratio if edits.multi_scale is None else edits.multi_scale,
        validation_batch=edits.validation_batch or 2 * batch,
        checkpointing=bool(edits.checkpointing),
        expandable=bool(edits.expandable_segments),
    )
