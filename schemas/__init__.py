"""The shapes of the API, a module per resource: what requests may hold, and what is stored of it."""
