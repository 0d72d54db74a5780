"""Picks the adapters from the settings, once per process. Routes, activities and timers ask here;
everything below them takes its ports as arguments."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hosting.configuration import HostConfiguration
from ports.blobs import Blobs
from ports.code_sessions import CodeSessions
from ports.documents import Documents
from ports.language_model import LanguageModel
from settings import Settings
from tools.code_interpreter import CodeInterpreter
from tools.table import Table

if TYPE_CHECKING:
    from adapters.durable_task_hub import DurableTaskHub


@cache
def settings() -> Settings:
    return Settings.from_environment()


def check() -> None:
    """Raise SettingsError for what the settings or the adapters find broken, before any request comes."""
    host()
    if settings().cosmos_endpoint:
        documents()  # a local file is opened by the processes that use it
    blobs()
    language_model()


@cache
def host() -> HostConfiguration:
    return HostConfiguration.read()


@cache
def documents() -> Documents:
    if settings().cosmos_endpoint:
        from adapters.cosmos_client import cosmos_documents

        return cosmos_documents(settings())
    from adapters.sqlite import SqliteDocuments

    return SqliteDocuments(settings().data_dir / "assistants.db")


@cache
def blobs() -> Blobs:
    if settings().blob_endpoint or settings().blob_connection_string:
        from adapters.blob_storage import blob_storage

        return blob_storage(settings())
    from adapters.folder import FolderBlobs

    return FolderBlobs(settings().data_dir / "files")


@cache
def language_model() -> LanguageModel:
    from adapters.openai_models import OpenAIModels

    return OpenAIModels(settings())


@cache
def tools() -> Table:
    """Return the built-in tools that can be run here, by type."""
    sessions = _code_sessions()
    if sessions is None:
        return {}
    interpreter = CodeInterpreter(
        sessions,
        documents(),
        blobs,
        timeout=settings().code_timeout_seconds,
        quota=settings().files_quota_bytes,
    )
    return {interpreter.type: interpreter}


def _code_sessions() -> CodeSessions | None:
    if settings().code_sessions_endpoint:
        from adapters.dynamic_sessions import dynamic_sessions

        return dynamic_sessions(settings())
    if settings().code_sessions_socket:
        from adapters.local_code_sessions import LocalCodeSessions

        return LocalCodeSessions(Path(settings().code_sessions_socket))
    return None


@cache
def task_hub(configuration: str) -> "DurableTaskHub":
    """Return both ports of ports/task_hub.py in one. `configuration` is the JSON text of a durableClient binding."""
    from adapters.durable_task_hub import DurableTaskHub

    return DurableTaskHub(configuration)
