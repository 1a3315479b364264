"""Fills the hook's socket as soon as it is connected, and says at exit what was dropped."""

import atexit
import sys


def flood():
    agent = sys.modules["yolowatch_hook.agent"].agent
    original = agent.start

    def start(*args):
        original(*args)
        for _ in range(3000):
            agent.tell("fault", where="flood", text="x" * 400, count=1)

    agent.start = start
    atexit.register(lambda: print("\nDROPPED", agent.dropped, flush=True))


class Finder:
    """Waits for the trainer, by which time the hook's agent has been imported."""

    def find_spec(self, name, path=None, target=None):
        if name == "ultralytics.engine.trainer":
            sys.meta_path.remove(self)
            flood()


sys.meta_path.append(Finder())
sys.meta_path.insert(0, sys.meta_path.pop())
