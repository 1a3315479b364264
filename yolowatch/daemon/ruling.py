"""The rule of an adopted run: the configuration's, or observation where no more can be done."""

from __future__ import annotations

from dataclasses import replace

from yolowatch.decide import origin
from yolowatch.decide.rules import Rule, rule_for
from yolowatch.model.adoption import Adoption
from yolowatch.model.service import ServiceConfig


def rule_of(
    config: ServiceConfig,
    own_uid: int,
    adoption: Adoption,
    run_dir: str | None,
    reason: str | None = None,
) -> Rule:
    """What may be done to a run; `reason` is why it can only be observed."""
    if reason is None and origin.is_notebook(adoption.argv):
        reason = "a notebook or a prompt, which nobody can start again"
    if reason is not None and not adoption.opted_out:
        return Rule("observe", reason, replace(config.policy, mode="observe"))
    return rule_for(
        config,
        uid=adoption.uid,
        user=adoption.user,
        run_dir=run_dir,
        opted_out=adoption.opted_out,
        groups=adoption.groups,
        own_uid=own_uid,
    )
