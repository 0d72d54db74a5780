"""Deterministic: orchestrators decide what comes next and do nothing themselves."""

from orchestrators import run

blueprints = [run.bp]
