"""Gets the hook into a process that runs already: a ladder of ways, the gentlest first.

`ladder` chooses and waits; each rung has a module. Nothing here decides whether to attach.
"""
