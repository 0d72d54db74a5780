"""Measurements with shipped settings: `python -m bench`, of which docs/performance.md keeps the results."""
