"""The model test of taking over, committing and closing: every order of things, up to a stated depth."""
