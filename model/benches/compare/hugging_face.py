"""The other side of the comparison: a step of R1-AQA's trainer with transformers and PEFT.

A step generates completions with `num_return_sequences`. It computes the log-probabilities of every row's prompt and completion
under the policy and, without gradients, under the reference (logits over the whole vocabulary at every position, with a copy of
the clip for every row). Then come GRPO's loss, the backward pass and AdamW.
"""

import argparse
import contextlib
import json
import resource
import time
import wave

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import (AutoConfig, Qwen2_5OmniThinkerForConditionalGeneration, Qwen2AudioForConditionalGeneration,
                          WhisperFeatureExtractor)

LINEARS = r"(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
KL_COEF = 0.04


class Clock:
    """Measures the seconds of each phase. Waits for the device at the end of each."""

    def __init__(self, device):
        self.device = device
        self.phases = {}

    @contextlib.contextmanager
    def phase(self, name):
        started = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.phases.setdefault(name, []).append(time.perf_counter() - started)


class HuggingFace:
    """A checkpoint in transformers. `train` is `lora` (on the language model), `full`, or None."""

    def __init__(self, folder, device, dtype, train, rank=8, alpha=32):
        architecture = AutoConfig.from_pretrained(folder).model_type
        omni = architecture.startswith("qwen2_5_omni")
        kind = Qwen2_5OmniThinkerForConditionalGeneration if omni else Qwen2AudioForConditionalGeneration
        self.device = torch.device(device)
        self.model = kind.from_pretrained(folder, dtype=dtype).to(self.device).eval()
        self.audio_token_id = self.model.config.audio_token_id
        self.extractor = WhisperFeatureExtractor.from_pretrained(folder)
        self.reference = None
        self.model.generation_config.eos_token_id = None
        if train == "lora":
            language_model = r"model\.layers\..*" if omni else r"model\.language_model\..*"
            config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=language_model + LINEARS, lora_dropout=0.0)
            self.model = get_peft_model(self.model, config).eval()
        elif train == "full":
            self.reference = kind.from_pretrained(folder, dtype=dtype).to(self.device).eval().requires_grad_(False)
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.parameters = parameters
        self.optimizer = torch.optim.AdamW(parameters, lr=1e-6)

    def inputs(self, prompts, clips):
        """The model's inputs: prompts of token ids, padded on the left, and the features of their clips."""
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        features = self.extractor(clips, sampling_rate=16000, return_attention_mask=True, padding="max_length",
                                  return_tensors="pt")
        dtype = next(self.model.parameters()).dtype
        inputs = {"input_ids": ids, "attention_mask": mask, "input_features": features["input_features"].to(dtype),
                  "feature_attention_mask": features["attention_mask"]}
        return {name: tensor.to(self.device) for name, tensor in inputs.items()}

    @torch.no_grad()
    def generate(self, inputs, group, tokens, watch=lambda: None):
        """Generates completions and returns the ids of prompts and completions. Calls `watch` before each token is drawn."""
        def watching(_, scores):
            watch()
            return scores

        prompt = inputs["input_ids"].shape[1]
        ids = self.model.generate(**inputs, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=tokens,
                                  num_return_sequences=group, logits_processor=[watching])
        # An audio placeholder in a completion would have no features in the next forward pass.
        ids[:, prompt:].masked_fill_(ids[:, prompt:] == self.audio_token_id, 0)
        return ids

    def logprobs(self, model, inputs, ids, group, dtype=None):
        """Log-probabilities of the completions, `[rows, tokens]`, computed in `dtype`; None for the model's dtype."""
        prompt = inputs["input_ids"].shape[1]
        mask = inputs["attention_mask"].repeat_interleave(group, 0)
        mask = torch.cat([mask, mask.new_ones(len(ids), ids.shape[1] - prompt)], 1)
        logits = model(input_ids=ids, attention_mask=mask,
                       input_features=inputs["input_features"].repeat_interleave(group, 0),
                       feature_attention_mask=inputs["feature_attention_mask"].repeat_interleave(group, 0)).logits
        rows = [row.log_softmax(-1, dtype).gather(1, own[1:, None])[:, 0] for row, own in zip(logits[:, :-1], ids)]
        return torch.stack(rows)[:, prompt - 1:].float()

    @contextlib.contextmanager
    def reference_model(self):
        if self.reference is not None:
            yield self.reference
        else:
            with self.model.disable_adapter():
                yield self.model

    def step(self, inputs, group, tokens, clock):
        """Runs one training step with random rewards."""
        with clock.phase("generation"):
            ids = self.generate(inputs, group, tokens)
        with clock.phase("policy"):
            logprobs = self.logprobs(self.model, inputs, ids, group)
        with clock.phase("reference"), torch.no_grad(), self.reference_model() as reference:
            reference = self.logprobs(reference, inputs, ids, group)
        with clock.phase("backward"):
            rewards = torch.randn(len(ids) // group, group, device=self.device)
            advantages = ((rewards - rewards.mean(1, True)) / (rewards.std(1, keepdim=True) + 1e-4)).reshape(-1, 1)
            gap = reference - logprobs
            kl = gap.exp() - gap - 1
            loss = -((logprobs - logprobs.detach()).exp() * advantages - KL_COEF * kl).mean(1).mean()
            self.optimizer.zero_grad()
            loss.backward()
        with clock.phase("optimizer"):
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()


def read_wave(path):
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return samples.astype(np.float32) / 32768


@torch.no_grad()
def score(subject, sample, clips, group):
    """Log-probabilities of the completions that our bench generated."""
    inputs = subject.inputs(sample["prompts"], clips)
    completions = torch.tensor(sample["completions"], device=subject.device)
    ids = torch.cat([inputs["input_ids"].repeat_interleave(group, 0), completions], 1)
    return subject.logprobs(subject.model, inputs, ids, group, torch.float32).tolist()


def decode_rate(subject, prompts, clips, batch, tokens):
    """Measures the time to the first token of `batch` completions, and the tokens per second after it."""
    group = min(batch, 8)
    count = batch // group
    inputs = subject.inputs((prompts * count)[:count], (clips * count)[:count])
    first = whole = float("inf")
    for _ in range(3):
        times = [time.perf_counter()]
        subject.generate(inputs, group, 1 + tokens, lambda: times.append(time.perf_counter()))
        first, whole = min(first, times[1] - times[0]), min(whole, times[-1] - times[1])
    return {"batch": batch, "prefill_seconds": first, "tokens_per_second": batch * tokens / whole}


def load_seconds(path, extractor):
    """Seconds from a file to features with librosa; None if librosa is not installed."""
    try:
        import librosa
    except ImportError:
        return None
    clock = Clock(torch.device("cpu"))
    for _ in range(12):
        with clock.phase("load"):
            samples, _ = librosa.load(path, sr=16000)
            extractor(samples, sampling_rate=16000, return_attention_mask=True, return_tensors="np")
    return min(clock.phases["load"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", required=True)
    parser.add_argument("--sample", required=True, help="JSON file of our bench, with the prompts and the values to compare")
    parser.add_argument("--audio", action="append", required=True)
    parser.add_argument("--train", choices=["lora", "full"], required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--decode", default="")
    parser.add_argument("--load")
    parser.add_argument("--json", required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with open(args.sample) as file:
        sample = json.load(file)["sample"]
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[args.dtype]
    clips = [read_wave(path) for path in args.audio]
    prompts = sample["prompts"]
    report = {"exact": score(HuggingFace(args.policy, args.device, torch.float32, None), sample, clips, args.group)}
    if args.device != "cpu":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(args.device)
    subject = HuggingFace(args.policy, args.device, dtype, args.train)
    report |= {"policy": score(subject, sample, clips, args.group), "steps": [], "decode": []}
    inputs = subject.inputs(prompts, clips)
    for batch in filter(None, args.decode.split(",")):
        report["decode"].append(decode_rate(subject, prompts, clips, int(batch), args.tokens))
    for step in range(args.steps + 1):
        clock = Clock(subject.device)
        subject.step(inputs, args.group, args.tokens, clock)
        if step > 0:
            report["steps"].append([[name, seconds[0]] for name, seconds in clock.phases.items()])
    if args.load:
        report["load_seconds"] = load_seconds(args.load, subject.extractor)
    if args.device != "cpu":
        report["peak_device_bytes"] = torch.cuda.max_memory_reserved(args.device)
    report["peak_resident_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    with open(args.json, "w") as file:
        json.dump(report, file)


if __name__ == "__main__":
    main()
