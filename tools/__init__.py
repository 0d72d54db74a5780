"""What the model can call that we run ourselves: a table (table.py), and a module per tool."""
