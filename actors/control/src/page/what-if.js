// What the advantages of a step would have been under other weights. The server computes it from the recorded scores; nothing
// is changed.

import { byId, count, debounce, fill, h, number, percent, setText } from "./dom.js";
import { openFork } from "./fork.js";
import { reshapedText } from "./preview.js";
import { on } from "./signals.js";
import { idOf, label, selectedArms, store } from "./store.js";
import { reshape } from "./sync.js";

/** The arm that it is about; `picked` is the id of the one from where the panel was opened. */
let arm = null;
let picked = null;
let shownFor = "";

const weights = () => Object.fromEntries([...byId("if-weights").querySelectorAll("input")].filter((input) => input.value !== "" && Number(input.value) !== Number(input.defaultValue)).map((input) => [input.dataset.name, input.valueAsNumber]));

const ask = async () => {
  if (!arm) return;
  const step = byId("if-step").valueAsNumber;
  const note = byId("if-note");
  try {
    const found = await reshape(arm, { step: Number.isNaN(step) ? null : step, weights: weights() });
    note.className = "note";
    setText(note, reshapedText(found));
    const [before, after] = found.think_advantage;
    fill(byId("if-figures"),
      ...[["rank correlation", number(found.rank_correlation)], ["changed signs", percent(found.changed_signs)], ["largest difference", number(found.largest_difference)],
        ["advantage of thinking", `${number(before)} → ${number(after)}`], ["compared", count(found.compared)]]
        .map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text))));
    byId("if-figures").hidden = false;
  } catch (problem) {
    note.className = "note bad";
    setText(note, problem.message);
    byId("if-figures").hidden = true;
  }
};

/** Fills in the weights of the arm if they are others than those shown. */
const update = () => {
  arm = store.arms.get(picked) ?? selectedArms()[0] ?? null;
  const conditions = arm?.conditions;
  byId("what-if").hidden = !conditions?.weights;
  if (!conditions?.weights) return;
  const key = JSON.stringify([idOf(arm), conditions.weights]);
  if (key === shownFor) return;
  shownFor = key;
  setText(byId("if-arm"), label(arm));
  fill(byId("if-weights"), Object.entries(conditions.weights).map(([name, value]) => h("label", {}, h("code", {}, name), h("input", { type: "number", step: "any", "data-name": name, value: String(value), on: { input: debounce(200, ask) } }))));
  for (const input of byId("if-weights").querySelectorAll("input")) input.defaultValue = input.value;
};

/** Opens the panel for a step of an arm. */
export const openWhatIf = ({ id, step }) => {
  const chosen = store.arms.get(id);
  if (!chosen?.conditions?.weights) return;
  picked = id;
  shownFor = "";
  update();
  byId("if-step").value = step;
  byId("what-if").open = true;
  byId("what-if").scrollIntoView({ block: "nearest" });
  byId("if-weights").querySelector("input")?.focus();
  ask();
};

export const startWhatIf = () => {
  byId("if-step").addEventListener("input", debounce(200, ask));
  byId("what-if").addEventListener("toggle", () => byId("what-if").open && ask());
  byId("if-fork").addEventListener("click", () => {
    const step = byId("if-step").valueAsNumber;
    openFork({ id: idOf(arm), step: Number.isNaN(step) ? arm.step : step }, Object.entries(weights()).map(([name, value]) => `shaping.weights.${name} = ${value}`));
  });
  on("arms", update);
  on("scope", () => {
    picked = null;
    update();
  });
};
