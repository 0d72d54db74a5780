"""Can code be kept in a box here, and if not, why, and what to do?"""

import platform
import sys

from sandbox.bubblewrap import NoBubblewrap, Runtime, find_bubblewrap
from sandbox.inside.limits import Limits
from sandbox.session import Session, SessionLost
from sandbox.syscalls import ARCHITECTURES

# What bubblewrap says where the kernel or a container refuses it a namespace.
_REFUSALS = (
    "No permissions to create new namespace",
    "Creating new namespace failed",
    "setting up uid map",
    "Failed to make / slave",
    "Can't mount proc",
    "Operation not permitted",
    "No space left on device",  # of namespaces: user.max_user_namespaces
)
_WHAT_TO_DO = (
    "Namespaces are not allowed here, so there is no sandbox. On Ubuntu since 24.04 an AppArmor profile must allow "
    "them to bwrap (or sysctl kernel.apparmor_restrict_unprivileged_userns=0); elsewhere see sysctl "
    "user.max_user_namespaces and kernel.unprivileged_userns_clone; Docker's default profiles forbid them."
)


async def why_unavailable(runtime: Runtime, *, user: int | None = None) -> str | None:
    """Return a sentence for who runs the host; None if a session can be started. `user` as in Session.start."""
    if sys.platform != "linux":
        return f"The sandbox needs Linux (its namespaces and seccomp); this is {platform.system()}."
    if platform.machine() not in ARCHITECTURES:
        return f"The sandbox knows the system calls of {' and '.join(ARCHITECTURES)}; this is {platform.machine()}."
    try:
        session = await Session.start(find_bubblewrap(), runtime, Limits(), user=user)
    except NoBubblewrap as reason:
        return f"The sandbox can't be made: {reason}"
    except SessionLost as lost:
        said = str(lost)
        return (
            f"{_WHAT_TO_DO} (bwrap: {said})"
            if any(each in said for each in _REFUSALS)
            else f"The sandbox fails: {said}"
        )
    await session.close()
    return None
