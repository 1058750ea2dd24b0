"""The share of some letters in a completion: a reward that varies also among completions of random weights."""


def reward(completions, options, **columns):
    letters = options.get("letters", "aeiou")
    return [sum(character in letters for character in text) / max(1, len(text)) for text in completions]
