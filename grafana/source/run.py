"""One run: how much memory it has left, what is forecast, what happened and what was done."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from grafana.source import panels as p
from grafana.source.boards import INSTANCE, Variable, board
from grafana.source.marks import marks
from grafana.source.panels import Query
from grafana.source.run_memory import memory
from grafana.source.run_training import hook, host, training
from grafana.source.tables import Column, rows
from grafana.source.words import OF_BOX, RUN, STATES, headroom_at_peak, of, of_run, state_of_run

_VARIABLES = (
    INSTANCE,
    Variable(
        "run",
        "Run",
        f"label_values({of('run_info', OF_BOX)}, run)",
        "A run's id, as `yolowatch status` shows it.",
        several=False,
    ),
    Variable(
        "rank",
        "Rank",
        f"label_values({of('allocated_bytes', *RUN)}, rank)",
        "A process of the run: more than one where several GPUs train one model.",
        several=False,
    ),
)


def dashboard() -> Dashboard:
    """The dashboard of one run."""
    return board(
        "yolowatch-run",
        "yolowatch / Run",
        "One training: its memory, what is forecast, what happened and what was done about it.",
        _VARIABLES,
        (
            ("Right now", _now()),
            ("Memory", memory()),
            ("Training", training()),
            ("Incidents and remedies", _remedies()),
            ("Host memory", host()),
            ("Hook", hook()),
        ),
        marks(*RUN),
    )


def _now() -> list[p.Panel]:
    facts = (
        ("User", "user"), ("Trainer", "trainer"), ("Version", "trainer_version"),
        ("Model", "model"), ("Task", "task"), ("Precision", "precision"), ("torch", "torch"),
        ("Mode", "mode"), ("Directory", "run_dir"),
    )  # fmt: skip
    return [
        p.figure("State", "What the run is doing.", "none", Query(state_of_run("run", *RUN)),
                 texts=STATES),
        p.figure(
            "Progress",
            "Epochs that were begun, of all that the run is to have.",
            "percentunit",
            Query(f"{of_run('run_epoch')} / {of_run('run_epochs')}"),
        ),
        p.figure(
            "Headroom",
            "What was left of the capacity at the peak of the last 15 s; of the fullest rank.",
            "percentunit",
            Query(headroom_at_peak("run", *RUN)),
            steps=p.SHARE_LEFT,
            sparkline=True,
            decimals=1,
        ),
        p.figure(
            "Out of memory",
            "How likely the run, as it is configured now, runs out of memory before its end.",
            "percentunit",
            Query(of_run("forecast_oom_probability_ratio")),
            steps=p.PROBABILITY,
            sparkline=True,
            none="not forecast",
        ),
        p.figure(
            "Attempts",
            "Times the command was started; the first is the user's own.",
            "none",
            Query(of_run("attempts_total")),
            steps=((p.GREEN, None), (p.YELLOW, 2), (p.ORANGE, 4)),
        ),
        p.figure(
            "Effective batch",
            "Images an optimizer step. A remedy keeps it: a smaller batch is accumulated longer.",
            "none",
            Query(of_run("run_effective_batch_size")),
        ),
        rows(
            "Facts",
            "What the run is; nothing here changes while it lasts.",
            (
                Column("", f"max by ({', '.join(label for _, label in facts)}) "
                       f"({of('run_info', *RUN)})"),
                *(Column(title, label=label) for title, label in facts),
            ),
            sort_by="User",
            height=3,
        ),
    ]  # fmt: skip


def _remedies() -> list[p.Panel]:
    def so_far(title: str, text: str, metric: str, by: str, steps: p.Steps) -> p.Panel:
        counted = f"topk(6, sum by ({by}) ({of(metric, *RUN)}) > 0)"
        shown = Query(counted, f"{{{{{by}}}}}")
        return p.gauges(title, text, "none", shown, steps=steps, width=6, height=5, none="none")

    return [
        so_far("Incidents", "What went wrong, by kind.", "incidents_total", "kind", p.PLAIN),
        so_far("Outcomes", "How the incidents ended.",
               "incidents_closed_total", "outcome", p.PLAIN),
        so_far("Levers used", "Remediations that were begun, by what was changed.",
               "remediations_total", "lever", p.PLAIN),
        so_far("Levers that failed", "Remediations that could not be carried out, or whose attempt "
               "failed again.", "remediation_failures_total", "lever", ((p.RED, None),)),
        p.figure(
            "Refusals",
            "Reasoned decisions not to act: a person is needed.",
            "none",
            Query(of_run("refusals_total")),
            steps=p.NONE_IS_GOOD,
        ),
        p.figure(
            "Checkpoints in the vault",
            "Checkpoints that were validated and copied: what a remedy resumes from.",
            "none",
            Query(of_run("checkpoints_vaulted_total")),
        ),
        p.figure(
            "Batches",
            "Batches that failures made to be done again, and batches of attempts that a remedy "
            "started.",
            "none",
            Query(of_run("steps_lost_total"), "lost"),
            Query(of_run("steps_saved_total"), "saved"),
            width=8,
        ),
        p.figure(
            "Device time",
            "The same in time, times devices.",
            "s",
            Query(of_run("device_seconds_lost_total"), "lost"),
            Query(of_run("device_seconds_saved_total"), "saved"),
            width=8,
        ),
    ]  # fmt: skip
