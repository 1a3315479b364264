"""Makes the ways from the training into the hook raise, and tells at exit which were entered.

Runs after the hook's own sitecustomize armed it. A guarded function keeps what it calls in a
closure cell: that is replaced, so that the guard itself stays the product's. SABOTAGE names which:
"imports" for the import hook, "installs" for what it calls, without which the others are not
reached, "rest" for those; or it is their names, with commas.
"""

import atexit
import json
import os

from yolowatch_hook import guard

entered = set()


def sabotage(name, guarded):
    def fail(*_args, **_kwargs):
        entered.add(name)
        raise RuntimeError("planted in " + name)

    cells = dict(zip(guarded.__code__.co_freevars, guarded.__closure__, strict=True))
    cells["function"].cell_contents = fail


class Entries(dict):
    """Sabotages the entries of modules that are imported from now on."""

    def __setitem__(self, name, guarded):
        super().__setitem__(name, guarded)
        group = "installs" if name.endswith(".install") else "rest"
        if which in ("imports", group) or name in which.split(","):
            sabotage(name, guarded)
        else:
            del self[name]


which = os.environ["SABOTAGE"]
entries = Entries()
if which == "imports":
    for name, guarded in guard.ENTRIES.items():
        entries[name] = guarded
guard.ENTRIES = entries
guard.MAX_FAULTS = 10**9  # otherwise the hook would switch itself off, which is not what is tested


def report():
    told = {"entered": sorted(entered), "left": sorted(set(entries) - entered)}
    print("\nSABOTAGED", json.dumps({**told, "faults": guard.faults.count}), flush=True)


atexit.register(report)
