"""verl's batch form, with an argument from `reward_kwargs`."""


def compute_score_batched(data_sources, solution_strs, ground_truths, extra_infos, bonus=0.0):
    assert len(data_sources) == len(extra_infos) == len(solution_strs)
    return [bonus + float(gold in text) for text, gold in zip(solution_strs, ground_truths)]
