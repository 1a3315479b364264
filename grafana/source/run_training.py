"""How one run trains, what it takes of the host, and whether its hook is well."""

from __future__ import annotations

from grafana.source import panels as p
from grafana.source.panels import Query, Style
from grafana.source.words import (
    NO_OR_YES,
    PHASE_OF,
    RANGE,
    RATE,
    RUN,
    STATES,
    YES_OR_NO,
    of,
    of_run,
    phase_of_run,
    state_of_run,
)


def training() -> list[p.Panel]:
    """The panels of the row, in their order."""
    images = f"{of_run('run_batch_size')} / {of_run('run_step_seconds')}"
    return [
        p.timeline("States", "What the run was doing.", Query(state_of_run("run", *RUN), "{{run}}"),
                   STATES, width=24, height=3),
        p.timeline(
            "Phases",
            "In which phase a scrape found the run. Long stripes of data: it waits for its images.",
            Query(phase_of_run("run", *RUN), "{{run}}"),
            PHASE_OF,
            width=24,
            height=3,
        ),
        p.graph(
            "Epochs",
            "The epoch that is trained, and how many there are to be.",
            "none",
            Query(of_run("run_epoch"), "epoch"),
            Query(of_run("run_epochs"), "of"),
            width=8,
            styles=(Style("/^of$/", p.GREY, dashed=True, stacked=False),),
        ),
        p.graph(
            "Time of a batch",
            "The mean of the last 15 s in which a batch ended.",
            "s",
            Query(of_run("run_step_seconds"), "a batch"),
            width=8,
        ),
        p.graph(
            "Images a second",
            "The batch over the time of a batch: what a remedy costs in speed. Batches a second "
            "are counted besides.",
            "none",
            Query(images, "images a second"),
            Query(f"sum(rate({of('run_steps_total', *RUN)}{RATE}))", "batches a second"),
            width=8,
        ),
        p.graph(
            "Batch",
            "Images in a batch, batches accumulated for one optimizer step, and their product, "
            "which a remedy keeps.",
            "none",
            Query(of_run("run_batch_size"), "batch"),
            Query(of_run("run_validation_batch_size"), "validation batch"),
            Query(of_run("run_accumulation_steps"), "accumulated batches"),
            Query(of_run("run_effective_batch_size"), "effective batch"),
        ),
        p.graph(
            "Image size",
            "Longer side of the images: with multi-scale training it changes from batch to batch, "
            "and the memory with its square.",
            "none",
            Query(of_run("run_image_size_pixels"), "pixels"),
        ),
    ]  # fmt: skip


def host() -> list[p.Panel]:
    """The panels of the row, in their order."""
    limit = Style("/^(limit|capacity)$/", p.RED, dashed=True, stacked=False)
    return [
        p.graph(
            "Memory of the host",
            "Resident memory of the run's processes, in which shared pages count more than once, "
            "and what counts in its tightest control group, against that group's limit.",
            "bytes",
            Query(of_run("run_resident_bytes"), "resident"),
            Query(of_run("run_cgroup_used_bytes"), "control group"),
            Query(of_run("run_cgroup_limit_bytes"), "limit"),
            width=8,
            styles=(limit,),
        ),
        p.graph(
            "Shared memory",
            "Those who load data hand batches over in /dev/shm; a full one ends them by SIGBUS.",
            "bytes",
            Query(of_run("run_shm_used_bytes"), "used"),
            Query(of_run("run_shm_capacity_bytes"), "capacity"),
            width=8,
            styles=(limit,),
        ),
        p.graph(
            "Processes",
            "Processes of the run on this machine, and the ranks among them.",
            "none",
            Query(of_run("run_processes"), "processes"),
            Query(of_run("run_ranks"), "ranks"),
            width=8,
        ),
    ]


def hook() -> list[p.Panel]:
    """The panels of the row, in their order."""
    age = f"time() - max({of('run_progress_timestamp_seconds', *RUN)})"
    return [
        p.figure("Hook connected", "Whether the hook in the training speaks to the daemon.", "none",
                 Query(of_run("hook_connected")), texts=YES_OR_NO),
        p.figure("Last progress", "Time since a batch, an epoch or a phase began or ended.", "s",
                 Query(age), steps=((p.GREEN, None), (p.YELLOW, 120), (p.RED, 600)), decimals=0),
        p.figure("Paused", "Whether a pause keeps yolowatch from acting.", "none",
                 Query(of_run("run_paused")), texts=NO_OR_YES),
        p.figure("Journal", "Whether decisions reach the disk: without it the run is only watched.",
                 "none", Query(of_run("run_journal_writable")), texts=YES_OR_NO),
        p.figure("Faults of the hook", "Failures inside the hook; the training was not touched.",
                 "none", Query(of_run("hook_faults_total")), steps=p.ANY_IS_NOTED),
        p.figure("Dropped", "Messages that the hook dropped rather than wait, in the time shown.",
                 "none", Query(f"sum(increase({of('hook_messages_dropped_total', *RUN)}{RANGE}))"),
                 steps=p.ANY_IS_NOTED, decimals=0),
        p.graph(
            "Messages",
            "Messages from the hook a second: one in a calm run, ten near danger.",
            "none",
            Query(f"sum(rate({of('hook_messages_total', *RUN)}{RATE}))", "received"),
            Query(f"sum(rate({of('hook_messages_dropped_total', *RUN)}{RATE}))", "dropped"),
            width=24,
            height=6,
        ),
    ]  # fmt: skip
