"""What is left of the language model after an adapter's training: the adapted model answers 20 fixed questions without a clip, and the
original SmolLM2 says how likely it finds the answers.

    language.py MODEL ADAPTER ORIGINAL

    PYTHON scenarios/small/language.py scenarios/small/model scenarios/small/base ~/.cache/audio-thinker/small/SmolLM2-135M-Instruct

Prints the mean log-probability per token, in nats, of the original's own greedy answers, of the adapted model's, and of those with their
words shuffled, which is what destroyed language looks like. Needs torch, transformers, peft and safetensors.
"""

import random
import sys

import torch
from peft import PeftModel
from transformers import AutoTokenizer, LlamaForCausalLM, Qwen2AudioForConditionalGeneration

QUESTIONS = [
    "What is the capital of France?", "Name three colours.", "What do bees make?", "Write one sentence about the sea.",
    "How many days does a week have?", "What is a violin?", "Why is the sky blue?", "Give a synonym of happy.",
    "What is the opposite of cold?", "Who wrote Romeo and Juliet?", "What is water made of?", "Tell me about dogs.",
    "What season comes after winter?", "What can you cook with eggs?", "Say hello in Spanish.", "What is a computer?",
    "How do plants grow?", "What is two plus two?", "Name an animal that can fly.", "What is the moon?",
]
TOKENS = 40


def answers(model, tokenizer, prompts):
    """Greedy answers, as ids without the end token."""
    found = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=TOKENS,
                             eos_token_id=tokenizer.eos_token_id, pad_token_id=0)
        answer = out[0, len(prompt):].tolist()
        found.append([token for token in answer if token != tokenizer.eos_token_id])
    return found


@torch.no_grad()
def log_likelihood(model, prompt, answer):
    """The mean log-probability of an answer's tokens."""
    logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1:-1].float()
    return logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).mean().item()


def shuffled(tokenizer, answer, seed):
    words = tokenizer.decode(answer).split()
    random.Random(seed).shuffle(words)
    return tokenizer(" ".join(words), add_special_tokens=False).input_ids


def main():
    folder, adapter, original_folder = sys.argv[1:]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompts = [tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True,
                                             return_dict=True)["input_ids"] for question in QUESTIONS]
    original = LlamaForCausalLM.from_pretrained(original_folder, dtype=torch.float32).eval()
    base = Qwen2AudioForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(base, adapter).eval()
    own, theirs = answers(original, tokenizer, prompts), answers(adapted, tokenizer, prompts)
    rows = []
    for place, (question, prompt, before, after) in enumerate(zip(QUESTIONS, prompts, own, theirs)):
        print(f"\n{question}\n  before: {tokenizer.decode(before)!r}\n  after:  {tokenizer.decode(after)!r}")
        if before and after:
            rows.append([log_likelihood(original, prompt, answer)
                         for answer in (before, after, shuffled(tokenizer, after, place) or after)])
    print(f"\n{len(rows)} of {len(QUESTIONS)} answered. Mean log-probability per token under the original model:")
    for name, values in zip(("its own answers", "the adapted model's", "those, shuffled"), zip(*rows)):
        print(f"  {name:22}{sum(values) / len(values):7.2f}")
    equal = sum(before == after for before, after in zip(own, theirs))
    print(f"  {equal} of {len(QUESTIONS)} answers are the same, token for token")


if __name__ == "__main__":
    main()
