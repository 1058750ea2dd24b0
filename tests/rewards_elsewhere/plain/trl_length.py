"""A TRL reward that is asynchronous, has no score for some, and logs."""

import asyncio


async def reward(completions, completion_ids, solution, log_extra=None, log_metric=None, scale=10, **kwargs):
    async def one(ids):
        await asyncio.sleep(0.001)
        return None if len(ids) > 8 else len(ids) / scale

    lengths = [len(ids) for ids in completion_ids]
    log_metric("longest", max(lengths))
    log_metric("mean_length", sum(lengths) / len(lengths))
    log_extra("solution", list(solution))
    log_extra("length", lengths)
    assert all(completion[0]["role"] == "assistant" for completion in completions)
    return await asyncio.gather(*[one(ids) for ids in completion_ids])
