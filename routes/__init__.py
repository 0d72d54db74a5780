"""The HTTP edge: a module per resource, a function per operation."""

from routes import addressing, assistants, files, health, messages, run_events, run_steps, runs, threads, uploads

blueprints = (
    assistants.bp,
    threads.bp,
    messages.bp,
    runs.bp,
    run_steps.bp,
    run_events.bp,
    files.bp,
    uploads.bp,
    health.bp,
    addressing.bp,
)
