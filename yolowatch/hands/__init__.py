"""The few verbs that act on processes, behind one port.

`local` acts as the user it runs as. Whoever uses the port cannot tell it from another with more
rights, and never needs to.
"""
