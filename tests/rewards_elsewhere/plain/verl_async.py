"""verl's asynchronous form, whose samples have their gold in `reward_model`."""

import asyncio


async def compute_score(data_source, solution_str, ground_truth, extra_info, **kwargs):
    await asyncio.sleep(0.001)
    return 1 if ground_truth in solution_str and data_source == extra_info["expected_source"] else 0
