// What somebody else changed while the user was making a change, with the choice to make it all the same.

import { announce, clock, fill, h } from "./dom.js";
import { label } from "./store.js";
import { afterRefusal, othersIn } from "./versions.js";

const shown = (value) => (value === null ? "none" : typeof value === "string" ? value : JSON.stringify(value));

/** Who made a change, and when. */
const who = (arm, { by, time, version, step }) => `${label(arm)} · ${by} · ${clock(time)} · version ${version}${step === null ? ", from the next step" : `, from step ${step}`}`;

const line = ({ arm, change }) => h("span", { class: "meanwhile" },
  h("span", { class: "who" }, who(arm, change)),
  change.fields.map(({ field, old, new: now }) => h("span", { class: "what" }, `${field}: ${shown(old)} → ${shown(now)}`)));

/**
 * Shows the changes of a refusal in `node`, with two buttons: `redo(since)` makes the change on the new state, `discard()`
 * gives it up.
 */
export const showStale = (node, refusal, since, { redo, discard }) => {
  const changes = othersIn(refusal);
  node.className = "note bad stale";
  const button = (text, action) => h("button", { type: "button", class: "tiny", on: { click: action } }, text);
  fill(node, "Changed meanwhile, so your change was not made:", changes.map(line),
    button("Apply mine on top", () => redo(afterRefusal(since, refusal))), button("Discard mine", discard));
  announce("The conditions were changed meanwhile; your change was not made.");
};

export const isStale = (problem) => (problem.stale?.length ?? 0) > 0;
