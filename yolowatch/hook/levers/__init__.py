"""One file a lever that works inside the process, on an explicit order only.

An order at launch comes in the environment (`edits.py`), a live one over the socket (`orders.py` of
the hook); what a lever touches stands in its docstring.
"""
