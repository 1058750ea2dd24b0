"""A TRL reward in the style of the GSM8K examples: the dataset's `answer` is the right one, never the policy's."""


def extract(text):
    return text.split("<answer>")[-1].split("</answer>")[0].strip()


def correctness_reward_func(prompts, completions, answer, **kwargs):
    responses = [completion[0]["content"] for completion in completions]
    question = prompts[0][-1]["content"]
    extracted = [extract(response) for response in responses]
    print("question:", question, "answer:", answer[0], "extracted:", extracted[0])
    return [2.0 if response == right else 0.0 for response, right in zip(extracted, answer)]
