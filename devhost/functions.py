"""Loads function_app.py with the worker library that Azure runs, and invokes its functions through it."""

import importlib
import inspect
import json
import logging
import sys
import traceback
import types
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azure_functions_runtime import handle_event, native_invocation, start_threadpool_executor
from azure_functions_runtime.bindings.datumdef import Datum
from azure_functions_runtime.bindings.meta import load_binding_registry

from devhost.work import Failure, Kind

TRIGGERS: dict[str, Kind] = {
    "orchestrationTrigger": "orchestration",
    "activityTrigger": "activity",
    "timerTrigger": "timer",
    "warmupTrigger": "warmup",
}

logger = logging.getLogger("devhost.functions")

_TICK = json.dumps({"IsPastDue": False, "Schedule": {}, "ScheduleStatus": {}})


class AppBroken(Exception):
    """The app cannot be loaded. The message is one line."""


class StoreBroken(AppBroken):
    """The app is loaded and can say of each request why it can't serve it."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function of the app. `trigger` is its trigger's binding; `clients` are its durable client parameters."""

    name: str
    id: str
    call: Any
    trigger: dict[str, Any]
    clients: list[str]


class BindingInfo(types.SimpleNamespace):
    out, inout, undefined = 1, 2, 0


setattr(BindingInfo, "in", 0)


class Messages:
    """Stands in for the protobuf module that the Functions host hands to the worker library."""

    BindingInfo = BindingInfo

    def __getattr__(self, name: str) -> type:
        return type(name, (types.SimpleNamespace,), {})


class App:
    """The app's functions by name, orchestrators and activities by the name they are called with."""

    def __init__(self, folder: Path, client_settings: str) -> None:
        """`client_settings` is the JSON text a durable client binding gives. Raises AppBroken."""
        self._client_settings = client_settings
        self.http: list[Function] = []
        self.timers: list[Function] = []
        self._warm_up: Function | None = None  # Azure allows one
        self._invocable: dict[tuple[Kind, str], Function] = {}
        start_threadpool_executor()
        for function in _index(folder):
            self._add(function)

    def _add(self, function: Function) -> None:
        trigger = function.trigger
        if trigger["type"] == "httpTrigger":
            self.http.append(function)
        elif kind := TRIGGERS.get(trigger["type"]):
            called = trigger.get("orchestration") or trigger.get("activity") or function.name
            self._invocable[kind, called] = function
            if kind == "timer":
                self.timers.append(function)
            elif kind == "warmup":
                self._warm_up = function

    async def warm_up(self) -> None:
        """Run the warm-up function, if there is one. Raises AppBroken if it finds that a setting or the store is."""
        if self._warm_up is None:
            return
        outcome = await self.invoke("warmup", self._warm_up.name, "{}")
        if isinstance(outcome, Failure):
            for name, kind in (("SettingsError", AppBroken), ("StoreBroken", StoreBroken)):
                if outcome.error.startswith(f"{name}("):
                    raise kind(outcome.trace.rstrip().rpartition(f"{name}: ")[2])
            logger.warning("%s failed: %s", self._warm_up.name, outcome.error)

    async def request(self, function: Function, request: Any) -> Any:
        """Call an HTTP function with the request itself, as the FastAPI extension does."""
        arguments = {function.trigger["name"]: request}
        arguments |= dict.fromkeys(function.clients, self._client_settings)
        result = function.call(**arguments)
        return await result if inspect.isawaitable(result) else result

    async def invoke(self, kind: Kind, name: str, body: str) -> str | Failure:
        """Run an orchestration step, an activity, a timer or the warm-up; return what it gives back."""
        function = self._invocable.get((kind, name))
        if function is None:
            return Failure(f"The app has no {kind} function named {name}.")
        trigger = Datum(type="json", value=_TICK) if kind == "timer" else Datum(type="string", value=body)
        inputs = [(function.trigger["name"], trigger)]
        inputs += [(client, Datum(type="string", value=self._client_settings)) for client in function.clients]
        ok, result, _, error, trace = await native_invocation.invocation_request_native(
            uuid.uuid4().hex, function.id, inputs, {}
        )
        if not ok:
            return Failure(error or "unknown error", trace or "")
        return "" if result is None or result.value is None else result.value


def _index(folder: Path) -> list[Function]:
    sys.path.insert(0, str(folder))
    handle_event.protos = Messages()
    load_binding_registry()
    try:
        importlib.import_module("function_app")
        handle_event.load_function_metadata(str(folder), "devhost")
    # Whatever the app's modules raise while they are imported ends here, as one line.
    except BaseException as error:
        raise AppBroken(_one_line(error, folder)) from error
    return [_function(metadata) for metadata in handle_event._metadata_result or []]


def _function(metadata: Any) -> Function:
    registry: Any = handle_event._functions
    info = registry.get_function(metadata.function_id)
    bindings = [json.loads(raw) for raw in metadata.raw_bindings]
    trigger = next(binding for binding in bindings if binding["type"].endswith("Trigger"))
    clients = [binding["name"] for binding in bindings if binding["type"] == "durableClient"]
    return Function(info.name, info.function_id, info.func, trigger, clients)


def _one_line(error: BaseException, folder: Path) -> str:
    if type(error).__name__ == "SettingsError":
        return str(error)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(str(folder))]
    place = f" ({Path(frames[-1].filename).relative_to(folder)}, line {frames[-1].lineno})" if frames else ""
    last = " ".join(traceback.format_exception_only(error)[-1].split())
    return f"function_app.py does not load: {last}{place}"
