"""The scenarios of the campaign: a few seconds each, with many checkpoints and evaluations."""

BASE = """
[run]
name = "faults"
seeds = [7]
steps = {steps}
device = "cpu"
threads = 1
parallel_arms = {parallel}

[data.soundscapes]
train_clips = 16
heldout_clips = 8

[sampling]
group_size = 3
prompts_per_step = 2
temperature = 1.0
max_new_tokens = {tokens}

[grpo]
lr = 1e-4
kl_coef = 0.04
{grpo}
[sft]
lr = 1e-4
rows_per_step = 4

[rewards]
accuracy = {{ kind = "accuracy" }}
format = {{ kind = "format" }}
think = {{ kind = "think" }}

[shaping]
formula = "accuracy + w_format * format + w_think * think"
weights = {{ format = 0.5, think = 0.3 }}

[eval]
every = 3
at_start = true
temperature = 1.0
limit = 6

[checkpoint]
every = 2
keep = 2

[supervision]
help_timeout_seconds = 0
{more}
"""

ARM = '\n[[arm]]\nname = "{name}"\n{more}\n'


def make(arms, steps=8, parallel=2, tokens=12, grpo="", more=""):
    """A scenario with these arms, by name, each with further keys."""
    text = BASE.format(steps=steps, parallel=parallel, tokens=tokens, grpo=grpo, more=more)
    return text + "".join(ARM.format(name=name, more=keys) for name, keys in arms.items())


# What is killed, stopped and resumed: every way of training.
VARIANTS = {
    "full": make({"grpo": ""}),
    "two": make({"grpo": "", "sft": 'method = "sft"\nsft.target = "reasoning"\nprompt.style = "think"'}),
    "lora": make({"lora": 'policy.train = "lora"\npolicy.lora.rank = 4'}),
    "ahead": make({"ahead": ""}, grpo="max_staleness = 2\n"),
    "turns": make({"one": "steps = 4", "base": 'method = "none"', "two": 'method = "sft"\nsteps = 4'}, parallel=1),
}

# The one that is changed while it runs: its rewards are cheap, and there is time for requests.
LIVE = make({"grpo": "", "other": 'prompt.style = "adaptive"'}, steps=12)

# The one that is damaged.
DAMAGED = make({"grpo": ""}, steps=10)
