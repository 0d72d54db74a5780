"""Pure rules: no clock of its own, no I/O, no web framework, no SDK."""
