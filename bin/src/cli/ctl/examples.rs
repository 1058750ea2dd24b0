//! The examples at the end of the help texts of `sandbox ctl`.

pub const STATE: &str = "\
Examples:
  sandbox ctl state
  sandbox ctl state --run runs/ablation-20260131-120000 --json";

pub const ACTORS: &str = "\
Example:
  sandbox ctl actors --arm grpo";

pub const WEIGHTS: &str = "\
Examples:
  sandbox ctl weights                               show them
  sandbox ctl weights think=0.3 format=1            set two of them in every arm
  sandbox ctl weights think+=0.1 --arm 'grpo+atar*' change one by its present value";

pub const FORMULA: &str = "\
Examples:
  sandbox ctl formula                               show it
  sandbox ctl formula \"accuracy + w_think * think\" --weight think=0.3";

pub const SET: &str = "\
Examples:
  sandbox ctl set                                   show them
  sandbox ctl set grpo.lr=3e-5 sampling.temperature=0.8 --arm 'grpo+atar*'";

pub const REWARDS: &str = "\
Example:
  sandbox ctl rewards --arm grpo";

pub const SWAP: &str = "\
Example:
  sandbox ctl swap think brevity.py                 brevity.py has a function `reward`";

pub const ADD: &str = "\
Examples:
  sandbox ctl add brevity brevity.py --weight brevity=0.3
  sandbox ctl add brevity brevity.toml --formula \"accuracy + w_brevity * brevity\" --weight brevity=0.3";

pub const REMOVE: &str = "\
Example:
  sandbox ctl remove think --formula accuracy";

pub const PAUSE: &str = "\
Example:
  sandbox ctl pause --arm grpo --reason \"looks at the completions\"";

pub const RESUME: &str = "\
Example:
  sandbox ctl resume";

pub const STEP: &str = "\
Example:
  sandbox ctl step 5                                takes five steps and pauses";

pub const CHECKPOINT: &str = "\
Example:
  sandbox ctl checkpoint --arm grpo";

pub const STOP: &str = "\
Example:
  sandbox ctl stop --arm '!grpo*'                   stops all arms but these; --resume continues them";

pub const FORK: &str = "\
Examples:
  sandbox ctl fork grpo+atar --as atar-dry --set shaping.weights.think=0
  sandbox ctl fork grpo+atar --as atar --sweep think=0.1,0.3,1   three arms that differ in w_think
  sandbox ctl rewind grpo+atar --to 40 --as atar-again           from the checkpoint of step 40; nothing is overwritten";

pub const METRICS: &str = "\
Example:
  sandbox ctl metrics --arm grpo --last 20 --fields reward,components";

pub const ROLLOUTS: &str = "\
Examples:
  sandbox ctl rollouts --step 40 --sort components.think --ascending
  sandbox ctl rollouts --filter wrong-and-confident
  sandbox ctl rollouts --search \"I do not know\" --limit 20";

pub const ALARMS: &str = "\
Examples:
  sandbox ctl alarms
  sandbox ctl alarms --arm 'grpo+atar*' --json";

pub const JOURNAL: &str = "\
Example:
  sandbox ctl journal";

pub const BOOKMARKS: &str = "\
Example:
  sandbox ctl bookmarks";

pub const BOOKMARK: &str = "\
Examples:
  sandbox ctl bookmark --arm grpo --at 120 \"the policy stops thinking here\"
  sandbox ctl bookmark --number 3 \"it thinks again from step 160\"
  sandbox ctl bookmark --remove 3";

pub const WATCH: &str = "\
Examples:
  sandbox ctl watch
  sandbox ctl watch --arm grpo --json | jq .data";
