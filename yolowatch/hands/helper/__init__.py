"""The root helper: the few verbs that need another user's rights, for a core that has none.

It is a program of its own, `yolowatch-helper`, with a socket that only the core's user may use. The
core names a run and typed edits, as `protocol` has them; it can say no argument vector, no program
and no file. What is started again is what the helper itself captured while the process lived. All
that is a user's (files, checkpoints, signals) is touched by a `worker`, a process per run that has
given up root for that user's rights before it hears of the run's directory, and that the kernel
then confines to that directory.
"""
