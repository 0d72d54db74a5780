"""What the workers find in their environment, and what a user can get wrong before they start."""

import json
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from devhost.ownership import owned
from devhost.setup_error import SetupError

SWEEPER_SCHEDULE = "*/5 * * * * *"
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
# Pages that are served on this machine, from any port.
CORS_ORIGINS = ",".join(f"{scheme}://{name}:*" for scheme in ("http", "https") for name in _LOCAL_NAMES)
_MODEL_SETTINGS = ("MODEL_BASE_URL", "MODEL_AZURE_ENDPOINT")


@dataclass(frozen=True, slots=True)
class Environment:
    """`api_key` is set where the host made one; the user has to be told it."""

    variables: dict[str, str]
    data: Path
    api_key: str = ""

    @property
    def names_a_model(self) -> bool:
        return any(self.variables.get(name, "").strip() for name in _MODEL_SETTINGS)

    @property
    def names_code_sessions(self) -> bool:
        return bool(self.variables.get("CODE_SESSIONS_ENDPOINT", "").strip())


@contextmanager
def prepared(app: Path, data: Path | None, outside: Mapping[str, str] = os.environ) -> Iterator[Environment]:
    """Work out the workers' environment; make the data folder and own it meanwhile. Raises SetupError."""
    if not (app / "function_app.py").is_file():
        raise SetupError(f"There is no function_app.py in {app}.")
    ours = {"SWEEPER_SCHEDULE": SWEEPER_SCHEDULE, "CORS_ORIGINS": CORS_ORIGINS}
    variables = ours | _local_settings(app) | dict(outside)
    folder = _data_folder(app, data or Path(variables.get("DATA_DIR") or ".data"))
    variables |= {
        "DATA_DIR": str(folder),
        "AZURE_FUNCTIONS_ENVIRONMENT": "Development",
        # Workers run in the app's folder, which need not be the one that holds this package.
        "PYTHONPATH": os.pathsep.join(filter(None, [_package_root(), variables.get("PYTHONPATH", "")])),
    }
    with owned(folder):
        made = ""
        if not variables.get("ASSISTANTS_API_KEY", "").strip():
            made = variables["ASSISTANTS_API_KEY"] = _kept_api_key(folder)
        yield Environment(variables, folder, made)


def check_model_is_not_us(variables: Mapping[str, str], host: str, port: int) -> None:
    """Raises SetupError if a model setting names our own address: every run would call itself."""
    names = {"localhost", "127.0.0.1", "::1", "0.0.0.0", host.lower(), socket.gethostname().lower()}
    for setting in _MODEL_SETTINGS:
        parts = urlsplit(variables.get(setting, "").strip())
        try:
            target = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise SetupError(f"{setting} has a port that is not a number.") from None
        if parts.hostname in names and target == port:
            raise SetupError(f"{setting} is this service's own address; it must name a model's.")


def _local_settings(app: Path) -> dict[str, str]:
    path = app / "local.settings.json"
    if not path.exists():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig")).get("Values", {})
        return {name: str(value) for name, value in values.items()}
    except (ValueError, AttributeError, OSError) as error:
        raise SetupError(f"local.settings.json cannot be read: {error}") from None


def _data_folder(app: Path, data: Path) -> Path:
    folder = (app / data.expanduser()).resolve()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"The data folder {folder} cannot be made: {error.strerror}.") from None
    return folder


def _kept_api_key(folder: Path) -> str:
    """Return the key of an earlier start, or a new one, readable by its owner alone."""
    path = folder / "api-key"
    try:
        if path.exists() and (kept := path.read_text().strip()):
            return kept
        key = secrets.token_urlsafe(32)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(key + "\n")
    except OSError as error:
        raise SetupError(f"The API key cannot be kept in {path}: {error.strerror}.") from None
    return key


def _package_root() -> str:
    return str(Path(__file__).resolve().parent.parent)
