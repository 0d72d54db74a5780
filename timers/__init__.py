"""Timer-triggered functions: the sweepers."""

from timers import sweep_runs

blueprints = [sweep_runs.bp]
