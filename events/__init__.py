"""The run's event log: written through the document port, folded, closed, and sent as a stream."""
