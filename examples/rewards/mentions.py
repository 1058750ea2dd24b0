"""Keyword: 1 if the thinking mentions one of the choices, else 0. A cheap proxy for "it thought about the question".

A completion that does not think has no score: `None` leaves it out of its group's mean instead of penalizing it.
The file ends with `serve(reward)`, so it also runs as a program: command = ["python3", "mentions.py"].
"""

from audio_thinker_reward import serve


def reward(think, choices, **columns):
    return [score(text, words) for text, words in zip(think, choices)]


def score(text, words):
    if text is None:
        return None
    thoughts = text.lower().split()
    return float(any(word.lower() in thoughts for word in words))


if __name__ == "__main__":
    serve(reward)
