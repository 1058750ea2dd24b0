"""The tables that `compare` prints, with the hardware limits that the figures are compared with."""

import time

import torch


def seconds_of(work, device, repeats=8):
    """The time of the fastest of several runs."""
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - started)
    return best


def copy_bandwidth(device):
    """Bytes per second, read and written, of a copy that is too large for any cache."""
    source = torch.zeros(1 << (28 if device == "cpu" else 31), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / seconds_of(lambda: target.copy_(source), device)


def matmul_rate(device, dtype):
    """Floating-point operations per second of a large matrix product."""
    size = 1024 if device == "cpu" else 8192
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds_of(lambda: left @ right, device)


class Sizes:
    """The numbers of parameters and the widths from which the limits are computed."""

    def __init__(self, model):
        text, tower = model.config.get_text_config(), model.config.audio_config
        omni = model.config.model_type.startswith("qwen2_5_omni")
        self.head = text.vocab_size * text.hidden_size
        decoder = model.model if omni else model.model.language_model
        self.layers = sum(tensor.numel() for tensor in decoder.layers.parameters())
        encoder = model.audio_tower if omni else model.model.audio_tower
        self.tower = sum(tensor.numel() for tensor in encoder.layers.parameters())
        head_width = text.hidden_size // text.num_attention_heads
        self.numbers_per_cached_token = 2 * text.num_hidden_layers * text.num_key_value_heads * head_width
        # The product of a query with a key, and of a weight with a value, in all layers.
        self.flops_per_pair = 4 * text.num_hidden_layers * text.hidden_size
        self.tower_flops_per_pair = 4 * tower.encoder_layers * tower.d_model
        self.tower_window = 2 * tower.n_window // 2 if omni else None


class Report:
    """Prints a table for each comparison."""

    def __init__(self, args):
        self.args = args
        dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[args.dtype]
        self.item = dtype.itemsize
        torch.set_num_threads(args.threads)
        self.bandwidth = copy_bandwidth(args.device)
        self.rate = matmul_rate(args.device, dtype)
        device = torch.cuda.get_device_name() if args.device != "cpu" else f"CPU, {args.threads} thread(s)"
        print(f"{device}, {args.dtype}: copies at {self.bandwidth / 1e9:.1f} GB/s, multiplies at {self.rate / 1e12:.2f} Tflop/s")
        print(f"{args.prompts} prompts x {args.group} completions x {args.tokens} tokens, clips of {args.seconds:g} s; "
              f"the fastest of {args.steps} steps, phase by phase")

    def add(self, name, model, train, ours, theirs):
        sizes = Sizes(model)
        prompt = max(map(len, ours["sample"]["prompts"]))
        print(f"\n{name}, training: {train}; prompts of {prompt} tokens")
        self.parity(ours, theirs)
        print(f"{'':30}{'ours':>12}{'theirs':>12}{'theirs / ours':>15}")
        if ours.get("load_seconds") and theirs.get("load_seconds"):
            self.row("30 s MP3 to log-mel, ms", 1e3 * ours["load_seconds"], 1e3 * theirs["load_seconds"])
        elif ours.get("load_seconds"):
            print(f"{'30 s MP3 to log-mel, ms':30}{1e3 * ours['load_seconds']:12.2f}  (librosa is missing)")
        for own, other in zip(ours["decode"], theirs["decode"]):
            self.decode(sizes, prompt, own, other)
        self.steps(sizes, prompt, train, ours, theirs)
        self.row("peak memory, GB", ours["peak_bytes"] / 1e9, theirs["peak_bytes"] / 1e9)

    @staticmethod
    def row(name, ours, theirs, more_is_better=False):
        ratio = ours / theirs if more_is_better else theirs / ours
        print(f"{name:30}{ours:12.2f}{theirs:12.2f}{ratio:14.1f}x", flush=True)

    @staticmethod
    def parity(ours, theirs):
        """Prints how much both sides' log-probabilities of the same completions differ from those of transformers in f32."""
        print("log-probabilities of our completions, compared with transformers in f32: largest and mean difference")
        sample = ours["sample"]
        for name, rows in (("ours, learner", sample["policy"]), ("ours, sampler", sample["sampled"]),
                           ("theirs", theirs["policy"])):
            gaps = [abs(one - other) for row, exact in zip(rows, theirs["exact"]) for one, other in zip(row, exact)]
            print(f"{'  ' + name:30}{max(gaps):12.1e}{sum(gaps) / len(gaps):12.1e}")

    def decode(self, sizes, prompt, ours, theirs):
        batch, tokens = ours["batch"], self.args.tokens
        self.row(f"batch {batch}: first token, ms", 1e3 * ours["prefill_seconds"], 1e3 * theirs["prefill_seconds"])
        self.row(f"batch {batch}: then tokens/s", ours["tokens_per_second"], theirs["tokens_per_second"], True)
        # The memory that each step must read: all weights, the keys and values of every prompt once, and those of the completions.
        cached = batch / min(batch, 8) * prompt + batch * tokens / 2
        least = self.item * (sizes.layers + sizes.head + sizes.numbers_per_cached_token * cached) / self.bandwidth
        share = [100 * least * side["tokens_per_second"] / batch for side in (ours, theirs)]
        self.row(f"batch {batch}: % of bandwidth", *share, True)

    def steps(self, sizes, prompt, train, ours, theirs):
        best = [{}, {}]
        for side, report in zip(best, (ours, theirs)):
            for name, seconds in (phase for step in report["steps"] for phase in step):
                side[name] = min(seconds, side.get(name, float("inf")))
        for name in best[0]:
            self.row(f"{name}, ms", 1e3 * best[0][name], 1e3 * best[1][name])
        self.row("step, ms", *(1e3 * sum(side.values()) for side in best))
        self.row("step - generation, ms", *(1e3 * sum(v for k, v in side.items() if k != "generation") for side in best))
        flops = self.flops(sizes, prompt, train)
        learning = [side["policy"] + side["reference"] + side["backward"] for side in best]
        self.row("MFU of the three passes, %", *(100 * flops / seconds / self.rate for seconds in learning), True)

    def flops(self, sizes, prompt, train):
        """The least work of policy, reference and backward pass, with every prompt and its clip computed once in each."""
        prompts, completions, tokens = self.args.prompts, self.args.prompts * self.args.group, self.args.tokens
        read = prompts * prompt + completions * (tokens - 1)
        pairs = prompts * prompt**2 / 2 + completions * tokens * (prompt + tokens / 2)
        forward = 2 * sizes.layers * read + sizes.flops_per_pair * pairs + 2 * sizes.head * completions * tokens
        positions = int(self.args.seconds * 50)
        window = min(positions, sizes.tower_window or positions)
        tower = prompts * positions * (2 * sizes.tower + sizes.tower_flops_per_pair * window)
        # Frozen weights need no gradient, so that their backward pass is one product instead of two.
        passes = 3 if train == "lora" else 4
        return passes * forward + (1 if train == "lora" else 4) * tower
