"""The questions that several dashboards ask, and the words and colors of what is answered."""

from __future__ import annotations

from collections.abc import Sequence

from grafana.source.panels import Texts
from yolowatch.hook.wire import PHASES
from yolowatch.metrics.table import RUN_STATES

RATE = "[$__rate_interval]"
RANGE = "[$__range]"
OF_BOX = 'instance=~"$instance"'
RUN = (OF_BOX, 'run=~"$run"')
RANK = (*RUN, 'rank=~"$rank"')
RUN_URL = "/d/yolowatch-run?${__url_time_range}&${datasource:queryparam}&var-run=${__value.raw}"

_STATE_COLORS = {
    "starting": "text",
    "training": "green",
    "remediating": "orange",
    "waiting": "yellow",
    "finished": "blue",
    "stopped": "purple",
    "refused": "red",
    "failed": "dark-red",
}
_PHASE_COLORS = {
    "setup": "text",
    "data": "yellow",
    "forward": "green",
    "loss": "semi-dark-green",
    "backward": "blue",
    "optimizer": "purple",
    "validation": "orange",
    "save": "light-red",
}
STATES: Texts = {number: (name, _STATE_COLORS[name]) for number, name in enumerate(RUN_STATES, 1)}
"""What the numbers of a run's states stand for: a state without a color is an error at once."""
PHASE_OF: Texts = {number: (name, _PHASE_COLORS[name]) for number, name in enumerate(PHASES, 1)}
NO_OR_YES: Texts = {0: ("no", "green"), 1: ("yes", "orange")}
YES_OR_NO: Texts = {0: ("no", "red"), 1: ("yes", "green")}


def of(name: str, *labels: str) -> str:
    """The series of a metric, without its prefix, that have these labels."""
    return f"yolowatch_{name}{{{', '.join(labels)}}}"


def equal(label: str, value: str) -> str:
    """The selector of one value of a label."""
    return f'{label}="{value}"'


def numbered(name: str, label: str, values: Sequence[str], by: str, *labels: str) -> str:
    """The number, from 1, of the state that holds: a state set as one series for each subject."""
    held = " or ".join(
        f"({of(name, *labels, equal(label, value))} == 1) * {number}"
        for number, value in enumerate(values, 1)
    )
    return f"max by ({by}) ({held})"


def state_of_run(by: str, *labels: str) -> str:
    """The number of the state of each run; see STATES."""
    return numbered("run_state", "yolowatch_run_state", RUN_STATES, by, *labels)


def phase_of_run(by: str, *labels: str) -> str:
    """The number of the phase of each run; see PHASE_OF."""
    return numbered("run_phase", "yolowatch_run_phase", PHASES, by, *labels)


def headroom_at_peak(by: str, *labels: str) -> str:
    """What was left of the capacity at the highest point of the last moments: 0 to 1, the least."""
    capacity, peak = of("capacity_bytes", *labels), of("window_peak_bytes", *labels)
    return f"clamp_min(min by ({by}) (1 - {peak} / {capacity}), 0)"


def happened(name: str, by: str, *labels: str) -> str:
    """How often it happened in the time that is shown, for each value of `by`."""
    return f"round(sum by ({by}) (increase({of(name, *labels)}{RANGE})))"


def mean(name: str, *labels: str) -> str:
    """The mean of a summary over the last moments."""
    total, count = of(f"{name}_sum", *labels), of(f"{name}_count", *labels)
    return f"rate({total}{RATE}) / rate({count}{RATE})"


def of_run(name: str) -> str:
    """A figure of the run that is chosen; of several ranks the largest."""
    return f"max({of(name, *RUN)})"


def of_rank(name: str) -> str:
    """A figure of the rank that is chosen."""
    return f"max({of(name, *RANK)})"
