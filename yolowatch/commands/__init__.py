"""The front door: one file a command, a small protocol and a tuple of them all."""
