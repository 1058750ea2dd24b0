"""Length by duration: a completion about a long clip may be long, one about a short clip should be short.

Scores 1 for up to `per_second` tokens per second of audio (an option, 12 by default) and proportionally less for a longer
completion. `duration_seconds` is the length of the clip within the policy's window.
"""


def reward(tokens, duration_seconds, options, **columns):
    per_second = options.get("per_second", 12.0)
    return [score(count, seconds, per_second) for count, seconds in zip(tokens, duration_seconds)]


def score(count, seconds, per_second):
    # The length is unknown if the clip has not been decoded.
    if seconds is None:
        return None
    return min(1.0, per_second * seconds / max(count, 1))
