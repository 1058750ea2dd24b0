// The plots of the page and the groups in which they are shown.

/** The titles of the plots in each group; null means all. The first group is shown at first. */
export const GROUPS = {
  overview: ["Reward", "Accuracy", "Think rate", "Reward components", "Think rate by difficulty", "KL to the reference"],
  thinking: ["Think rate", "Think rate by difficulty", "Consistency", "Think quality", "Length"],
  components: ["Reward", "Reward components", "Well-formed", "Missing scores", "Groups with equal rewards"],
  optimizer: ["Loss", "KL to the reference", "Gradient norm", "Groups with equal rewards", "Groups not trained on", "Optimizer steps skipped"],
  speed: ["Throughput", "Step time", "Length"],
  all: null,
};

/**
 * The plots, in the order in which they are shown. `field` is a metric and `many` a group of metrics, with `each` as the
 * title of one of them. Where evaluations have the same quantity, the server sends it under the same name.
 */
export const PLOTS = [
  { field: "reward", title: "Reward", hint: "mean shaped reward of a step" },
  { field: "accuracy", title: "Accuracy", hint: "line: training · dots: held out" },
  { field: "think_rate", title: "Think rate", hint: "share of completions that think · dots: held out" },
  { many: "think_rate_by_difficulty", title: "Think rate by difficulty", each: (name) => `Think rate, ${name}` },
  { many: "components", title: "Reward components", each: (name) => name, hint: "mean score of a step" },
  { field: "consistency", title: "Consistency", hint: "judge's verdict on completions that think" },
  { field: "think_quality", title: "Think quality", hint: "judge's verdict on completions that think" },
  { field: "format_rate", title: "Well-formed", hint: "share of completions" },
  { field: "completion_tokens_mean", title: "Length", hint: "tokens per completion" },
  { field: "loss", title: "Loss", hint: "the minimised value" },
  { field: "kl", title: "KL to the reference", hint: "per token" },
  { field: "grad_norm", title: "Gradient norm", hint: "before clipping" },
  { field: "frac_zero_std", title: "Groups with equal rewards", hint: "share of groups, which teach nothing" },
  { many: "missing", title: "Missing scores", each: (name) => `Missing: ${name}`, hint: "scores missing in a step", nonzero: true },
  { many: "groups_excluded", title: "Groups not trained on", each: (name) => `Not trained on: ${name}`, hint: "groups of a step", nonzero: true },
  { field: "skipped_streak", title: "Optimizer steps skipped", hint: "in a row, because the gradient was not finite" },
  { field: "unusable_rows", title: "Unusable rows", hint: "of the training data, so far; see data-problems.jsonl" },
  { field: "tokens_per_second", title: "Throughput", hint: "completion tokens per second" },
  { field: "step_seconds", title: "Step time", hint: "seconds" },
];
