"""What libraries say of single requests stays out of the log: in Azure each line of it would be stored, and paid.

The Functions Python worker passes on whatever is INFO or more. The durable client would write a line for each run, the
model's client one for each call, the stores' clients several for each operation, with their headers.
"""

import logging

# Top names of their loggers. Ours are all below durable_assistants.
_LIBRARIES = ("azure", "azure_functions_runtime", "azurefunctions", "durabletask", "httpx2", "openai", "uvicorn")


def quieten_libraries() -> None:
    """Let them speak up from WARNING."""
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING))
