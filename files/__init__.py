"""A tenant's files: their records, written through the document port, and what their bytes are made into."""
