"""A rubric of verifiers, with functions for a completion, for a group, and one that is only a metric."""

import verifiers as vf


def exact(parser, completion, answer, **kwargs):
    text = parser.parse_answer(completion) or ""
    return 1.0 if "<answer> %s </answer>" % answer in text else 0.0


async def brief(completion, info, state):
    state["seen"] = True
    return 1.0 if len(completion[-1]["content"].split()) < 6 else 0.0


def agreement(completions, answers):
    return [1.0 / len(completions) for _ in completions]


def seen(state):
    return float(state["seen"])


rubric = vf.Rubric(funcs=[exact, brief, agreement], weights=[1.0, 0.5, 0.25])
rubric.add_metric(seen)
