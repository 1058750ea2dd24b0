// What a formula would make of the last batch, in words and bars.

import { sumBars } from "./bars.js";
import { count, fill, h } from "./dom.js";

/** Shows the values of a preview in `node`, or nothing if it has none. */
export const showValues = (node, preview) => {
  const batch = preview?.last_batch;
  node.hidden = !batch?.completions;
  if (node.hidden) return fill(node);
  fill(node,
    h("p", { class: "none" }, `With the scores of step ${count(batch.step)}, mean of ${count(batch.completions)} completions:`),
    sumBars(batch.terms, "mean reward", batch.reward),
    batch.reward === null && h("p", { class: "none" }, "A term without a value uses a reward that has not scored yet."));
};
