"""Whether whoever started a training would start something again when it ends.

A loop in a script, a sweep or a scheduler goes on by itself: to resume its training beside it would
be to train twice. A person at a prompt does not. What cannot be told apart counts as one that goes
on: unknown never makes a plan more active.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from yolowatch.model.adoption import Ancestor

_SHELLS = ("bash", "zsh", "fish", "sh", "dash", "ksh", "tcsh", "csh")
_INTERACTIVE_OPTIONS = ("-l", "-i", "--login", "-il", "-li", "-s", "--posix", "--norc")
# Programs above a prompt: they start shells for people, and nothing by themselves.
_ABOVE_PROMPTS = (
    "sshd",
    "sshd-session",
    "login",
    "su",
    "sudo",
    "doas",
    "systemd",
    "init",
    "tmux",
    "screen",
    "SCREEN",
    "script",
    "dtach",
    "mosh-server",
    "xterm",
    "konsole",
    "gnome-terminal-server",
    "kitty",
    "alacritty",
)
_KERNELS = ("ipykernel_launcher", "ipykernel", "jupyter", "jupyter-lab", "jupyter-notebook")


def goes_on(ancestor: Ancestor) -> bool:
    """Whether this surviving ancestor may start a training by itself."""
    if not ancestor.argv:
        return True
    # Some say what they do in their name, as in "sshd: alice@pts/0".
    name = os.path.basename(ancestor.argv[0].partition(":")[0])
    if name in _ABOVE_PROMPTS:
        return False
    if name.lstrip("-") not in _SHELLS:
        return True
    options = ancestor.argv[1:]
    at_prompt = all(each in _INTERACTIVE_OPTIONS for each in options)
    return not (at_prompt and ancestor.has_terminal)


def obstacle(survivors: Iterable[Ancestor]) -> str | None:
    """Why a training of these surviving ancestors is not to be started again, or None."""
    for each in survivors:
        if goes_on(each):
            name = os.path.basename(each.argv[0]) if each.argv else "a program"
            return (
                f"{name} (process {each.process.pid}), which started the training, still runs "
                "and may go on to something else"
            )
    return None


def is_notebook(argv: Sequence[str]) -> bool:
    """Whether this is a notebook's kernel or an interpreter's prompt, which is only observed."""
    words = [os.path.basename(each) for each in argv]
    if any(each in _KERNELS for each in words):
        return True
    python = bool(words) and words[0].startswith("python")
    return python and (len(words) == 1 or "-i" in words[1:2])
