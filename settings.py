"""The service's settings: read once from the environment, checked, never changed."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@,*]+(:\*)?")
_DEFAULT_PORTS = re.compile(r"^(http://.*):80$|^(https://.*):443$")
LONGEST_RUN = 30 * 86_400.0  # seconds; its log is kept that long too
LONGEST_CODE = 220.0  # seconds; a pool of dynamic sessions ends a call then
# Where the platform runs the app it sets these; neither Core Tools nor the local host does.
AZURE_SETS = ("WEBSITE_INSTANCE_ID", "WEBSITE_SITE_NAME")


def is_azure(environment: Mapping[str, str] = os.environ) -> bool:
    return any(environment.get(name, "").strip() for name in AZURE_SETS)


class SettingsError(Exception):
    """A setting is missing or broken. The message names it and fits on one line."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, with its environment variable's name in capitals.

    Empty strings mean "not set". Durations are in seconds. What is secret stays out of its repr.
    """

    assistants_api_key: str = field(default="", repr=False)
    data_dir: Path = Path(".data")
    run_lifetime_seconds: float = 600.0  # E.2.1; users wanted longer ones (E.2.4)
    stream_keep_alive_seconds: float = 15.0  # 0: a silent stream says nothing
    # Of pages in browsers that may call the service, as browsers write them; `:*` for any port, "*" for all.
    cors_origins: tuple[str, ...] = ()
    # Only these name the model, never the SDK's own variables: clients of this service set those,
    # and reading them would make the service call itself.
    model_base_url: str = ""
    model_api_key: str = field(default="", repr=False)
    model_azure_endpoint: str = ""
    model_context_tokens: int = 32_000
    # Documents: in Cosmos DB if the endpoint is set, else in the data folder.
    cosmos_endpoint: str = ""
    # For emulators on this machine; in Azure the app's identity opens the store.
    cosmos_key: str = field(default="", repr=False)
    cosmos_database: str = "assistants"
    cosmos_regions: tuple[str, ...] = ()  # preferred ones, the nearest first, such as "Sweden Central"
    # Files: in Blob Storage if one of the first two is set, else in the data folder.
    blob_endpoint: str = ""
    blob_connection_string: str = field(default="", repr=False)  # for emulators: it holds a key
    blob_container: str = "files"
    files_quota_bytes: int = 0  # of all files of a tenant; 0 means no quota
    # The code interpreter: in a pool of dynamic sessions, or in the sandbox of the local host, which sets the socket.
    code_sessions_endpoint: str = ""  # the pool's poolManagementEndpoint
    code_sessions_socket: str = ""
    code_timeout_seconds: float = 120.0  # of one call (G.1.11)

    @property
    def has_model(self) -> bool:
        return bool(self.model_base_url or self.model_azure_endpoint)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Raises SettingsError for a value that cannot be used."""

        def text(name: str) -> str:
            return environment.get(name, "").strip()

        settings = cls(
            assistants_api_key=text("ASSISTANTS_API_KEY"),
            data_dir=Path(text("DATA_DIR") or ".data").expanduser(),
            run_lifetime_seconds=_number(environment, "RUN_LIFETIME_SECONDS", 600.0, at_least=1.0, at_most=LONGEST_RUN),
            stream_keep_alive_seconds=_number(
                environment, "STREAM_KEEP_ALIVE_SECONDS", 15.0, at_least=0.01, or_zero=True
            ),
            cors_origins=tuple(map(_origin, _listed(text("CORS_ORIGINS")))),
            model_base_url=_url(text("MODEL_BASE_URL"), "MODEL_BASE_URL"),
            model_api_key=text("MODEL_API_KEY"),
            model_azure_endpoint=_url(text("MODEL_AZURE_ENDPOINT"), "MODEL_AZURE_ENDPOINT"),
            model_context_tokens=int(_number(environment, "MODEL_CONTEXT_TOKENS", 32_000, at_least=1_000)),
            cosmos_endpoint=_url(text("COSMOS_ENDPOINT"), "COSMOS_ENDPOINT"),
            cosmos_key=text("COSMOS_KEY"),
            cosmos_database=text("COSMOS_DATABASE") or "assistants",
            cosmos_regions=_listed(text("COSMOS_REGIONS")),
            blob_endpoint=_url(text("BLOB_ENDPOINT"), "BLOB_ENDPOINT"),
            blob_connection_string=text("BLOB_CONNECTION_STRING"),
            blob_container=text("BLOB_CONTAINER") or "files",
            files_quota_bytes=int(_number(environment, "FILES_QUOTA_BYTES", 0, at_least=0)),
            code_sessions_endpoint=_url(text("CODE_SESSIONS_ENDPOINT"), "CODE_SESSIONS_ENDPOINT"),
            code_sessions_socket=text("CODE_SESSIONS_SOCKET"),
            code_timeout_seconds=_number(
                environment, "CODE_TIMEOUT_SECONDS", 120.0, at_least=1.0, at_most=LONGEST_CODE
            ),
        )
        if settings.model_base_url and settings.model_azure_endpoint:
            raise SettingsError("Set MODEL_BASE_URL or MODEL_AZURE_ENDPOINT, not both.")
        if settings.blob_endpoint and settings.blob_connection_string:
            raise SettingsError("Set BLOB_ENDPOINT or BLOB_CONNECTION_STRING, not both.")
        if settings.code_sessions_endpoint and settings.code_sessions_socket:
            raise SettingsError("Set CODE_SESSIONS_ENDPOINT or CODE_SESSIONS_SOCKET, not both.")
        if settings.cosmos_key and not _is_local(settings.cosmos_endpoint):
            raise SettingsError(
                "COSMOS_KEY is for emulators on this machine: in Azure the app's identity opens the store."
            )
        if is_azure(environment) and not (settings.cosmos_endpoint and settings.blob_endpoint):
            raise SettingsError(
                "In Azure set COSMOS_ENDPOINT and BLOB_ENDPOINT: what an instance's disk holds is lost with it."
            )
        return settings


def _listed(value: str) -> tuple[str, ...]:
    return tuple(stripped for part in value.split(",") if (stripped := part.strip()))


def _origin(value: str) -> str:
    """Return the origin as a browser writes it: small letters, no default port, nothing behind the host."""
    origin = value.lower().removesuffix("/")
    if origin != "*" and not _ORIGIN.fullmatch(origin):
        raise SettingsError(
            "CORS_ORIGINS must be origins such as https://example.com or http://localhost:*, separated by commas."
        )
    return _DEFAULT_PORTS.sub(lambda found: found[1] or found[2], origin)


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in LOCAL_HOSTS


def _number(
    environment: Mapping[str, str],
    name: str,
    default: float,
    *,
    at_least: float,
    at_most: float | None = None,
    or_zero: bool = False,
) -> float:
    raw = environment.get(name, "").strip()
    if not raw:
        return default
    try:
        value = float(raw)
    except ValueError:
        raise SettingsError(f"{name} must be a number, not '{raw[:40]}'.") from None
    if or_zero and value == 0:
        return 0.0
    if not at_least <= value < float("inf"):
        raise SettingsError(f"{name} must be at least {at_least:g}{', or 0' if or_zero else ''}.")
    if at_most is not None and value > at_most:
        raise SettingsError(f"{name} must be at most {at_most:.0f}.")
    return value


def _url(value: str, name: str) -> str:
    if value and not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", value):
        raise SettingsError(f"{name} must be an http(s) URL, such as https://example.com/v1.")
    return value.rstrip("/")
