//! The examples at the end of the help texts.

pub const SANDBOX: &str = "\
Examples:
  sandbox init --from own-data my-study             write a scenario to start from
  sandbox scenarios/ablation.toml                   run every arm under every seed
  sandbox scenarios/ablation.toml --arm 'grpo*' --seeds 1..3 --set grpo.lr=3e-4
  sandbox --resume runs/ablation-20260131-120000    continue a run that was interrupted
  sandbox ls                                        list the runs in runs/

To run a scenario file whose name is that of a subcommand, write its folder too: ./check

Exit codes: 0 done, 1 failed while running (check --strict: found something), 2 unusable input,
3 done but not wholly uploaded, 130 interrupted after a checkpoint.

RUST_LOG sets the level of run.log (default: info); -v and -q set what is printed.";

pub const CHECK: &str = "\
Examples:
  sandbox check my-study/own-data.toml              check keys, files, plug-ins, and some of the clips
  sandbox check --all --strict mine.toml            decode every clip, and exit with 1 if anything is odd
  sandbox check --no-files scenarios/*.toml         for scenarios whose models and data are elsewhere";

pub const EVAL: &str = "\
Examples:
  sandbox eval --policy Qwen2-Audio-7B-Instruct --suite mmau=mmau-test-mini.json --controls
  sandbox eval scenarios/ablation.toml --policy builtin:tiny --samples 8
  sandbox eval --run runs/ablation-20260131-120000 --arm 'grpo*' --step all
  sandbox eval --server http://127.0.0.1:8000/v1 --model qwen2.5-omni --suite mmar=MMAR-meta.jsonl
  sandbox eval --resume runs/eval-20260131-120000";

pub const ANNOTATE: &str = "\
Examples:
  sandbox annotate avqa=train_qa.jsonl --server http://127.0.0.1:8000/v1 --model Qwen2.5-72B-Instruct
      --caption-server http://127.0.0.1:8001/v1 --caption-model Qwen2-Audio-7B-Instruct --out train-cot.jsonl
  sandbox annotate builtin:soundscapes --server http://127.0.0.1:8000/v1 --model qwen --no-caption --out cot.jsonl

The same command goes on with an annotation that was interrupted; no row is asked twice.
Train on the result with method = \"sft\", sft.target = \"reasoning\" and data.train = { format = \"avqa\", path = … }.";

pub const REPORT: &str = "\
Examples:
  sandbox report runs/ablation-20260131-120000
  sandbox report --json runs/ablation-20260131-120000 | jq '.arms[].evals'";

pub const PLAN: &str = "\
Examples:
  sandbox plan scenarios/ablation.toml                          time, memory and tokens of each arm and seed
  sandbox plan scenarios/ablation.toml --sweep /shared/ablation --array slurm > ablation.sbatch
  sbatch ablation.sbatch
  sandbox ls /shared/ablation/tasks                             how far the tasks are
  sandbox merge-runs /shared/ablation                           one run of them, with its report";

pub const MERGE_RUNS: &str = "\
Examples:
  sandbox merge-runs /shared/ablation                           writes /shared/ablation/merged
  sandbox merge-runs /shared/ablation --partial --out so-far    what there is, also if tasks are not done";

pub const SIMULATE: &str = "\
Examples:
  sandbox simulate docs/scale/paper-8-gpus.toml                 the paper's setting on eight GPUs
  sandbox simulate docs/scale/paper-8-gpus.toml --set run.max_staleness=2
  sandbox simulate --from-run runs/ablation-20260131-120000 --set run.max_staleness=1
  sandbox simulate --from-run runs/ablation-20260131-120000 --dry-run > mine.toml";

pub const UPLOAD: &str = "\
Examples:
  sandbox upload runs/ablation-20260131-120000 s3://bucket/audio
  sandbox upload runs/ablation-20260131-120000                  where it was uploaded before

The credentials come from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the like. Exit code 3: not all of it
could be uploaded.";

pub const FETCH: &str = "\
Examples:
  sandbox fetch s3://bucket/audio/ablation-20260131-120000
  sandbox fetch s3://bucket/audio/ablation-20260131-120000 here --endpoint http://127.0.0.1:9000
  sandbox --resume s3://bucket/audio/ablation-20260131-120000   fetches it and goes on";

pub const COMPARE: &str = "\
Examples:
  sandbox compare runs/eval-20260131-120000 runs/eval-20260201-090000
  sandbox compare runs/ablation-20260131-120000 runs/ablation-20260201-090000 --json | jq '.comparisons[].differences'";

pub const EXPORT: &str = "\
Examples:
  sandbox export runs/ablation-20260131-120000                  export/steps.parquet, evaluations, rollouts
  sandbox export runs/ablation-20260131-120000 --to csv --out tables
  sandbox export runs/ablation-20260131-120000 --to wandb --set tracking.wandb.project=audio
  tensorboard --logdir runs/ablation-20260131-120000/tensorboard   written by every run";

pub const VERIFY: &str = "\
Example:
  sandbox verify runs/ablation-20260131-120000      exit code 1 if anything is damaged";

pub const RESHAPE: &str = "\
Examples:
  sandbox reshape runs/ablation-20260131-120000 --arm grpo+atar --set shaping.weights.format=0.1
  sandbox reshape runs/ablation-20260131-120000 --set 'shaping.formula=accuracy + w_think * think'
  sandbox reshape runs/ablation-20260131-120000 --set grpo.advantages=gdpo";

pub const REPLAY: &str = "\
Example:
  sandbox replay runs/ablation-20260131-120000 --out replays";

pub const ASK: &str = "\
Examples:
  sandbox ask --policy Qwen/Qwen2-Audio-7B-Instruct --audio dog.wav \"what do you hear?\"
  sandbox ask --policy builtin:tiny --audio clip.wav --choices beep,buzz \"Which sound comes first?\"
  sandbox ask --policy Qwen/Qwen2-Audio-7B-Instruct --chat        a conversation; /help lists its commands
  sandbox ask --policy DIR --audio clip.wav --json --temperature 0 \"what do you hear?\"    ids and log-probabilities

A model may be named as on the Hugging Face Hub; it is looked for in the local cache and never fetched.";

pub const LISTEN: &str = "\
Examples:
  sandbox listen interview.m4a                      format, length, level, and what the model hears of it
  sandbox listen clip.flac --start 30 --wav heard.wav --png heard.png
  sandbox listen *.mp3 --json                       one line per file";

pub const COMPOSE: &str = "\
Examples:
  sandbox compose --audio openai/whisper-tiny.en --text HuggingFaceTB/SmolLM2-135M-Instruct --out small
  sandbox compose --audio whisper --text qwen3-0.6b --projector trained.safetensors --dtype bf16 --out mine
  sandbox ask \"What is the capital of France?\" --policy small";

pub const MERGE: &str = "\
Example:
  sandbox merge --policy Qwen/Qwen2-Audio-7B-Instruct \\
      --adapter runs/mine-20260131-120000/grpo/seed-7/checkpoints/step-001000 --out merged --dtype bf16";

pub const CTL: &str = "\
Examples:
  sandbox ctl state                                 the run and its arms
  sandbox ctl watch                                 a line per step, change and warning until the run ends
  sandbox ctl weights think=0.3 --arm 'grpo*'       set a weight in some of the arms
  sandbox ctl add brevity brevity.py --weight brevity=0.3
  sandbox ctl pause --reason lunch --run runs/ablation-20260131-120000";

pub const JUDGE: &str = "\
Examples:
  sandbox judge mine.toml                           agreement, rank correlation, latency, cost; is the judge fit?
  sandbox judge mine.toml --simulate                what its noise does to the consistency and think rewards
  sandbox judge mine.toml --simulate --agreement 0.8 --correlation 0.4
  sandbox judge scenarios/judge-attacks.toml        how much a completion gains by addressing the judge";

pub const BENCH: &str = "\
Examples:
  sandbox bench --policy scenarios/small/model --batch 1,8,32
  sandbox bench --random qwen2-audio-7b --device cuda --train lora,full
  sandbox bench --random qwen2-audio-7b --layers 2 --tokens 8 --batch 1      on a laptop";

pub const LS: &str = "\
Examples:
  sandbox ls                                        the runs in runs/, newest first
  sandbox ls --json /mnt/archive | jq -r '.runs[] | select(.state == \"killed\") | .path'

States: running, paused (a process is at work), done, failed, stopped (can be resumed), killed (the
process ended before its arms did; can be resumed), not started.";

pub const INIT: &str = "\
Examples:
  sandbox init                                      the paper's eight arms in miniature, in this folder
  sandbox init my-study --from own-data             a scenario for your own questions and audio";

pub const CLIENT: &str = "\
Example:
  sandbox client > audio_thinker_run.py             then: from audio_thinker_run import Run";

pub const COMPLETIONS: &str = "\
Examples:
  sandbox completions bash > ~/.local/share/bash-completion/completions/sandbox
  sandbox completions zsh > ~/.zfunc/_sandbox       with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc
  sandbox completions fish > ~/.config/fish/completions/sandbox.fish";

pub const MAN: &str = "\
Examples:
  sandbox man ~/.local/share/man/man1               then: man sandbox, man sandbox-check
  sandbox man | man -l -                            read the page without installing it";
