"""Every effect on a run: processes behind one port, and the steps of a plan.

`port` and `local` launch and signal as the user they run as. `executor` carries out the steps that
the daemon asks for, with `launching`, `resuming` and `vaulting`; it decides nothing.
"""
