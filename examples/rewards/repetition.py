"""Repetition penalty: 0 for a text without repetition, down to -1 the more of its n-grams have been said before.

The share of repeated n-grams, as in "Demystifying Long Chain-of-Thought" (arXiv 2502.03373), there with n = 40; the tiny
policy's texts are short, so 3 by default.
"""


def reward(completions, options, **columns):
    n = options.get("n", 3)
    return [0.0 - repeated(text.split(), n) for text in completions]


def repeated(words, n):
    grams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    return 1.0 - len(set(grams)) / len(grams) if grams else 0.0
