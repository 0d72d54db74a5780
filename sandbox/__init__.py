"""Runs a model's Python where it can do no harm: one process tree in bubblewrap for each session.

`session.py` is the host's side; `inside/` is all that is copied into the box, where it needs nothing but Python.
"""
