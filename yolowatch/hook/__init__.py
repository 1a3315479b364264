"""The guest room: what runs inside the training process.

Python >= 3.8, the standard library and relative imports only, since this package is copied out of
yolowatch and imported under another name by the training's own interpreter. It uses torch through
`sys.modules`, never imports it, and when anything here fails the training goes on untouched.
"""
