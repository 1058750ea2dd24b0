"""Deliberately hackable: pays for the length of the thinking, and not for being right.

"More thinking is better thinking" looks fair, for at the start of training it is true: long chains of thought are more often
right. A policy under this reward alone soon finds that saying anything at all over and over is the cheapest way to think
long. Train the arm `hackable` of my-rewards.toml and look at its curves in the report: this component and
`completion_tokens_mean` rise together, `accuracy` does not follow; and the completions, in the report and in
`rollouts.jsonl`, show what it says instead of thinking.
"""

ENOUGH = 20


def reward(think, **columns):
    return [min(1.0, len((text or "").split()) / ENOUGH) for text in think]
