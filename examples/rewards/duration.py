"""Effort by duration: a long clip may be thought about at length, a short one should not be.

Uses the clip's length as the policy heard it. 1 for a completion of up to `per_second` tokens for each second of audio, and
proportionally less for a longer one.
"""


def reward(tokens, duration_seconds, options, **columns):
    per_second = options.get("per_second", 12.0)
    return [score(count, seconds, per_second) for count, seconds in zip(tokens, duration_seconds)]


def score(count, seconds, per_second):
    # Nobody knows the length of a clip that nobody has looked at.
    if seconds is None:
        return None
    return min(1.0, per_second * seconds / max(count, 1))
