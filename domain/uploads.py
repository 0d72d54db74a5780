"""Uploads: large files that arrive in parts (C.10, I.4). An upload is the dict the API shows."""

from collections.abc import Mapping
from typing import Any

from domain.files import MAX_PART
from errors import InvalidRequest

Resource = dict[str, Any]

LIFETIME = 3_600  # seconds


def new_upload(upload_id: str, filename: str, size: int, purpose: str, *, now: int) -> Resource:
    return {
        "id": upload_id,
        "object": "upload",
        "created_at": now,
        "filename": filename,
        "bytes": size,
        "purpose": purpose,
        "status": "pending",
        "expires_at": now + LIFETIME,
        "file": None,
    }


def new_part(part_id: str, upload_id: str, *, now: int) -> Resource:
    return {"id": part_id, "object": "upload.part", "created_at": now, "upload_id": upload_id}


def seen_at(upload: Resource, now: float) -> Resource:
    """Return the upload as it is now: a pending one whose time is over has expired."""
    if upload["status"] == "pending" and upload["expires_at"] <= now:
        return upload | {"status": "expired"}
    return upload


def check_pending(upload: Mapping[str, Any], verb: str) -> None:
    """`verb` reads like "add parts to"."""
    if upload["status"] != "pending":
        raise InvalidRequest(f"Cannot {verb} upload with status '{upload['status']}'.")


def check_room(stored: int, size: int) -> None:
    """Refuse more parts once they are far beyond the announced size.

    Twice that and one part is let through: clients send a part again when its answer was lost.
    """
    if stored > 2 * size + MAX_PART:
        raise InvalidRequest(f"The parts of this upload hold {stored} bytes already, but its size is {size} bytes.")


def check_size(total: int, size: int) -> None:
    if total != size:
        raise InvalidRequest(f"The parts hold {total} bytes in all, but the upload was created with {size} bytes.")


def check_md5(digest: str, expected: str | None) -> None:
    if expected is not None and digest != expected.strip().lower():
        raise InvalidRequest("The md5 of the uploaded bytes is not the given one.", param="md5")
