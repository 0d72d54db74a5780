"""The ports' implementations: a module per technology, each with its one SDK."""
