"""All boxes at a glance: who needs a person, what runs, what is likely to run out of memory."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from grafana.source import panels as p
from grafana.source.boards import INSTANCE, board
from grafana.source.marks import marks
from grafana.source.panels import Query, Style
from grafana.source.tables import Column, rows
from grafana.source.words import (
    OF_BOX,
    RANGE,
    RATE,
    RUN_URL,
    STATES,
    equal,
    happened,
    headroom_at_peak,
    of,
    state_of_run,
)

_BY_RUN = "instance, run"
# What an attempt that has ended still says of itself concerns nobody.
_LIVES = f"on ({_BY_RUN}) {of('run_state', OF_BOX, equal('yolowatch_run_state', 'training'))} == 1"
_HEADROOM = f"({headroom_at_peak(_BY_RUN, OF_BOX)}) and {_LIVES}"
_LIKELY = f"(max by ({_BY_RUN}) ({of('forecast_oom_probability_ratio', OF_BOX)})) and {_LIVES}"
_GPU = "instance, gpu"


def dashboard() -> Dashboard:
    """The dashboard of all boxes."""
    return board(
        "yolowatch-fleet",
        "yolowatch / Fleet",
        "Every training on every box: who needs a person, and what is likely to need one.",
        (INSTANCE,),
        (
            ("Right now", _now()),
            ("Runs", _runs()),
            ("Memory that is left", _memory()),
            ("What happened", _incidents()),
            ("GPUs", _gpus()),
        ),
        marks(OF_BOX),
    )


def _now() -> list[p.Panel]:
    def in_state(states: str) -> Query:
        held = of("run_state", OF_BOX, f'yolowatch_run_state=~"{states}"')
        return Query(f"sum({held})", "runs")

    healed = of("incidents_closed_total", OF_BOX, equal("outcome", "healed"))
    return [
        p.figure(
            "A person is needed",
            "Runs that failed, were refused a remedy, or have a plan that waits for approval.",
            "none",
            in_state("failed|refused|waiting"),
            steps=p.NONE_IS_GOOD,
            width=4,
        ),
        p.figure(
            "Likely to run out",
            "Runs whose forecast gives more than one chance in four of running out of memory.",
            "none",
            Query(f"sum(({_LIKELY}) > bool 0.25)", "runs"),
            steps=p.ANY_IS_NOTED,
            width=4,
        ),
        p.figure(
            "Training",
            "Runs that train now.",
            "none",
            in_state("training"),
            width=4,
            sparkline=True,
        ),
        p.figure(
            "Healed",
            "Incidents in the time shown that ended with the run training on or finished.",
            "none",
            Query(f"round(sum(increase({healed}{RANGE})))", "incidents"),
            steps=((p.GREEN, None),),
            width=4,
        ),
        p.figure(
            "Device time saved",
            "Time, times devices, that attempts started by a remedy trained, in the time shown. "
            "Beside it what failures made to be done again.",
            "s",
            Query(f"sum(increase({of('device_seconds_saved_total', OF_BOX)}{RANGE}))", "saved"),
            Query(f"sum(increase({of('device_seconds_lost_total', OF_BOX)}{RANGE}))", "lost"),
            width=4,
        ),
        p.figure(
            "Boxes",
            "Daemons that Prometheus has scraped just now.",
            "none",
            Query(f"count({of('build_info', OF_BOX)})", "boxes"),
            width=4,
        ),
    ]


def _runs() -> list[p.Panel]:
    facts = "instance, run, user, trainer, model, name"
    name = '"name", "$1", "run_dir", ".*?([^/]*)"'
    columns = (
        Column("", f"max by ({facts}) (label_replace({of('run_info', OF_BOX)}, {name}))"),
        Column("Run", label="run", link=RUN_URL, width=100),
        Column("Name", label="name", width=120),
        Column("State", state_of_run(_BY_RUN, OF_BOX), texts=STATES, width=110),
        Column("Box", label="instance", width=150),
        Column("User", label="user", width=90),
        Column("Trainer", label="trainer", width=100),
        Column("Model", label="model"),
        Column("Epoch", f"max by ({_BY_RUN}) ({of('run_epoch', OF_BOX)})", width=80),
        Column("of", f"max by ({_BY_RUN}) ({of('run_epochs', OF_BOX)})", width=60),
        Column("Headroom", _HEADROOM, unit="percentunit", steps=p.SHARE_LEFT, most=1, bar=True),
        Column("Out of memory", _LIKELY, unit="percentunit", steps=p.PROBABILITY, width=125),
        Column(
            "A batch",
            f"max by ({_BY_RUN}) ({of('run_step_seconds', OF_BOX)})",
            unit="s",
            width=90,
        ),
        Column(
            "Attempts",
            f"max by ({_BY_RUN}) ({of('attempts_total', OF_BOX)})",
            steps=((p.GREEN, None), (p.YELLOW, 2), (p.ORANGE, 4)),
            width=90,
        ),
    )
    return [
        rows(
            "Runs",
            "Each run that a daemon knows, the ones with least headroom first. A click on a run "
            "opens its dashboard. Headroom: what was left at the peak of the last 15 s.",
            columns,
            sort_by="Headroom",
        ),
        p.timeline(
            "States",
            "What each run was doing. Red needs a person; orange is being healed by yolowatch.",
            Query(state_of_run("run", OF_BOX), "{{run}}"),
            STATES,
        ),
    ]


def _memory() -> list[p.Panel]:
    return [
        p.graph(
            "Headroom",
            "What was left of each run's capacity at the peak of the last 15 s. Below 10 % it is "
            "watched ten times a second.",
            "percentunit",
            Query(f"min by (run) ({_HEADROOM})", "{{run}}"),
            steps=((p.RED, None), (p.ORANGE, 0.05), (p.TRANSPARENT, 0.1)),
            most=1,
        ),
        p.graph(
            "Probability of running out of memory",
            "Before its end and as it is configured now, for each run that has a forecast.",
            "percentunit",
            Query(f"max by (run) ({_LIKELY})", "{{run}}"),
            steps=((p.TRANSPARENT, None), (p.ORANGE, 0.25), (p.RED, 0.5)),
            most=1,
        ),
    ]


def _incidents() -> list[p.Panel]:
    memory, others = 'kind=~".*-oom"', 'kind!~".*-oom"'

    def rises(*labels: str) -> str:
        return f"round(sum(increase({of('incidents_total', OF_BOX, *labels)}{RATE})))"

    def most(title: str, text: str, metric: str, by: str) -> p.Panel:
        counted = Query(f"topk(7, {happened(metric, by, OF_BOX)} > 0)", f"{{{{{by}}}}}")
        return p.gauges(title, text, "none", counted, steps=p.PLAIN, width=6, none="none")

    return [
        p.graph(
            "Incidents",
            "What went wrong with runs: lack of memory that happened, was handled or was foreseen, "
            "and everything else.",
            "none",
            Query(rises(memory), "memory"),
            Query(rises(others), "others"),
            width=6,
            bars=True,
            styles=(Style("memory", p.RED), Style("others", p.YELLOW)),
        ),
        most("By kind", "The same in the time shown, by kind.", "incidents_total", "kind"),
        most(
            "How they ended",
            "Incidents that ended in the time shown: refused and failed ones need a person.",
            "incidents_closed_total",
            "outcome",
        ),
        most(
            "Levers used",
            "Remediations that were begun in the time shown, by lever.",
            "remediations_total",
            "lever",
        ),
    ]


def _gpus() -> list[p.Panel]:
    def gpu(name: str) -> str:
        return f"max by ({_GPU}) ({of(name, OF_BOX)})"

    link = (
        "/d/yolowatch-gpu?${__url_time_range}&${datasource:queryparam}"
        "&var-instance=${__data.fields.Box}&var-gpu=${__value.raw}"
    )
    columns = (
        Column("", f"max by ({_GPU}, name) ({of('gpu_info', OF_BOX)})"),
        Column("Box", label="instance", width=160),
        Column("GPU", label="gpu", link=link, width=70),
        Column("Board", label="name"),
        Column(
            "Memory used",
            f"{gpu('gpu_used_bytes')} / {gpu('gpu_capacity_bytes')}",
            unit="percentunit",
            steps=p.SHARE_USED,
            most=1,
            bar=True,
        ),
        Column("Free", gpu("gpu_free_bytes"), unit="bytes", width=100),
        Column(
            "Busy",
            gpu("gpu_utilization_ratio"),
            unit="percentunit",
            steps=p.PLAIN,
            most=1,
            bar=True,
        ),
        Column("Processes", gpu("gpu_processes"), width=90),
        Column(
            "Temperature",
            gpu("gpu_temperature_celsius"),
            unit="celsius",
            steps=p.HEAT,
            width=110,
        ),
        Column("Power", gpu("gpu_power_watts"), unit="watt", width=90),
    )
    return [
        rows(
            "GPUs",
            "Every GPU, the fullest first. A click on its number shows who holds what.",
            columns,
            sort_by="Memory used",
            descending=True,
            height=8,
        )
    ]
