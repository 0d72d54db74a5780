"""The embedded task hub: durabletask's in-memory one, made fit to run on.

As shipped it is for tests (see docs/architecture.md): it hands out work through a polled gRPC stream,
gives each timer a thread, keeps ended instances, and takes whatever completion arrives for an id. Here
work goes to the host in process (`take`), timers are one heap, ended instances are forgotten at once,
and a completion counts only for the very execution that asked for it. gRPC serves the workers'
durable clients alone.

Azure's Durable Task Scheduler refuses payloads over 1 MB, so this does too.
"""

import base64
import logging
import os
import socket
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, override

import grpc
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from durabletask.testing.in_memory_backend import (
    InMemoryOrchestrationBackend,
    OrchestrationInstance,
)

from devhost.history import activity_event, orchestrator_response, sub_orchestration_event, too_large, why_too_large
from devhost.timer_heap import TimerHeap
from devhost.work import Failure, Work

logger = logging.getLogger("devhost.task_hub")


class _InProcess:
    """Stands in for the gRPC context where the host calls the backend itself."""

    def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise RuntimeError(details)


_IN_PROCESS: Any = _InProcess()


class LocalTaskHub(InMemoryOrchestrationBackend):
    """`on_work` is called, in any thread, whenever `take` or `fire_timers` may have something to do."""

    def __init__(self, on_work: Callable[[], None]) -> None:
        super().__init__(max_history_size=sys.maxsize)
        self._logger = logging.getLogger("devhost.task_hub.backend")
        self._on_work = on_work
        self._activities: deque[Work] = deque()
        self._timers = TimerHeap()
        # Instances by id have one execution at a time; a restart, also as new, gets the next number.
        self._executions: dict[str, int] = {}
        self._last_execution = 0
        self._parents: dict[str, tuple[str, int, int]] = {}

    # Serving the durable clients

    def serve(self, folder: Path) -> str:
        """Listen for durable clients; return the address they connect to.

        A socket in `folder` where the system has them: a port would be open to every user of the machine.
        """
        server = grpc.server(ThreadPoolExecutor(max_workers=16, thread_name_prefix="task-hub"))
        stubs.add_TaskHubSidecarServiceServicer_to_server(self, server)
        if hasattr(socket, "AF_UNIX") and os.name == "posix":
            address = f"unix:{folder / 'hub.sock'}"
            server.add_insecure_port(address)
        else:
            address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        self._server = server
        return address

    @override
    def StartInstance(self, request: pb.CreateInstanceRequest, context: grpc.ServicerContext) -> Any:
        if too_large(request.input.value):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, why_too_large("The orchestration's input"))
        if request.HasField("scheduledStartTimestamp"):
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "The local host starts orchestrations at once only.")
        with self._lock:
            response = super().StartInstance(request, context)
            self._begin_execution(response.instanceId)
        return response

    @override
    def RaiseEvent(self, request: pb.RaiseEventRequest, context: grpc.ServicerContext) -> Any:
        if too_large(request.input.value):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, why_too_large("The event"))
        return super().RaiseEvent(request, context)

    @override
    def GetWorkItems(self, request: pb.GetWorkItemsRequest, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "The local host hands out its work itself.")

    @override
    def SignalEntity(self, request: pb.SignalEntityRequest, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "The local host has no entities.")

    # Work, taken and completed by the host

    def take(self) -> list[Work]:
        """Return everything that is ready to run. Each piece is the caller's until it is completed."""
        with self._lock:
            work = list(self._activities)
            self._activities.clear()
            while self._orchestration_queue:
                instance_id = self._orchestration_queue.popleft()
                self._orchestration_queue_set.discard(instance_id)
                instance = self._instances.get(instance_id)
                # What comes in while a step is out is queued again when the step completes.
                if instance and instance.pending_events and instance_id not in self._orchestration_in_flight:
                    work.append(self._next_step(instance))
            return work

    def complete_step(self, work: Work, reply: str | Failure) -> None:
        """Take an orchestration's actions (base64 of an OrchestratorResponse), or its failure."""
        with self._lock:
            instance = self._current(work.instance_id, work.execution)
            if instance is None or str(instance.completion_token) != work.token:
                return
            response = orchestrator_response(work, reply)
            response.completionToken = work.token
            self.CompleteOrchestratorTask(response, _IN_PROCESS)
            if self._is_terminal_status(instance.status):
                self._forget(instance)
            elif instance.status == pb.ORCHESTRATION_STATUS_PENDING:  # continued as new
                self._begin_execution(work.instance_id)

    def complete_activity(self, work: Work, reply: str | Failure) -> None:
        """Take an activity's result (JSON text), or its failure."""
        self._deliver(work.instance_id, work.execution, activity_event(work, reply))

    def fire_timers(self, now: datetime) -> datetime | None:
        """Deliver every timer that is due; return when the next one is."""
        with self._lock:
            for timer in self._timers.pop_due(now):
                event = helpers.new_timer_fired_event(timer.id, timer.due)
                self._deliver(timer.instance_id, timer.execution, event)
            return self._timers.next_due

    # What the backend calls

    @override
    def _enqueue_orchestration(self, instance_id: str) -> None:
        super()._enqueue_orchestration(instance_id)
        self._on_work()

    @override
    def _create_instance_internal(
        self, instance_id: str, name: str, encoded_input: str | None = None, version: str | None = None
    ) -> None:
        super()._create_instance_internal(instance_id, name, encoded_input, version)
        self._begin_execution(instance_id)

    @override
    def _process_schedule_task_action(self, instance: OrchestrationInstance, action: pb.OrchestratorAction) -> None:
        if too_large(action.scheduleTask.input.value):
            raise ValueError(why_too_large(f"The input of {action.scheduleTask.name}"))
        super()._process_schedule_task_action(instance, action)
        item = self._activity_queue.pop()
        execution = self._executions[instance.instance_id]
        self._activities.append(
            Work("activity", item.name, item.input or "null", item.instance_id, execution, task_id=item.task_id)
        )
        self._on_work()

    @override
    def _process_create_timer_action(self, instance: OrchestrationInstance, action: pb.OrchestratorAction) -> None:
        due = action.createTimer.fireAt.ToDatetime(tzinfo=UTC)
        instance.history.append(helpers.new_timer_created_event(action.id, due))
        self._timers.add(due, instance.instance_id, self._executions[instance.instance_id], action.id)
        self._on_work()

    @override
    def _process_send_entity_message_action(
        self, instance: OrchestrationInstance, action: pb.OrchestratorAction
    ) -> None:
        raise NotImplementedError("The local host has no entities.")

    @override
    def _watch_sub_orchestration(self, parent_instance_id: str, sub_instance_id: str, task_id: int) -> None:
        self._parents[sub_instance_id] = (parent_instance_id, self._executions[parent_instance_id], task_id)

    @override
    def _wait_for_state(
        self, instance_id: str, predicate: Callable[[OrchestrationInstance], bool], timeout: float | None
    ) -> OrchestrationInstance | None:
        with self._lock:
            if instance_id not in self._instances:
                return None  # ended long since, or never started: there is nothing to wait for
        return super()._wait_for_state(instance_id, predicate, timeout)

    # Executions

    def _begin_execution(self, instance_id: str) -> None:
        self._last_execution += 1
        self._executions[instance_id] = self._last_execution
        self._timers.drop(instance_id)

    def _current(self, instance_id: str, execution: int) -> OrchestrationInstance | None:
        same = self._executions.get(instance_id) == execution
        return self._instances.get(instance_id) if same else None

    def _deliver(self, instance_id: str, execution: int, event: pb.HistoryEvent) -> None:
        with self._lock:
            instance = self._current(instance_id, execution)
            if instance is None:
                return
            instance.pending_events.append(event)
            instance.last_updated_at = datetime.now(UTC)
            if instance.status != pb.ORCHESTRATION_STATUS_SUSPENDED:
                self._enqueue_orchestration(instance_id)

    def _forget(self, instance: OrchestrationInstance) -> None:
        instance_id = instance.instance_id
        if instance.status == pb.ORCHESTRATION_STATUS_FAILED and instance.failure_details:
            logger.warning("orchestration %s failed: %s", instance_id, instance.failure_details.errorMessage)
        self._tell_parent(instance)
        del self._instances[instance_id], self._executions[instance_id]
        self._state_waiters.pop(instance_id, None)
        self._timers.drop(instance_id)

    def _tell_parent(self, instance: OrchestrationInstance) -> None:
        parent = self._parents.pop(instance.instance_id, None)
        if parent is None:
            return
        parent_id, execution, task_id = parent
        self._deliver(parent_id, execution, sub_orchestration_event(instance, task_id))

    def _next_step(self, instance: OrchestrationInstance) -> Work:
        events = list(instance.pending_events)
        instance.pending_events.clear()
        # current_utc_datetime advances with each step; the first one begins with such an event anyway.
        if not events[0].HasField("orchestratorStarted"):
            events.insert(0, helpers.new_orchestrator_started_event(datetime.now(UTC)))
        instance.dispatched_events = events
        self._orchestration_in_flight.add(instance.instance_id)
        request = pb.OrchestratorRequest(instanceId=instance.instance_id, pastEvents=instance.history, newEvents=events)
        return Work(
            "orchestration",
            instance.name,
            base64.b64encode(request.SerializeToString()).decode(),
            instance.instance_id,
            self._executions[instance.instance_id],
            token=str(instance.completion_token),
        )
