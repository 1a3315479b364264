"""What is wrong with a machine, and what to do: facts in, findings out.

`edges.examining` gathers the facts. Nothing here repairs anything: a cure is a sentence, because
whoever runs the doctor may not be the one who may change the machine.
"""

from __future__ import annotations

from collections.abc import Iterator

from yolowatch.model.diagnosis import (
    DirectoryFacts,
    Door,
    Facts,
    Finding,
    HookFacts,
    Level,
    ScrapeFacts,
    SocketFacts,
)
from yolowatch.model.quantity import bytes_text

_NOBODY_MAY_TRACE = 3
_ONLY_DESCENDANTS = 1


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """A finding or more for each check, in the order in which a person would look."""
    return (
        *_gpus(facts),
        _configuration(facts),
        *(_socket(each) for each in facts.sockets),
        _daemon(facts),
        _ptrace(facts),
        *(found for each in facts.directories for found in _directory(each)),
        *_certificate(facts),
        *_scrape(facts.scrape),
        *(_hook(each) for each in facts.hooks),
    )


def _good(check: str, sentence: str) -> Finding:
    return Finding(check, Level.GOOD, sentence)


def _problem(check: str, sentence: str, cure: str) -> Finding:
    return Finding(check, Level.PROBLEM, sentence, cure)


def _gpus(facts: Facts) -> Iterator[Finding]:
    if facts.nvml_trouble is not None:
        yield _problem(
            "gpu",
            f"NVML does not answer: {facts.nvml_trouble}.",
            "install NVIDIA's driver with libnvidia-ml and see that `nvidia-smi` works for this "
            "user, also inside a container; on a machine without a GPU pass --cpu",
        )
        return
    if facts.gpus == 0:
        yield Finding("gpu", Level.NOTE, "The driver answers and knows of no GPU.")
    for trouble in facts.gpu_troubles:
        yield Finding("gpu", Level.NOTE, f"{trouble[:1].upper()}{trouble[1:]}.")
    if facts.gpus and not facts.gpu_troubles:
        yield _good("gpu", f"The driver answers; GPUs: {facts.gpus}.")


def _configuration(facts: Facts) -> Finding:
    if facts.config_trouble is not None:
        return _problem(
            "configuration",
            facts.config_trouble,
            "mend the file and run `yolowatch check-config`; the service takes it at once",
        )
    if facts.config_path is None:
        return Finding(
            "configuration", Level.NOTE, "There is no configuration file: the defaults count."
        )
    return _good("configuration", f"{facts.config_path} is good.")


def _socket(found: SocketFacts) -> Finding:
    check = f"socket {found.name}"
    start = f"`systemctl enable --now {found.unit}`" if found.unit else "start `yolowatch daemon`"
    if found.door is Door.LISTENS:
        return _good(check, f"{found.path}: {found.door.value}.")
    if found.door is Door.UNKNOWN:
        return Finding(check, Level.NOTE, f"{found.path}: {found.door.value}.", "ask as root")
    return _problem(check, f"The socket {found.path} is missing: {found.door.value}.", start)


def _daemon(facts: Facts) -> Finding:
    if facts.daemon_trouble is None:
        return _good("daemon", "The daemon answers.")
    return _problem(
        "daemon", facts.daemon_trouble, "look at `journalctl -u yolowatch`, then start it"
    )


def _ptrace(facts: Facts) -> Finding:
    scope = facts.ptrace_scope
    if not facts.attaches:
        return _good("ptrace", "The configuration goes into no running process.")
    if facts.ptrace_trouble is not None:
        return _problem(
            "ptrace",
            f"ptrace is refused here ({facts.ptrace_trouble}): nothing can be attached to.",
            "in a container add the capability SYS_PTRACE and a profile of seccomp that permits "
            "ptrace; or bring the hook along with `yolowatch hook install`",
        )
    if scope is not None and scope >= _NOBODY_MAY_TRACE:
        return _problem(
            "ptrace",
            f"ptrace is refused to everybody (kernel.yama.ptrace_scope is {scope}).",
            "only a reboot lowers it: see /etc/sysctl.d; or use `yolowatch hook install`",
        )
    if scope is not None and scope >= _ONLY_DESCENDANTS and not facts.is_root:
        return _problem(
            "ptrace",
            f"ptrace is refused to all but root (kernel.yama.ptrace_scope is {scope}).",
            "attach as root, or `sysctl kernel.yama.ptrace_scope=0`, or use `yolowatch hook "
            "install`",
        )
    return _good("ptrace", "A process of this user can be attached to.")


def _directory(found: DirectoryFacts) -> Iterator[Finding]:
    check = f"directory {found.role}"
    if found.exists is None:
        yield Finding(check, Level.NOTE, f"{found.path} cannot be looked at.", "ask as root")
        return
    if not found.exists:
        yield _problem(
            check, f"The directory {found.path} is missing.", "it is made when the service starts"
        )
        return
    wrong = False
    if found.expected_owner is not None and found.owner != found.expected_owner:
        wrong = True
        yield _problem(
            check,
            f"The directory {found.path} belongs to {found.owner}, not to {found.expected_owner}.",
            f"`chown -R {found.expected_owner}: {found.path}`, once nothing else needs it",
        )
    if found.written_by_all:
        wrong = True
        yield _problem(
            check,
            f"The directory {found.path} can be written by everybody.",
            f"`chmod o-w {found.path}`",
        )
    free = found.free_bytes
    if free is not None and free < found.least_bytes:
        wrong = True
        yield _problem(
            check,
            f"The disk of {found.path} is full: {bytes_text(free)} are left, and "
            f"{bytes_text(found.least_bytes)} are needed.",
            "make room, or name a directory on another disk",
        )
    elif free is not None and free < found.wanted_bytes:
        yield Finding(
            check,
            Level.NOTE,
            f"{found.path} has {bytes_text(free)} left; a vault may take "
            f"{bytes_text(found.wanted_bytes)}.",
            "make room, or set `vault_gib` lower",
        )
    if not wrong:
        yield _good(check, f"{found.path} is as it should be.")


def _certificate(facts: Facts) -> Iterator[Finding]:
    if facts.certificate is None:
        return
    if facts.certificate_trouble is None:
        yield _good("certificate", f"{facts.certificate} is good.")
        return
    yield _problem(
        "certificate",
        f"The certificate {facts.certificate} is of no use: {facts.certificate_trouble}.",
        "renew it in its place; the service takes the new one without a restart",
    )


def _scrape(found: ScrapeFacts) -> Iterator[Finding]:
    if found.address is None:
        yield Finding("metrics", Level.NOTE, "No metrics are served (metrics: none).")
    elif found.trouble is not None:
        yield _problem(
            "metrics",
            f"The daemon's page at {found.address} cannot be read: {found.trouble}.",
            "see that the daemon runs and that `metrics` names a port that nobody else has",
        )
    else:
        yield _good("metrics", f"Metrics are served at {found.address}.")
    if found.prometheus is None:
        return
    if found.prometheus_trouble is not None:
        yield _problem(
            "prometheus",
            f"Prometheus at {found.prometheus} cannot be asked: {found.prometheus_trouble}.",
            "see that it runs, that its address is right and that no firewall is in between",
        )
    elif not found.scraped:
        yield _problem(
            "prometheus",
            f"Prometheus at {found.prometheus} has no healthy target on the port of this daemon.",
            "add this machine to its scrape_configs; `metrics` must name an address that it can "
            "reach",
        )
    else:
        yield _good("prometheus", f"Prometheus at {found.prometheus} scrapes this daemon.")


def _hook(found: HookFacts) -> Finding:
    if found.trouble is not None:
        return _problem("hook", found.trouble, "name a Python or the folder of an environment")
    if not found.installed:
        return _problem(
            "hook",
            f"The hook is not installed in {found.python}, or another version of it is.",
            f"`yolowatch hook install --python {found.python}`",
        )
    return _good("hook", f"The hook is installed in {found.python}.")
