// What a formula would make of the last batch, in words and bars.

import { sumBars } from "./bars.js";
import { count, fill, h, number, percent, plural } from "./dom.js";

/** What other weights or another formula would have made of the advantages of a step, in one sentence. */
export const reshapedText = ({ step, compared, gained, lost, changed_signs: changed, rank_correlation: rank }) => {
  if (!compared) return `No completion of step ${count(step)} would have an advantage in both cases.`;
  const others = [gained && `${count(gained)} more would have one`, lost && `${count(lost)} would have none`].filter(Boolean).join(", ");
  return `Advantages of step ${count(step)}: ${percent(changed)} of ${plural(compared, "sign")} would change, rank correlation ${number(rank)}${others ? `; ${others}` : ""}.`;
};

/** Shows the values of a preview in `node`, or nothing if it has none. */
export const showValues = (node, preview) => {
  const batch = preview?.last_batch;
  node.hidden = !batch?.completions;
  if (node.hidden) return fill(node);
  fill(node,
    h("p", { class: "none" }, `With the scores of step ${count(batch.step)}, mean of ${count(batch.completions)} completions:`),
    sumBars(batch.terms, "mean reward", batch.reward),
    preview.advantages && h("p", { class: "none" }, reshapedText(preview.advantages)),
    batch.reward === null && h("p", { class: "none" }, "A term without a value uses a reward that has not scored yet."));
};
