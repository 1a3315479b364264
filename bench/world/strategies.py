"""What people and other tools do when memory runs out, and an oracle that knows everything.

Each takes a case and returns what came of it. Ultralytics' own retry and the factor of 0.9 are as
their projects do it; the loop of a shell and the halving are what is found in forums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.world.nature import RESTART_SECONDS, STANDS_FOR, Setting, step_seconds
from bench.world.playing import End, play
from bench.world.population import EPOCHS, STEPS, Case

_MOST_TRIES = 40


@dataclass(frozen=True)
class Outcome:
    """What came of one training under one strategy; times in seconds of the training's clock."""

    finished: bool
    failures: int = 0
    restarts: int = 0
    seconds: float = 0.0
    lost_steps: int = 0  # of the user's batches, as simulated
    effective_kept: bool = True
    altered: tuple[str, ...] = ()  # levers that alter the result
    why: str = ""
    at_once: bool = False  # whether the very first batch of all failed
    orders: int = 0  # to the training that runs


def _effective(case: Case, setting: Setting) -> bool:
    return setting.batch * setting.accumulate == case.effective_batch


def _retrying(
    case: Case, smaller: Callable[[Setting, End], Setting | None], most: int = _MOST_TRIES
) -> Outcome:
    """Start again from the last epoch with what `smaller` says, until it finishes or gives up."""
    setting, begin, seconds, failures, lost, kept = case.setting, 0, 0.0, 0, 0, True
    at_once = False
    for attempt in range(most + 1):
        end = play(case, setting, attempt=attempt, begin=begin)
        seconds += end.seconds
        kept = kept and _effective(case, setting)
        if end.failed is None:
            return Outcome(True, failures, failures, seconds, lost, kept, at_once=at_once)
        at_once = at_once or (attempt == 0 and end.seconds == 0.0)
        failures, lost = failures + 1, lost + end.lost_steps
        changed = smaller(setting, end)
        if changed is None:
            break
        setting, begin = changed, end.completed
        seconds += RESTART_SECONDS
    restarts = max(failures - 1, 0)
    return Outcome(False, failures, restarts, seconds, lost, kept, at_once=at_once)


def stop(case: Case) -> Outcome:
    """Nobody does anything."""
    return _retrying(case, lambda _setting, _end: None)


def ultralytics_retry(case: Case) -> Outcome:
    """Halve in the process, in its first epoch and outside the optimizer, three times at most."""
    halved = [0]

    def smaller(setting: Setting, end: End) -> Setting | None:
        failed = end.failed
        if failed is None or failed.phase != "training" or failed.epoch > 0:
            return None
        if halved[0] == 3 or setting.batch == 1 or case.trainer != "ultralytics":
            return None
        halved[0] += 1
        batch = setting.batch // 2
        return replace(setting, batch=batch, validation_batch=2 * batch)

    return _retrying(case, smaller)


def nine_tenths(case: Case) -> Outcome:
    """Nine tenths of the batch until it fits."""

    def smaller(setting: Setting, _end: End) -> Setting | None:
        batch = min(int(setting.batch * 0.9), setting.batch - 1)
        return replace(setting, batch=batch, validation_batch=2 * batch) if batch else None

    return _retrying(case, smaller, 60)


def halving(case: Case) -> Outcome:
    """Half of the batch, whenever it happens."""

    def smaller(setting: Setting, _end: End) -> Setting | None:
        batch = setting.batch // 2
        return replace(setting, batch=batch, validation_batch=2 * batch) if batch else None

    return _retrying(case, smaller)


def shell_loop(case: Case) -> Outcome:
    """The same command once more, ten times."""
    return _retrying(case, lambda setting, _end: setting, 10)


def divisors(case: Case) -> Outcome:
    """Fifteen lines: the largest smaller divisor of the effective batch."""

    def smaller(setting: Setting, _end: End) -> Setting | None:
        whole = case.effective_batch
        fitting = [each for each in range(1, setting.batch) if whole % each == 0]
        if not fitting:
            return None
        return replace(setting, batch=fitting[-1], nbs=whole, validation_batch=2 * fitting[-1])

    return _retrying(case, smaller)


def oracle(case: Case) -> Outcome:
    """The largest batch that divides the effective one and never fails, or to wait for a neighbour.

    It alters nothing that is learnt, and sees to it that the validation fits.
    """
    found: list[Outcome] = []
    for batch in range(case.setting.batch, 0, -1):
        if case.effective_batch % batch:
            continue
        for alone in (True, False) if case.neighbour else (True,):
            nbs = case.setting.nbs if batch == case.setting.batch else case.effective_batch
            setting = replace(case.setting, batch=batch, nbs=nbs, validation_batch=1)
            end = play(case, setting, attempt=0, begin=0, alone=alone)
            if end.failed is None:
                wait = 0.0
                if case.neighbour is not None and alone:
                    away = case.neighbour.ends - case.neighbour.begins
                    wait = away * end.seconds / EPOCHS
                found.append(Outcome(True, seconds=end.seconds + wait))
        if found and (case.neighbour is None or batch < case.setting.batch // 4):
            break
    if not found:
        return Outcome(False, why="no batch fits")
    return min(found, key=lambda each: each.seconds)


def lost_seconds(case: Case, steps: int) -> float:
    """What so many of the user's batches take."""
    return steps * step_seconds(case.truth, case.setting, case.setting.batch * case.setting.size**2)


OTHERS: dict[str, Callable[[Case], Outcome]] = {
    "stop": stop,
    "Ultralytics' own retry": ultralytics_retry,
    "x0.9 until it fits": nine_tenths,
    "halving at any time": halving,
    "a loop in the shell": shell_loop,
    "largest smaller divisor": divisors,
}
REAL_STEPS = STANDS_FOR * STEPS
