"""Functions that the host calls by itself: timers, and the warm-up of an instance."""

from timers import sweep_files, sweep_hub, sweep_runs, warm_up

blueprints = [sweep_files.bp, sweep_hub.bp, sweep_runs.bp, warm_up.bp]
