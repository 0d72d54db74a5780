class SetupError(Exception):
    """Something at start-up is not as it must be. The message is one line for the user."""
