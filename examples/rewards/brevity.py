"""Brevity: 1 for an empty completion, falling linearly to 0 at `longest` tokens (an option, 48 by default).

Try it together with `think`: does the policy still reason when every token costs something?
"""


def reward(completions, tokens, options, **columns):
    longest = options.get("longest", 48)
    return [max(0.0, 1.0 - count / longest) for count in tokens]
