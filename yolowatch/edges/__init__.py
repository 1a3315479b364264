"""Everything that touches the world: sockets, files, processes, clocks, devices.

An edge reads or writes and reports; it decides nothing. What cannot be read is None or an error
with a reason, never zero. Errors that a user can cause are `yolowatch.errors`.
"""
