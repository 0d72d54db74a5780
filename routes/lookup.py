"""Finding what a path names: an id that could be one, and the document that has it (E.11)."""

from errors import NotFound
from ids import Kind, check_id
from ports.documents import Document
from routes.operation import Call


def path_id(call: Call, kind: Kind, param: str) -> str:
    """Return the id that the path has for `param`. InvalidRequest if it could not be one."""
    return check_id(kind, call.params[param], param)


async def load(call: Call, partition: str, id: str, noun: str) -> Document:
    """Return the document. NotFound, in the API's words, if the partition has none of this id."""
    document = await call.documents.get(partition, id)
    if document is None:
        raise NotFound(f"No {noun} found with id '{id}'.")
    return document
