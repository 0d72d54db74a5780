"""The local host: runs the real function_app.py without Azure, Docker or Core Tools.

A host process owns the public port (gate), the task hub (task_hub) and the timers (schedule); worker
processes (worker) load the app with Microsoft's own worker library, serve its HTTP functions and run
its orchestrators, activities and timer functions. `python -m devhost` starts it.
"""

import os

# gRPC would otherwise interfere, and complain, each time a worker is started. It reads this when it is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
