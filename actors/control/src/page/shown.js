// What is chosen in the curves: which plots, which lines, and how they are aligned.

import { AXES } from "./axis.js";
import { linked, put, touched } from "./link.js";
import { GROUPS } from "./plots.js";
import { emit, on } from "./signals.js";
import { view } from "./view.js";

export const shown = {
  /** `metric`: a plot for each metric with all arms. `arm`: a plot for each arm with one metric. */
  layout: "metric",
  /** `together`: a line for each arm, the mean of its seeds. `apart`: a line for each seed. */
  seeds: "together",
  /** The group of plots, of `GROUPS`. */
  group: "overview",
  /** The metric of the plots for each arm, and the arm that is drawn behind the others. */
  metric: "reward",
  against: "",
  /** The names of arms and of components that are hidden. */
  arms: new Set(),
  parts: new Set(),
  /** Per cent of the range shown that is smoothed over. */
  smoothing: 2,
};

/** Sets a choice, and tells the curves. */
export const choose = (changes) => {
  Object.assign(shown, changes);
  emit("shown");
  touched();
};

const list = (text) => new Set(text ? JSON.parse(text) : []);

const write = (params) => {
  put(params, "layout", shown.layout, "metric");
  put(params, "seeds", shown.seeds, "together");
  put(params, "plots", shown.group, "overview");
  put(params, "metric", shown.metric, "reward");
  put(params, "against", shown.against);
  put(params, "smooth", shown.smoothing, 2);
  put(params, "x", view.axis, "step");
  for (const [name, set] of [["hidden", shown.arms], ["parts", shown.parts]]) if (set.size) params.set(name, JSON.stringify([...set]));
  if (view.choice) params.set("range", view.choice.last ? `last ${view.choice.last}` : `${view.choice.from} ${view.choice.to}`);
};

const read = (params) => {
  const one = (name, all, usual) => (all.includes(params.get(name)) ? params.get(name) : usual);
  const smoothing = Number(params.get("smooth") ?? 2);
  let [hidden, parts] = [new Set(), new Set()];
  try {
    [hidden, parts] = [list(params.get("hidden")), list(params.get("parts"))];
  } catch {
    // The link was cut: everything is shown.
  }
  Object.assign(shown, {
    layout: one("layout", ["metric", "arm"], "metric"), seeds: one("seeds", ["together", "apart"], "together"),
    group: one("plots", Object.keys(GROUPS), "overview"), metric: params.get("metric") ?? "reward", against: params.get("against") ?? "",
    arms: hidden, parts, smoothing: smoothing >= 0 && smoothing <= 10 ? smoothing : 2,
  });
  view.setAxis(one("x", Object.keys(AXES), "step"));
  const [from, to] = (params.get("range") ?? "").split(" ");
  if (from === "last" && Number(to) > 0) view.restore({ last: Number(to) });
  else if (Number(to) > Number(from)) view.restore({ from: Number(from), to: Number(to) });
  emit("shown");
};

export const startShown = () => {
  linked(write, read);
  on("view axis", touched);
};
