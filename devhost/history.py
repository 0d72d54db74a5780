"""The task hub's messages, made of what workers reply.

Azure's Durable Task Scheduler refuses payloads over 1 MB, so whatever is larger fails here too.
"""

import base64
from typing import Any

from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.testing.in_memory_backend import OrchestrationInstance
from google.protobuf import timestamp_pb2

from devhost.work import Failure, Work

MAX_PAYLOAD = 1024 * 1024  # bytes of UTF-8


def too_large(text: str) -> bool:
    return len(text) > MAX_PAYLOAD // 4 and len(text.encode()) > MAX_PAYLOAD


def why_too_large(what: str) -> str:
    return f"{what} is over 1 MB, which Azure refuses too."


def activity_event(work: Work, reply: str | Failure) -> pb.HistoryEvent:
    """`reply` is the activity's result as JSON text, or its failure."""
    if isinstance(reply, str) and too_large(reply):
        reply = Failure(why_too_large(f"The result of {work.name}"))
    if isinstance(reply, Failure):
        return _event(taskFailed=pb.TaskFailedEvent(taskScheduledId=work.task_id, failureDetails=_details(reply)))
    result = helpers.get_string_value(reply)
    return _event(taskCompleted=pb.TaskCompletedEvent(taskScheduledId=work.task_id, result=result))


def orchestrator_response(work: Work, reply: str | Failure) -> pb.OrchestratorResponse:
    """`reply` is base64 of the orchestrator's response, or why there is none: then the orchestration fails."""
    if isinstance(reply, Failure):
        return _failed(work.instance_id, reply)
    response = pb.OrchestratorResponse.FromString(base64.b64decode(reply))
    if any(too_large(action.completeOrchestration.result.value) for action in response.actions):
        return _failed(work.instance_id, Failure(why_too_large("The orchestration's output")))
    return response


def sub_orchestration_event(instance: OrchestrationInstance, task_id: int) -> pb.HistoryEvent:
    """What the parent of an ended instance is told."""
    if instance.status == pb.ORCHESTRATION_STATUS_COMPLETED:
        return helpers.new_sub_orchestration_completed_event(task_id, instance.output)
    text = instance.failure_details.errorMessage if instance.failure_details else "It was terminated."
    return helpers.new_sub_orchestration_failed_event(task_id, Exception(text))


def _event(**payload: Any) -> pb.HistoryEvent:
    return pb.HistoryEvent(eventId=-1, timestamp=timestamp_pb2.Timestamp(), **payload)


def _details(failure: Failure) -> pb.TaskFailureDetails:
    return pb.TaskFailureDetails(
        errorType=failure.error.partition("(")[0] if failure.trace else "RuntimeError",
        errorMessage=failure.error,
        stackTrace=helpers.get_string_value(failure.trace),
    )


def _failed(instance_id: str, failure: Failure) -> pb.OrchestratorResponse:
    ending = pb.CompleteOrchestrationAction(
        orchestrationStatus=pb.ORCHESTRATION_STATUS_FAILED, failureDetails=_details(failure)
    )
    return pb.OrchestratorResponse(
        instanceId=instance_id, actions=[pb.OrchestratorAction(id=-1, completeOrchestration=ending)]
    )
