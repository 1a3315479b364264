"""Pure decisions: what is wrong, what will happen, what to change.

No I/O and no clock: time is an argument. Unknown is not zero: an input that is missing never makes
a decision more active.
"""
