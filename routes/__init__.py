"""The HTTP edge: a module per resource, a function per operation."""
