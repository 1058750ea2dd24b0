"""Several functions, as in `GRPOTrainer(reward_funcs=[…])`: one is asynchronous, one has a score for some."""


async def has_answer(completions, **kwargs):
    return [float("<answer>" in completion[0]["content"]) for completion in completions]


def right(prompts, completions, solution, **kwargs):
    return [1.0 if gold in completion[0]["content"] else None for completion, gold in zip(completions, solution)]


reward = [has_answer, right]
