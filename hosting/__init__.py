"""What the Functions host and its Python worker do otherwise than this app needs, and what is done about it."""
