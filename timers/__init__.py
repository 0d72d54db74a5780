"""Timer-triggered functions: the sweepers."""

from timers import sweep_files, sweep_runs

blueprints = [sweep_files.bp, sweep_runs.bp]
