"""What becomes of trainings that run out of memory, under yolowatch and under what others do.

    python bench/strategies.py [--cases N] [--folder DIRECTORY] [--record]

A seeded simulation (`bench/world`): networks, cards, batches and sizes that people use, under a law
of memory that is not the planner's and was frozen before anything was tuned to it. yolowatch is
its own code: it sees what the hook would send, and decides with `yolowatch.decide`. The oracle
knows everything, alters nothing, and is the measure of feasible and fast. What was played once is
kept in the folder and not played again.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.support import machine
from bench.world.nature import STANDS_FOR
from bench.world.population import Case, draw
from bench.world.product import healed, prevented
from bench.world.strategies import OTHERS, oracle, stop

HEALED, PREVENTED = "yolowatch, healing only", "yolowatch"
STRATEGIES = {**OTHERS, HEALED: healed, PREVENTED: prevented}
WORST = 12


def played(case: Case) -> dict[str, Any]:
    """What became of one case under every strategy; of a healthy one under yolowatch alone."""
    found: dict[str, Any] = {
        "case": case.number,
        "kind": case.kind,
        "what": f"{case.network}, batch {case.setting.batch}, {case.setting.size} px"
        + (" multi-scale" if case.setting.ratio else "")
        + f", {case.capacity / (1 << 30):.1f} GiB",
    }
    left = stop(case)
    found["healthy"] = left.finished
    if left.finished:
        found["yolowatch"] = asdict(prevented(case))
        return found
    best = oracle(case)
    found["feasible"] = best.finished
    if best.finished:
        found["oracle"] = asdict(best)
        found["outcomes"] = {name: asdict(play(case)) for name, play in STRATEGIES.items()}
    return found


def again(before: dict[str, Any]) -> dict[str, Any]:
    """The same case, played anew under yolowatch alone: what others do has not changed."""
    case = draw(before["case"])
    if before["healthy"]:
        return {**before, "yolowatch": asdict(prevented(case))}
    if not before["feasible"]:
        return before
    mine = {HEALED: asdict(healed(case)), PREVENTED: asdict(prevented(case))}
    return {**before, "outcomes": {**before["outcomes"], **mine}}


def line(name: str, cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of one strategy over the feasible troubled cases."""
    outcomes = [(each["outcomes"][name], each["oracle"]) for each in cases]
    done = [(mine, best) for mine, best in outcomes if mine["finished"]]
    regrets = [mine["seconds"] / best["seconds"] - 1.0 for mine, best in done]
    later = [mine for mine, _ in outcomes if not mine["at_once"]]
    return {
        "strategy": name,
        "finished": len(done) / len(outcomes),
        "failures": mean(mine["failures"] for mine, _ in outcomes),
        "failures_later": mean(mine["failures"] for mine in later) if later else 0.0,
        "lost_steps": STANDS_FOR * mean(mine["lost_steps"] for mine, _ in outcomes),
        "median_regret": median(regrets) if regrets else None,
        "mean_regret": mean(regrets) if regrets else None,
        "effective_kept": mean(mine["effective_kept"] for mine, _ in outcomes),
        "altered": mean(bool(mine["altered"]) for mine, _ in outcomes),
    }


def worst(cases: Sequence[dict[str, Any]]) -> list[tuple[float, dict[str, Any]]]:
    """The cases in which yolowatch did worst: not finished, then by regret."""
    found = []
    for each in cases:
        mine = each["outcomes"][PREVENTED]
        regret = mine["seconds"] / each["oracle"]["seconds"] - 1.0
        found.append((regret if mine["finished"] else float("inf"), each))
    return sorted(found, key=lambda pair: -pair[0])[:WORST]


def summary(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All figures."""
    troubled = [each for each in results if each.get("feasible")]
    healthy = [each["yolowatch"] for each in results if each["healthy"]]
    kinds = sorted({each["kind"] for each in troubled})
    return {
        "cases": len(results),
        "troubled": len([each for each in results if not each["healthy"]]),
        "feasible": len(troubled),
        "at_once": sum(each["outcomes"]["stop"]["at_once"] for each in troubled),
        "healthy": len(healthy),
        "healthy_touched": sum(bool(mine["orders"] or mine["restarts"]) for mine in healthy),
        "healthy_failed": sum(not mine["finished"] for mine in healthy),
        "strategies": [line(name, troubled) for name in STRATEGIES],
        "kinds": {
            kind: line(PREVENTED, [each for each in troubled if each["kind"] == kind])
            | {"count": sum(each["kind"] == kind for each in troubled)}
            for kind in kinds
        },
    }


HEAD = (
    "| {} | finished | OOMs a run | of those whose first batch fits | batches lost a run "
    "| regret, median | mean | effective batch kept | result altered |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def cells(name: str, figures: dict[str, Any]) -> str:
    """One row of a table."""

    def part(value: float | None) -> str:
        return "–" if value is None else f"{value:.1%}"

    return (
        f"| {name} | {part(figures['finished'])} | {figures['failures']:.2f} "
        f"| {figures['failures_later']:.2f} | {figures['lost_steps']:.0f} "
        f"| {part(figures['median_regret'])} | {part(figures['mean_regret'])} "
        f"| {part(figures['effective_kept'])} | {part(figures['altered'])} |"
    )


def page(document: dict[str, Any]) -> str:
    """The record for people."""
    found = document["summary"]
    text = f"""
    {found["cases"]} simulated trainings, seeded. {found["healthy"]} are healthy; of those yolowatch
    touched {found["healthy_touched"]}, and {found["healthy_failed"]} did not finish under it.
    {found["troubled"]} run out of memory if nobody does anything; {found["feasible"]} of them could
    be finished with a smaller batch and the same effective batch. In {found["at_once"]} of these
    the very first batch fails already, which nothing that watches a training can prevent. Regret is
    the time to the end over the oracle's, of the runs that finished; it is negative where a
    narrower range of sizes makes a run shorter."""
    lines = ["# Strategies against lack of memory", ""]
    lines += [machine.paragraph(textwrap.dedent(text)), HEAD.format("strategy")]
    lines += [cells(each["strategy"], each) for each in found["strategies"]]
    lines += ["", "yolowatch, by what is particular about the run:", "", HEAD.format("kind")]
    lines += [cells(f"{kind} ({each['count']})", each) for kind, each in found["kinds"].items()]
    lines += ["", "Where yolowatch did worst:", ""]
    for regret, each in worst([r for r in document["results"] if r.get("feasible")]):
        mine = each["outcomes"][PREVENTED]
        end = f"regret {regret:.0%}" if mine["finished"] else f"not finished: {mine['why']}"
        said = f"case {each['case']} ({each['kind']}): {each['what']}; {mine['failures']} OOMs"
        lines.append(f"- {said}; {end}")
    return "\n".join([*lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=800, metavar="N", help="default: 800")
    parser.add_argument("--folder", type=Path, help="keep there what was played")
    parser.add_argument(
        "--again", action="store_true", help="of what was played, play yolowatch's part once more"
    )
    parser.add_argument("--record", action="store_true", help="write bench/results/")
    options = parser.parse_args()
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    kept = options.folder / "played.jsonl" if options.folder is not None else None
    known: dict[int, dict[str, Any]] = {}
    if kept is not None and kept.exists():
        known = {each["case"]: each for each in map(json.loads, kept.read_text().splitlines())}
    if options.again:
        known = {number: again(each) for number, each in known.items() if number < options.cases}
    results = []
    for number in range(options.cases):
        if number not in known:
            known[number] = played(draw(number))
            if kept is not None:
                with kept.open("a") as file:
                    file.write(json.dumps(known[number]) + "\n")
        results.append(known[number])
        if number % 50 == 49:
            machine.say(f"{number + 1} of {options.cases} cases")
    document = {"machine": machine.itself(), "summary": summary(results), "results": results}
    text = page(document)
    print(text)
    if options.record:
        shown = {**document, "results": [each for _, each in worst_of(results)]}
        machine.record("strategies", shown, text)
    return 0


def worst_of(results: Sequence[dict[str, Any]]) -> list[tuple[float, dict[str, Any]]]:
    """What is recorded of single cases."""
    return worst([each for each in results if each.get("feasible")])


if __name__ == "__main__":
    sys.exit(main())
