"""What the fleet knows, as people see it: frozen views, made when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from yolowatch import __version__
from yolowatch.daemon.core import Core
from yolowatch.daemon.fleet import Fleet
from yolowatch.daemon.healing import Healing
from yolowatch.daemon.member import Member
from yolowatch.model.device import DeviceReading
from yolowatch.model.run import Memory
from yolowatch.model.verdict import Kind
from yolowatch.model.view import OVER, DeviceView, FleetView, MemoryView, PlanView, RunView


def fleet_view(
    fleet: Fleet,
    paused: bool,
    devices: Iterable[DeviceReading],
    config_path: str | None = None,
    config_trouble: str | None = None,
) -> FleetView:
    """All runs, those that are over at the end."""
    runs = [run_view(member) for member in fleet.members.values()]
    return view_of(runs, fleet, paused, devices, config_path, config_trouble)


def view_of(
    runs: Iterable[RunView],
    fleet: Fleet,
    paused: bool,
    devices: Iterable[DeviceReading] = (),
    config_path: str | None = None,
    config_trouble: str | None = None,
) -> FleetView:
    """These runs as the fleet's, those that are over at the end."""
    return FleetView(
        version=__version__,
        own_uid=fleet.own_uid,
        mode=fleet.config.mode,
        paused=paused,
        runs=tuple(sorted(runs, key=lambda run: run.state in OVER)),
        devices=tuple(map(_device, devices)),
        config_path=config_path,
        config_trouble=config_trouble,
        control_group=fleet.config.control_group,
    )


def run_view(member: Member, *, receipts: bool = True) -> RunView:
    """One run of the fleet; without its receipts it is cheap."""
    core, adoption = member.core, member.adoption
    healing, state = core.healing, core.state()
    spec, place = state.spec or core.user, state.place
    process = core.process if core.alive else None
    return RunView(
        run=member.run,
        uid=adoption.uid,
        user=adoption.user,
        pid=process.pid if process is not None else None,
        trainer=spec.trainer if spec is not None else None,
        model=spec.model if spec is not None else None,
        run_dir=spec.run_dir if spec is not None else None,
        mode=member.rule.mode,
        mode_reason=member.rule.reason,
        paused=healing.paused is not None,
        hook=core.hook_connected,
        state=_state(core),
        phase=place.phase,
        epoch=None if place.epoch is None or place.epoch < 0 else place.epoch + 1,
        epochs=spec.epochs if spec is not None else None,
        step=place.step,
        batch=spec.batch if spec is not None else None,
        accumulate=spec.accumulate if spec is not None else None,
        effective_batch=spec.effective_batch if spec is not None else None,
        image_size=spec.image_size if spec is not None else None,
        precision=spec.precision if spec is not None else None,
        device=spec.device if spec is not None else None,
        memory=_memory(state.memory),
        outlook=core.foreseeing.forecast.worst if core.alive else None,
        attempt=max(core.attempts - 1, 0),
        sentence=member.sentence,
        incidents=tuple(member.records.incidents.values()),
        plan=_plan(healing),
        replaced_files=len(healing.restorable),
        receipts=_receipts(member) if receipts else (),
    )


def _receipts(member: Member) -> tuple[Mapping[str, Any], ...]:
    """Of the attempts, and of what was changed in one that went on."""
    core = member.core
    told = (*core.healing.receipts, *core.ordering.living.receipts)
    return tuple(each.to_json() for each in told)


def _state(core: Core) -> str:
    if core.healing.waiting is not None:
        return "waiting for approval"
    if core.healing.under_way:
        return "remediating"
    if core.alive or not core.verdicts:
        state = core.state()
        if state.last_words is not None and not state.last_words.handled:
            return "failed"
        if not core.hook_connected:
            return "observed only"
        return "training" if state.place.step else "starting"
    kind = core.verdicts[-1].kind
    if kind is Kind.FINISHED:
        return "finished"
    return "stopped" if kind is Kind.INTERRUPTED else "failed"


def _memory(memory: Memory) -> MemoryView:
    return MemoryView(
        memory.allocated_bytes,
        memory.reserved_bytes,
        memory.peak_bytes,
        memory.capacity_bytes,
        memory.headroom_bytes,
    )


def _plan(healing: Healing) -> PlanView | None:
    """The plan that waits for a person."""
    if healing.remedy is None or healing.waiting is None:
        return None
    order = healing.remedy.order
    plan = order.plan
    changes = (
        f"{use.name}: {use.before} becomes {use.after} ({use.cost.value})" for use in plan.levers
    )
    reason = f"{healing.waiting}. {plan.reason}"
    return PlanView(
        order.plan_id, tuple(changes), reason, plan.predicted_peak_bytes, plan.capacity_bytes
    )


def _device(reading: DeviceReading) -> DeviceView:
    return DeviceView(
        reading.index,
        reading.name,
        reading.total_bytes,
        reading.used_bytes,
        reading.utilization_ratio,
        reading.temperature_celsius,
    )
