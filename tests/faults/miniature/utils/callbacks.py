"""The callbacks of the miniature: actions by the name of the event to which they belong."""


class Callbacks:
    """What others may do at the events of a training."""

    def __init__(self):
        self._actions = {}
        self.stop_training = False

    def register_action(self, hook, name="", callback=None):
        """Let `callback` be called at every event `hook`."""
        self._actions.setdefault(hook, []).append((name, callback))

    def run(self, hook, *args, **kwargs):
        """The event `hook` happens."""
        for _name, callback in self._actions.get(hook, ()):
            callback(*args, **kwargs)
