"""The pages as text: what they say, what stays unsaid, and that nothing in them is believed."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.pages import stories
from yolowatch.edges import plain
from yolowatch.model.discreet import MASK, discreet, discreet_command
from yolowatch.model.standing import Standing, standing
from yolowatch.model.story import Failure, Headline, Point, Story, Subject, Waiting
from yolowatch.model.view import FleetView, RunView
from yolowatch.pages.glance import runs_page
from yolowatch.pages.incident import incident_page
from yolowatch.pages.plot import NARROW, SPARK, WIDE, plot

HOSTILE = "</style></p><script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x1b[2J'\"{{7*7}}"
EMPTY = Story("0badcafe", "cuda-oom", "It ran out.", Subject("00000001"))
ALLOWED = {
    "html", "head", "meta", "title", "link", "style", "body", "div", "nav", "span", "header", "h1",
    "h2", "h3", "p", "dl", "dt", "dd", "section", "figure", "figcaption", "svg", "line", "text",
    "path", "circle", "ul", "ol", "li", "pre", "table", "tr", "th", "td", "details", "summary", "b",
    "time", "footer", "a", "strong", "small",
}  # fmt: skip


@pytest.fixture(scope="module")
def healed(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return stories.healed_story(tmp_path_factory.mktemp("healed"))


def poisoned(value: Any) -> Any:
    """The same with every text in it hostile, but for the words that are looked up."""
    if isinstance(value, dict):
        kept = {key: value[key] for key in ("cost", "outcome", "start", "state") if key in value}
        return {key: poisoned(each) for key, each in value.items()} | kept
    if isinstance(value, list):
        return [poisoned(each) for each in value]
    return f"{HOSTILE}{value}{HOSTILE}" if isinstance(value, str) else value


class Elements(HTMLParser):
    """Collects elements and attributes as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def shown(page: str) -> str:
    """The text of a page on one line."""
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


# ---------------------------------------------------------------- what a page says


def test_a_healed_incident_from_failure_to_undo(healed: Story) -> None:
    text = shown(incident_page(healed, home="../"))
    for said in (
        "training again",
        "CUDA out of memory in backward",
        "22.0 GiB",
        "of 23.5 GiB and asked for 2.0 GiB",
        "64, as before 16 × 4 → 4 × 16",
        "batch 4, 16 an optimizer step",
        "-batch: 16",
        "+batch: 4",
        "What was weighed and not taken",
        "Went on from the checkpoint of epoch 12: the checkpoint is whole",
        "Epochs kept 12",
        "BatchNorm computes its statistics",
        f"yolowatch rollback {healed.subject.run}",
        "cp -p /runs/train/.yolowatch/originals/1a-args.yaml /runs/train/args.yaml",
        "relaunch",
        "gpu-box-07",
    ):
        assert said in text, said


def test_a_refusal_says_why_and_what_a_person_can_do(tmp_path: Path) -> None:
    text = shown(incident_page(stories.refused_story(tmp_path)))
    assert "not restarted" in text
    assert "Why a person is needed" in text
    assert "Free memory, or allow a lever" in text
    assert "What was changed" not in text


def test_a_plan_that_waits_says_how_it_is_approved() -> None:
    waiting = Waiting(
        "12345678", "mode recommend. It fits.", ("batch: 16 becomes 4 (compensated)",)
    )
    text = shown(incident_page(replace(EMPTY, waiting=waiting)))
    assert "waits for your approval" in text
    assert "yolowatch approve 00000001" in text
    assert "batch: 16 becomes 4" in text


def test_what_is_unknown_is_neither_none_nor_zero(healed: Story) -> None:
    assert healed.receipt is not None
    bare = dict(healed.receipt, files=[], undo=[], science=[], rejected=[])
    bare["costs"] = dict.fromkeys(bare["costs"]) | {"epochs_kept": 0}
    bare["plan"] = bare["plan"] | {"predicted_peak_bytes": None, "effective_batch": None}
    for story in (EMPTY, replace(EMPTY, receipt=bare)):
        text = shown(incident_page(story))
        assert "None" not in text
        assert "Nothing was reported of its memory" in text


def test_a_story_is_kept_and_read_again(healed: Story) -> None:
    again = plain.from_json(Story, plain.to_json(healed))
    assert incident_page(again) == incident_page(healed)


def test_the_runs_at_a_glance(tmp_path: Path, healed: Story) -> None:
    view, told = stories.fleet(tmp_path)
    headline = Headline(healed.incident, "ab12cd34", "cuda-oom", "It ran out.", 1.7e9, "healed")
    page = runs_page(view, told.stories.overview.histories, [headline], 1.8e9, "gpu-box-07")
    text = shown(page)
    for said in ("One training, all is well", "yolov9e.yaml", "epoch 13/100", "batch 16 × 4"):
        assert said in text
    assert f'href="incidents/{healed.incident}"' in page
    assert '<path class="line"' in page
    empty = shown(runs_page(FleetView("1", 0), {}, [], 1.8e9))
    assert "Nothing trains at this moment" in empty


# ---------------------------------------------------------------- what a page never does


def harmless(page: str) -> None:
    elements = Elements(page)
    assert set(elements.names) <= ALLOWED
    assert "script" not in elements.names
    for name, value in elements.attributes:
        assert not name.startswith("on")
        assert name != "style"
        if name in ("href", "src"):
            assert value.startswith(("../", "incidents/", "metrics", "data:image/svg+xml,"))
    outside = re.sub(r"data:image/svg[^\"]*", "", page)
    assert not re.search(r"https?://", outside)
    assert "@import" not in page
    assert not {"\u202e", "\x1b"} & set(page)
    assert "49" not in re.findall(r"\{\{.{0,8}", page)


def test_hostile_texts_stay_texts_everywhere(healed: Story) -> None:
    document = json.loads(plain.to_json(healed))
    poison = plain.from_json(Story, json.dumps(poisoned(document)))
    poison = replace(poison, outcome=f"refused: {HOSTILE}")
    for story in (poison, replace(poison, waiting=Waiting(HOSTILE, HOSTILE, (HOSTILE,)))):
        page = incident_page(story, home="../")
        harmless(page)
        assert page.count("&lt;script&gt;alert(1)") > 40
        assert Elements(page).names.count("style") == 1


def test_hostile_runs_stay_texts() -> None:
    run = RunView(
        HOSTILE,
        0,
        HOSTILE,
        trainer=HOSTILE,
        model=HOSTILE,
        run_dir=HOSTILE,
        mode=HOSTILE,
        state="waiting for approval",
        sentence=HOSTILE,
    )
    headline = Headline("0badcafe", HOSTILE, HOSTILE, HOSTILE, None, HOSTILE)
    view = FleetView(HOSTILE, 0, HOSTILE, True, (run,), config_trouble=HOSTILE, notes=(HOSTILE,))
    harmless(runs_page(view, {}, [headline], 1.8e9, HOSTILE))


def test_a_flood_of_text_is_cut(healed: Story) -> None:
    story = replace(healed, sentence="x" * 1_000_000, evidence=("y " * 500_000,) * 3)
    assert len(incident_page(story)) < 200_000


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("https://ann:s3cr3t-word@host/x", "s3cr3t-word"),
        ("POST failed: api_key=s3cr3t-word&x=1", "s3cr3t-word"),
        ('{"password": "s3cr3t-word"}', "s3cr3t-word"),
        ("--hub-token s3cr3t-word train", "s3cr3t-word"),
        ("Authorization: Bearer s3cr3t-word", "s3cr3t-word"),
        ("WANDB_API_KEY=s3cr3t-word", "s3cr3t-word"),
        ("hf_abcdefghijklmnopqrst is wrong", "hf_abcdefghijklmnopqrst"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, hidden: str) -> None:
    assert hidden not in discreet(text)
    assert MASK in discreet(text)


def test_what_is_no_secret_stays() -> None:
    said = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 23.5 GiB; runs/train/exp-2"
    assert discreet(said) == said
    assert discreet_command(("train", "--api-key", "word", "batch=16")) == (
        "train",
        "--api-key",
        MASK,
        "batch=16",
    )


def test_a_hostile_text_is_searched_in_bounded_time() -> None:
    for text in ("a" * 4000, "token" * 800, "x://" * 1000, "-" * 4000, "-a" * 2000):
        discreet(text)


# ---------------------------------------------------------------- where an incident stands


@pytest.mark.parametrize(
    ("outcome", "receipt", "waiting", "expected"),
    [
        (None, None, False, Standing.UNDER_WAY),
        (None, None, True, Standing.WAITING),
        (None, "resumed", False, Standing.UNDER_WAY),
        (None, "training again", False, Standing.TRAINING),
        (None, "failed again: x", False, Standing.FOLLOWED),
        ("healed", "finished", False, Standing.HEALED),
        ("refused: nothing fits", None, False, Standing.REFUSED),
        ("failed: 3 attempts", "failed: 3 attempts", False, Standing.FAILED),
        ("abandoned: wait: it is gone", None, False, Standing.ABANDONED),
        ("recommended", None, False, Standing.RECOMMENDED),
        ("observed", None, False, Standing.OBSERVED),
    ],
)
def test_standings(
    outcome: str | None, receipt: str | None, waiting: bool, expected: Standing
) -> None:
    assert standing(outcome, receipt, waiting=waiting) is expected


@pytest.mark.parametrize(
    ("kind", "outcome", "expected"),
    [
        ("near-oom", None, Standing.WATCHED),
        ("wedged-rank", None, Standing.ALARM),
        ("of-another-version", None, Standing.WATCHED),
        ("leak", "passed", Standing.PASSED),
        ("leak", "passed: the attempt ended", Standing.PASSED),
        ("leak", "a word of another version", Standing.PASSED),
        ("foreseen-oom", "prevented", Standing.PREVENTED),
        ("cuda-oom", "rescued", Standing.RESCUED),
    ],
)
def test_what_is_only_seen_needs_nobody_but_for_an_alarm(
    kind: str, outcome: str | None, expected: Standing
) -> None:
    found = standing(outcome, None, waiting=False, under_way=False, kind=kind)
    assert found is expected
    story = replace(EMPTY, kind=kind, outcome=outcome)
    assert expected.value in shown(incident_page(story))


# ---------------------------------------------------------------- the curve


def points(count: int, **last: Any) -> list[Point]:
    made = [Point(float(i), 0, 1000, 2000 + i, 1500) for i in range(count)]
    return [*made[:-1], replace(made[-1], **last)] if last else made


def numbers(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)]


@pytest.mark.parametrize("frame", [WIDE, NARROW, SPARK])
def test_everything_is_drawn_inside_the_frame(frame: Any, healed: Story) -> None:
    drawn = plot(
        healed.points,
        frame,
        failure=healed.failure,
        capacity_bytes=healed.capacity_bytes,
        predicted_bytes=12 << 30,
    )
    assert drawn is not None
    assert [each.later for each in drawn.curves] == [False, True]
    for curve in drawn.curves:
        for x, y in numbers(curve.area):
            assert frame.left - 1 <= x <= frame.edge + 1
            assert frame.top <= y <= frame.floor
    assert drawn.capacity_y is not None
    assert drawn.predicted_y is not None
    assert drawn.capacity_y < drawn.predicted_y
    assert 3 <= len(drawn.across) <= 9
    assert "0" in [each.label for each in drawn.across]


def test_the_highest_of_each_window_is_drawn() -> None:
    drawn = plot(points(60, peak_bytes=9000), WIDE)
    assert drawn is not None
    ys = [y for _, y in numbers(drawn.curves[0].line)]
    assert ys[-1] == min(ys)
    assert len(ys) == 60


def test_a_gap_stays_a_gap_and_another_attempt_another_curve() -> None:
    made = [*points(5), Point(100.0, 0, 1, 2), Point(101.0, 0, 1, 2), Point(102.0, 1, 1, 2)]
    drawn = plot(made, WIDE)
    assert drawn is not None
    assert len(drawn.curves) == 3


def test_nothing_is_drawn_of_what_is_unknown() -> None:
    assert plot([], WIDE) is None
    assert plot([Point(1.0, 0)], WIDE, capacity_bytes=5) is None
    drawn = plot([Point(1.0, 0, 0, 0)], WIDE, failure=Failure(1.0))
    assert drawn is not None
    assert drawn.held_y is None


def test_the_reserved_memory_is_drawn_where_it_says_more() -> None:
    same = [Point(float(i), 0, 5, 5, 5) for i in range(9)]
    drawn = plot(same, WIDE)
    assert drawn is not None
    assert drawn.reserved == ()
    told = plot(points(9), WIDE)
    assert told is not None
    assert len(told.reserved) == 1
