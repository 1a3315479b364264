"""The demonstration's guest room: two programs for the trainer's own Python. They import nobody
here.
"""
