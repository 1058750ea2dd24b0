"""Keyword: does the thinking speak of one of the choices? A cheap stand-in for "it thought about the question".

There is no score for a completion that does not think: `None` leaves it out of its group's mean, instead of punishing it.
It ends in `serve(reward)`, so that it is also a program of its own: command = ["python3", "keyword.py"].
"""

from audio_thinker_reward import serve


def reward(think, choices, **columns):
    return [score(text, words) for text, words in zip(think, choices)]


def score(text, words):
    if text is None:
        return None
    said = text.lower().split()
    return float(any(word.lower() in said for word in words))


if __name__ == "__main__":
    serve(reward)
