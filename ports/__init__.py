"""What we need from the world: a Protocol per module. All adapters of a port pass one contract suite."""
