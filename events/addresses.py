"""Where the documents of a thread live and what they are called (architecture, section 3)."""

from ports.documents import Document


def thread_partition(tenant: str, thread_id: str) -> str:
    return f"{tenant}/{thread_id}"


def tenant_of(partition: str) -> str:
    return partition.partition("/")[0]


def batch_id(run_id: str, number: int) -> str:
    return f"{run_id}.log.{number:08}"


def batch_sort(run_id: str, number: int) -> str:
    return f"{run_id}.{number:08}"


def turn_id(run_id: str, turn: int) -> str:
    return f"{run_id}.turn.{turn:04}"


def call_record_id(run_id: str, turn: int, index: int) -> str:
    return f"{turn_id(run_id, turn)}.call.{index:04}"


def sort_of(seq: int) -> str:
    """The place of the thread's `seq`-th listable thing."""
    return f"{seq:012}"


def active_run_of(thread: Document) -> str | None:
    return thread.body["active_run_id"]
