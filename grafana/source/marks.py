"""What is marked in every graph: failures, remedies and new attempts, as queries on counters.

Queries need no credentials, which writing annotations into Grafana would.
"""

from __future__ import annotations

from grafana.source.boards import Mark
from grafana.source.words import RATE, of


def marks(*labels: str) -> tuple[Mark, ...]:
    """The marks of the runs that have these labels."""

    def rises(name: str, by: str, *more: str) -> str:
        return f"sum by ({by}) (increase({of(name, *labels, *more)}{RATE})) > 0"

    return (
        Mark(
            "Incident",
            rises("incidents_total", "run, kind"),
            "red",
            "Run {{run}}: {{kind}}",
        ),
        Mark(
            "Remediation",
            rises("remediations_total", "run, lever"),
            "orange",
            "Run {{run}}: {{lever}}",
        ),
        Mark(
            "Remediation failed",
            rises("remediation_failures_total", "run, lever"),
            "dark-red",
            "Run {{run}}: {{lever}}",
        ),
        Mark("Attempt", rises("attempts_total", "run"), "blue", "Run {{run}} was started"),
        Mark(
            "Refusal",
            rises("refusals_total", "run"),
            "purple",
            "Run {{run}}: a reasoned decision not to act",
        ),
    )
