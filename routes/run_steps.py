"""Run steps: list and retrieve (B.4)."""

import azure.durable_functions as df
from azurefunctions.extensions.http.fastapi import Response

from errors import NotFound
from routes.includes import check_include
from routes.lookup import path_id
from routes.operation import Call, operation, reply
from routes.paging import page, page_query
from routes.runs import load_current_run, run_place

bp = df.Blueprint()


@operation(bp, "GET", "threads/{thread_id}/runs/{run_id}/steps")
async def list_run_steps(call: Call) -> Response:
    partition, run_id = run_place(call)
    check_include(call)
    query = page_query(call.request, "step")
    await load_current_run(call, partition, run_id)
    return await page(call, partition, "step", "step", where={"run_id": run_id}, noun="run step", query=query)


@operation(bp, "GET", "threads/{thread_id}/runs/{run_id}/steps/{step_id}")
async def get_run_step(call: Call) -> Response:
    partition, run_id = run_place(call)
    step_id = path_id(call, "step", "step_id")
    check_include(call)
    await load_current_run(call, partition, run_id)
    step = await call.documents.get(partition, step_id)
    if step is None or step.body["resource"]["run_id"] != run_id:
        raise NotFound(f"No run step found with id '{step_id}'.")
    return reply(step.body["resource"])
