"""When a process that ran out of memory and does not end by itself is asked to, and then made to.

A single process has a minute: its program may have something left to do. A training made of ranks
cannot go on without one of them, and the others would wait for it as long as their collectives
allow, up to hours. So a group has `GROUP_GRACE_SECONDS` after the last words of the rank that
failed; then the launcher and every rank get SIGTERM and, `kill_grace_seconds` later, SIGKILL. A
trainer that has spawned its ranks itself gets only the latter.
"""

from __future__ import annotations

import signal

from yolowatch.daemon.attempt import Attempt
from yolowatch.decide import ranks, texts
from yolowatch.model.actions import Action, Say, Signal
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Policy
from yolowatch.model.run import LastWords, RunState

GROUP_GRACE_SECONDS = 2.0


def help_to_exit(attempt: Attempt, policy: Policy, at: float) -> list[Action]:
    """TERM where it is due, and KILL to what is left of the attempt afterwards."""
    if attempt.term_sent_at is None:
        sentence = _reason_to_end(attempt, policy, at)
        return [] if sentence is None else ask(attempt, sentence, at)
    if attempt.killed or at - attempt.term_sent_at < policy.kill_grace_seconds:
        return []
    attempt.killed = True
    return [Say("it did not end on SIGTERM: SIGKILL"), *_signals(attempt, signal.SIGKILL)]


def ask(attempt: Attempt, sentence: str, at: float) -> list[Action]:
    """SIGTERM to the process that was started and, of a group, to each of its ranks."""
    attempt.term_sent_at = at
    return [Say(sentence), *_signals(attempt, signal.SIGTERM)]


def _signals(attempt: Attempt, number: int) -> list[Signal]:
    named: tuple[ProcessKey, ...] = (attempt.process,)
    if attempt.group():
        named = attempt.living() if number == signal.SIGKILL else attempt.asked_to_end()
    return [Signal(process, number) for process in named]


def _reason_to_end(attempt: Attempt, policy: Policy, at: float) -> str | None:
    state = attempt.state()
    words = state.last_words
    if words is None or policy.mode != "auto":
        return None
    if texts.recognise(words.exception, words.text) is None:
        return None  # what goes on after any other failure is the program's own affair
    silent, grace = at - words.at, policy.exit_grace_seconds
    if state.ranks == 1:
        if words.handled or silent < grace:
            return None
        return f"the failed process has not ended {grace:g} s after its last words: SIGTERM"
    if attempt.obstacle() is not None:
        return None
    if not words.handled:
        grace = min(grace, GROUP_GRACE_SECONDS)
    if silent < grace or (words.handled and _trains_on(attempt, words)):
        return None
    failed = f"rank {_failed_rank(attempt)} ran out of memory"
    return f"{failed} and the others would wait for it: SIGTERM to all"


def _failed_rank(attempt: Attempt) -> int | None:
    failed = ranks.first_failed(attempt.group())
    return failed.rank.number if failed is not None and failed.rank is not None else None


def _trains_on(attempt: Attempt, words: LastWords) -> bool:
    """Whether any rank has trained a batch since a failure that the program handled."""
    return any(_last_step_at(state) > words.at for state in attempt.group())


def _last_step_at(state: RunState) -> float:
    return max((sample.at for sample in state.samples if sample.steps), default=float("-inf"))
