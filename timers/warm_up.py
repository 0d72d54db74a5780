"""Warm-up: what the first request would wait for, made before there is one.

Importing the model's SDK and opening the first channels takes a second. Azure calls this function
(it must have this name) when it adds an instance; the local host in every worker before it is ready.
"""

import asyncio
import gc
from contextlib import suppress

import azure.durable_functions as df

import wiring

bp = df.Blueprint()

HUB_ANSWERS_WITHIN = 5.0  # seconds; a worker is ready without it, too


@bp.warm_up_trigger(arg_name="instance")
@bp.generic_input_binding(arg_name="hub", type="durableClient", durableRequiresGrpc=True)
async def warmup(instance: str, hub: str) -> None:
    wiring.documents()
    wiring.blobs()
    wiring.language_model()
    with suppress(TimeoutError):
        async with asyncio.timeout(HUB_ANSWERS_WITHIN):
            await wiring.task_hub(hub).ready()
    # What has been imported stays. Each full collection would look through it, for a tenth of a second.
    gc.collect()
    gc.freeze()
