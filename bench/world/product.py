"""yolowatch in the simulated world: the product's own decisions, on what the hook would say.

After a failure: classify, fit, plan, and start again with the plan's edits. Before one: forecast
what is to come, and order what prevents it, once a window. Everything that decides is the code of
`yolowatch.decide`; what stands here is what the daemon and the hook do around it.
"""

from __future__ import annotations

from dataclasses import replace

from bench.world.nature import RESTART_SECONDS, Setting
from bench.world.playing import Batch, play
from bench.world.population import Case
from bench.world.strategies import Outcome
from bench.world.telling import Teller, described
from yolowatch.decide import detect, forecast, planner
from yolowatch.decide.budget import AttemptHistory
from yolowatch.model.plan import Edits, Policy, Refusal

_WINDOW = 1  # simulated batches between two windows of the hook: each stands for many
_MOST_ATTEMPTS = 40
_ALTERING = ("multi-scale", "amp")


class _Watch:
    """What the daemon does while one attempt runs."""

    def __init__(self, case: Case, setting: Setting, attempt: int) -> None:
        self.teller = Teller(case, setting, attempt)
        self.altered: set[str] = set()

    def look(self, batch: Batch, setting: Setting) -> Setting | None:
        self.teller.see(batch)
        self.teller.window(batch)
        return setting


def healed(case: Case, policy: Policy | None = None) -> Outcome:
    """The run under yolowatch, which answers failures."""
    return _supervised(case, policy or Policy(), _Watch)


def _supervised(case: Case, policy: Policy, kind: type[_Watch]) -> Outcome:
    user = described(case, case.setting, resumed=False)
    setting, edits, begin = case.setting, Edits(), 0
    seconds, failures, lost, kept = 0.0, 0, 0, True
    history, footprints = AttemptHistory(), ()
    altered: set[str] = set()
    why = ""
    for attempt in range(_MOST_ATTEMPTS):
        watch = kind(case, setting, attempt)
        end = play(case, setting, attempt=attempt, begin=begin, look=watch.look)
        seconds += end.seconds
        altered |= watch.altered
        kept = kept and setting.batch * setting.accumulate == case.effective_batch
        if end.failed is None and not end.left:
            return Outcome(True, failures, attempt, seconds, lost, kept, tuple(sorted(altered)))
        lost += end.lost_steps
        if end.failed is not None:
            failures += 1
            watch.teller.fail(end.failed)
        state = watch.teller.state
        completed = end.completed - 1
        history = history.with_end(attempt, None if completed < 0 else completed)
        footprints = (*footprints, *state.footprints)[-512:]
        state = replace(state, footprints=footprints)
        verdict = detect.classify(state, exit_status=1, exit_signal=None, asked_to_stop=False)
        decision = planner.plan(
            user=user,
            earlier=edits,
            state=state,
            verdict=verdict,
            laws=forecast.fit(state),
            history=history,
            policy=policy,
            incident="simulated",
        )
        if isinstance(decision, Refusal):
            why = decision.reason
            break
        edits = decision.edits
        altered |= {use.name for use in decision.levers if use.name in _ALTERING}
        setting, begin = configured(case, edits), end.completed
        seconds += RESTART_SECONDS
    return Outcome(False, failures, failures, seconds, lost, kept, tuple(sorted(altered)), why)


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
