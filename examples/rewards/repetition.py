"""Repetition penalty: minus the share of repeated n-grams, from 0 (no repetition) towards -1.

As in "Demystifying Long Chain-of-Thought" (arXiv 2502.03373), which uses n = 40. The default here is 3, because the tiny policy's
completions are short.
"""


def reward(completions, options, **columns):
    n = options.get("n", 3)
    return [0.0 - repeated(text.split(), n) for text in completions]


def repeated(words, n):
    grams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    return 1.0 - len(set(grams)) / len(grams) if grams else 0.0
