"""The policy file: what it may say, and one sentence for everything else."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolowatch import config
from yolowatch.errors import ConfigError
from yolowatch.model.opt_in import OPT_IN
from yolowatch.model.plan import LEVERS, Policy
from yolowatch.model.thresholds import Thresholds


def read(text: str) -> Policy:
    return config.policy(text, "policy.yaml", Policy(mode="recommend"))


def test_nothing_said_changes_nothing() -> None:
    assert read("") == read("# only a comment\n") == Policy(mode="recommend")


def test_everything_can_be_said() -> None:
    text = """
margin: 0.1
levers: [batch, validation batch]
emergency: any
widen_after_batches: 20
prevention: false
prevention_cooldown_seconds: 1
leave_probability: 0.5
release_cache: true
guarded_start: true
rescue: true
attempts_without_progress: 5
exit_grace_seconds: 30
kill_grace_seconds: 2.5
memory_wait_seconds: 0
keep_checkpoints: 3
vault_gib: 0.5
"""
    assert read(text) == replace(
        Policy(mode="recommend"),
        margin_ratio=0.1,
        levers=("validation batch", "batch"),
        emergency="any",
        widen_after_batches=20,
        prevention=False,
        prevention_cooldown_seconds=1.0,
        leave_probability=0.5,
        release_cache=True,
        guarded_start=True,
        rescue=True,
        attempts_without_progress=5,
        exit_grace_seconds=30.0,
        kill_grace_seconds=2.5,
        memory_wait_seconds=0.0,
        keep_checkpoints=3,
        vault_gib=0.5,
    )
    assert len(config.KEYS) == 16, "a new key belongs in here"


def test_every_threshold_can_be_said() -> None:
    values = {
        field.name: round(field.default * 2) if isinstance(field.default, int) else 0.75
        for field in fields(Thresholds)
    }
    values["dense_boxes"] = 3.0
    assert set(config.DETECTION_KEYS) == set(values)
    text = "detection:\n" + "".join(f"  {key}: {value}\n" for key, value in values.items())
    assert read(text) == replace(Policy(mode="recommend"), thresholds=Thresholds(**values))


def test_what_must_be_named_is_taken_where_it_is() -> None:
    assert read("levers: [freeze, batch, image size]").levers == ("batch", "image size", "freeze")
    assert not set(OPT_IN) & set(read("margin: 0.1").levers)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("marign: 0.1", "policy.yaml has the unknown key 'marign': did you mean 'margin'?"),
        ("margin: 1.5", "policy.yaml: margin must be a part from 0 to 0.9, not 1.5."),
        ("margin: true", "policy.yaml: margin must be a part from 0 to 0.9, not True."),
        ("emergency: off", "policy.yaml: emergency must be one of: never, complete, any, not"),
        ("levers: batch", "policy.yaml: levers must be a list of some of: validation batch"),
        (
            "levers: [batch, model parallelism]",
            "policy.yaml: model parallelism is refused always: these trainers hold one whole",
        ),
        ("levers: [bacth]", "policy.yaml: levers must be a list of some of: validation batch"),
        ("rescue: 1", "policy.yaml: rescue must be true or false, not 1."),
        ("keep_checkpoints: 0", "keep_checkpoints must be a whole number from 1 to 100, not 0."),
        ("vault_gib: 0", "vault_gib must be GiB from 0.001 to 1000000, not 0."),
        ("keep_checkpoints: 2.5", "keep_checkpoints must be a whole number from 1 to 100"),
        ("detection: 5", "policy.yaml: detection must be a mapping of thresholds to values."),
        (
            "detection: {near_oom_headrom: 1}",
            "policy.yaml: detection has the unknown key 'near_oom_headrom': did you mean",
        ),
        (
            "detection: {leak_epochs: 1}",
            "policy.yaml: detection: leak_epochs must be a whole number from 3 to 50, not 1.",
        ),
        ("margin: [", "policy.yaml, line 1 is no YAML"),
        ("- margin", "policy.yaml must be a mapping"),
        ("!!python/object/apply:os.system [x]", "is no YAML"),
    ],
)
def test_what_is_wrong_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(text)
    assert sentence in str(raised.value)
    assert raised.value.exit_code == 121
    assert "\n" not in str(raised.value)


@given(st.text(max_size=60))
def test_any_text_is_a_policy_or_a_sentence(text: str) -> None:
    sentence, found = "", Policy()
    try:
        found = read(text)
    except ConfigError as error:
        sentence = str(error)
    assert set(found.levers) <= {*LEVERS, *OPT_IN}
    assert "\n" not in sentence
