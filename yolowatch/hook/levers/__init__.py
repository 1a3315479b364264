"""One file a lever that works inside the process, on an explicit order only.

An order at launch comes in the environment (`edits.py`); what a lever touches stands in its
docstring.
"""
