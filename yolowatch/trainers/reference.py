"""The table of levers, generated from the trainer families."""

from __future__ import annotations

from yolowatch.model.opt_in import NEVER, OPT_IN, SPREADING
from yolowatch.model.plan import COSTS
from yolowatch.trainers.families import FAMILIES


def levers_markdown() -> str:
    """Trainer by lever: by what it is carried out, or why it is refused; ends with a newline."""
    names = [each.NAME for each in FAMILIES]
    lines = [f"| Lever | Cost | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for lever, cost in (COSTS | OPT_IN).items():
        cells = [
            each.LEVERS[lever] if lever in each.LEVERS else f"refused: {each.REFUSED[lever]}"
            for each in FAMILIES
        ]
        lines.append(f"| {lever} | {cost.value} | {' | '.join(cells)} |")
    lines += ["", f"Only where the policy file names them: {', '.join(OPT_IN)}.", SPREADING]
    lines += [f"Refused always: {lever}; {reason}." for lever, reason in NEVER.items()]
    return "\n".join(lines) + "\n"
