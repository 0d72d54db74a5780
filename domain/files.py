"""Files: purposes, names, types, expiry and quota (C.8, I.1 to I.3).

A file is the dict the API shows. Times are Unix seconds, sizes bytes.
"""

import mimetypes
import re
from collections.abc import Mapping
from typing import Any

from errors import InvalidRequest, TooLarge

Resource = dict[str, Any]

MAX_BYTES = 512 << 20  # of one request; larger files go through the Uploads API
MAX_PART = 64 << 20  # of a file that is sent in parts
BATCH_LIFETIME = 30 * 86_400  # of a file of purpose "batch" that says nothing itself (I.2.2)

# In the order in which the hosted service's error names them (I.1.3). Everything that can be stored can
# also be downloaded (I.1.2).
PURPOSES = ("fine-tune", "assistants", "batch", "user_data", "vision", "evals")

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(; ?[\w.+-]+=[\w.+-]+)*", re.ASCII)
_ANY_BYTES = "application/octet-stream"


def check_purpose(purpose: str) -> str:
    if purpose in PURPOSES:
        return purpose
    raise InvalidRequest(f"'{purpose[:100]}' is not one of {list(PURPOSES)} - 'purpose'", param="purpose")


def new_file(
    file_id: str, filename: str, size: int, purpose: str, *, now: int, lifetime: int | None = None
) -> Resource:
    """Return a file that is ready for use; `lifetime` None: it stays until it is deleted."""
    if lifetime is None and purpose == "batch":
        lifetime = BATCH_LIFETIME
    return {
        "object": "file",
        "id": file_id,
        "purpose": purpose,
        "filename": filename,
        "bytes": size,
        "created_at": now,
        "expires_at": None if lifetime is None else now + lifetime,
        "status": "processed",
        "status_details": None,
    }


def is_expired(file: Mapping[str, Any], now: float) -> bool:
    return file["expires_at"] is not None and file["expires_at"] <= now


def base_name(filename: str) -> str:
    """Return the name without its path, which some browsers send along, and without control characters."""
    name = _CONTROL.sub("", re.split(r"[/\\]", filename)[-1]).strip()
    return name if name not in ("", ".", "..") else "upload"


def media_type(declared: str, filename: str) -> str:
    """Return the declared type if it says anything, else what the name suggests."""
    if _MEDIA_TYPE.fullmatch(declared) and declared != _ANY_BYTES:
        return declared
    return mimetypes.guess_type(filename)[0] or _ANY_BYTES


def check_quota(size: int, used: int, quota: int) -> None:
    """InvalidRequest if `size` more bytes exceed the tenant's quota; 0 means that there is none."""
    if quota and used + size > quota:
        raise InvalidRequest(
            f"This file does not fit: your files take {used} bytes, and the storage quota is {quota} bytes. "
            "Delete files that you no longer need.",
            param="file",
            code="storage_quota_exceeded",
        )


def too_large(limit: int, param: str = "file") -> TooLarge:
    """`limit` is what one request may hold, in bytes."""
    part = min(MAX_PART, limit) / (1 << 20)
    return TooLarge(
        f"The file is too large for one request. The limit is {limit} bytes. Send it in parts of up to {part:.3g} MB "
        "with the Uploads API (POST /uploads).",
        param=param,
    )
