"""A metric like those of Hugging Face's evaluate."""


def words(text):
    return set(text.lower().split())


class Overlap:
    def compute(self, predictions=None, references=None, **kwargs):
        pairs = list(zip(predictions, references))
        exact = sum(one == other for one, other in pairs) / len(pairs)
        shared = sum(len(words(one) & words(other)) / max(1, len(words(one) | words(other))) for one, other in pairs)
        return {"exact": exact, "overlap": shared / len(pairs)}


overlap = Overlap()
