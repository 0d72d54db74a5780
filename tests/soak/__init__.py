"""Kills, freezes and locks for a long while, and counts what was lost: `python3 dev.py soak`."""
