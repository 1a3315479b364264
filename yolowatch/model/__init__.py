"""The frozen nouns that every other room speaks in.

Only data and what follows from it without asking the world: no I/O, no clock, no policy.
"""
