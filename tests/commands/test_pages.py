"""The receipt's page: complete, harmless whatever a training wrote, and copied without damage."""

from __future__ import annotations

import os
import pty
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.scenes import Scene
from yolowatch.commands import pages
from yolowatch.model.receipt import FileChange, Receipt

DEEP = "/data/a  folder/" + "/".join(["with-a-long-name"] * 12)
CHANGE = FileChange(
    f"{DEEP}/args.yaml", "1a" * 32, "2b" * 32, f"{DEEP}/.yolowatch/originals/1a-args.yaml"
)
HOSTILE = "\x1b]0;owned\x07\x1b[2J\n\r\u202e\u2066\x9b31m\udcff \t|"


@pytest.fixture
def receipt(tmp_path: Path) -> Receipt:
    """Of a multi-scale run that failed in epoch 13 and trains again."""
    scene = Scene(tmp_path, image_size_min=320, image_size_max=960, warmup_epochs=20.0)
    scene.start()
    scene.train()
    scene.tell("retry", batch_before=16, text="")
    scene.at += 20
    scene.fail()
    scene.at += 4
    scene.exit()
    scene.gone()
    scene.carry_out("rewrite")
    scene.done(files=(CHANGE,))
    scene.at += 3
    scene.done(seconds=2.5)
    scene.done()
    scene.connect(2)
    scene.describe(2, batch=4, accumulate=16)
    scene.at += 6
    scene.tell("sample", 2, step=1, phase="forward")
    (receipt,) = scene.core.healing.receipts
    return receipt


def page(receipt: Receipt) -> str:
    return pages.receipt(receipt.to_json(), None)


def entry(text: str, label: str) -> list[str]:
    """The lines of one entry, without their indentation."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"{label} "))
    found = [lines[start].removeprefix(label)]
    for line in lines[start + 1 :]:
        if not line.startswith(" "):
            break
        found.append(line)
    return [line.strip() for line in found]


def said(receipt: Receipt, label: str) -> str:
    return " ".join(entry(page(receipt), label))


# ---------------------------------------------------------------- complete


def test_the_title_names_incident_run_and_outcome(receipt: Receipt) -> None:
    title = page(receipt).splitlines()[1]
    assert title == f"Receipt {receipt.incident} · run {receipt.run} · training again"


def test_cause_and_evidence(receipt: Receipt) -> None:
    assert said(receipt, "cause") == receipt.verdict.sentence
    assert "CUDA out of memory" in said(receipt, "cause")
    evidence = said(receipt, "evidence")
    for fact in ("torch.OutOfMemoryError", "phase backward", "batch 16 at 640 x 640 px"):
        assert fact in evidence


def test_levers_before_and_after_with_their_cost(receipt: Receipt) -> None:
    changed = said(receipt, "changed")
    assert "batch: batch 16, 4 an optimizer step" in changed
    assert "→ batch 4, 16 an optimizer step" in changed
    assert "(compensated). " in changed


def test_what_stayed_the_same(receipt: Receipt) -> None:
    effective = "batch 64 before and after (16 × 4 → 4 × 16); weight decay 0.0005 before and after"
    assert said(receipt, "effective") == effective
    assert said(receipt, "image size") == "320 to 960 px (multi-scale of 640), unchanged"
    fixed = replace(receipt, user=replace(receipt.user, image_size_max=320))
    assert said(fixed, "image size") == "640 px, unchanged"


def test_peak_against_capacity(receipt: Receipt) -> None:
    memory = "capacity 23.5 GiB, highest peak seen 22.0 GiB, predicted now 13.5 GiB (kept free: 5%)"
    assert said(receipt, "memory") == memory


def test_what_was_kept_repeated_and_lost(receipt: Receipt) -> None:
    assert said(receipt, "went on").startswith("from the checkpoint of epoch 12: ")
    assert said(receipt, "cost") == (
        "12 epochs kept, 50 steps to do again, 33.0 s lost in all, old process's exit 4.00 s, "
        "wait for memory 2.50 s, restart 0.50 s"
    )


def test_what_it_may_cost_the_science(receipt: Receipt) -> None:
    science = said(receipt, "science")
    for note in ("effective batch stays 64", "BatchNorm", "random order", "warm-up", "the user's"):
        assert note in science


def test_files_with_their_hashes_and_how_to_undo_it(receipt: Receipt) -> None:
    assert entry(page(receipt), "files") == [f"{CHANGE.path} (1a1a1a1a1a1a → 2b2b2b2b2b2b)"]
    (line,) = entry(page(receipt), "undo")
    assert shlex.split(line) == ["cp", "-p", CHANGE.copy, CHANGE.path]


def test_what_is_unknown_is_neither_none_nor_zero(receipt: Receipt) -> None:
    user = replace(receipt.user, image_size=None, image_size_max=None, effective_weight_decay=None)
    plan = replace(receipt.plan, predicted_peak_bytes=None, capacity_bytes=None)
    costs = dict.fromkeys(vars(receipt.costs)) | {"epochs_kept": 0}
    change = replace(CHANGE, before=None, after=None)
    unknown = replace(
        receipt,
        user=user,
        plan=plan,
        failed_peak_bytes=None,
        costs=type(receipt.costs)(**costs),
        resume=replace(receipt.resume, epoch=None),
        files=(change,),
        science=(),
    )
    text = page(unknown)
    assert "None" not in text
    assert said(unknown, "memory") == said(unknown, "image size") == "unknown"
    assert said(unknown, "cost") == "0 epochs kept"
    assert said(unknown, "files").endswith("(absent → absent)")
    assert said(unknown, "went on").startswith("afresh: ")


# ---------------------------------------------------------------- harmless


def poisoned(value: Any) -> Any:
    """The document with every text in it made hostile."""
    if isinstance(value, dict):
        return {key: poisoned(each) for key, each in value.items()}
    if isinstance(value, list):
        return [poisoned(each) for each in value]
    return f"{HOSTILE}{value}{HOSTILE}" if isinstance(value, str) else value


def test_hostile_texts_are_harmless(receipt: Receipt) -> None:
    text = pages.receipt(poisoned(receipt.to_json()), None)
    assert all(line.isprintable() for line in text.split("\n"))
    assert r"\x1b[2J" in text
    assert len(text.split("\n")) < 200


def test_a_flood_is_cut(receipt: Receipt) -> None:
    verdict = replace(receipt.verdict, sentence="x" * 1_000_000, evidence=("y " * 500_000,))
    assert len(page(replace(receipt, verdict=verdict))) < 10_000


# ---------------------------------------------------------------- as it is read and copied


def test_only_what_is_copied_is_wider_than_the_page(receipt: Receipt) -> None:
    wide = [line for line in page(receipt).splitlines() if len(line) > 96]
    assert len(wide) == 2
    assert all(DEEP in line for line in wide)


class Screen:
    """A real terminal to print to."""

    def __enter__(self) -> Any:
        self.master, other = pty.openpty()
        self.stream = os.fdopen(other, "w")
        return self.stream

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        os.close(self.master)


@pytest.mark.parametrize(
    ("variable", "colour"), [(None, True), ("", True), ("1", False), ("0", False)]
)
def test_colour_is_for_terminals_that_want_it(
    receipt: Receipt, monkeypatch: pytest.MonkeyPatch, variable: str | None, colour: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if variable is not None:
        monkeypatch.setenv("NO_COLOR", variable)
    with Screen() as stream:
        assert ("\x1b[1mReceipt " in pages.receipt(receipt.to_json(), stream)) is colour


def test_a_file_gets_no_colour(
    receipt: Receipt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    with open(tmp_path / "page", "w") as stream:
        assert "\x1b" not in pages.receipt(receipt.to_json(), stream)
    assert "\x1b" not in page(receipt)
