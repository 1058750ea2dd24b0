// The form that puts a reward in another's place, adds one, or takes one out, with the formula and the weight that go
// with it: one change, all or nothing.

import { announce, byId, fill, h, setText } from "./dom.js";
import { written } from "./editor.js";
import { namesIn, terms } from "./formula.js";
import { change, steered } from "./store.js";
import { outcome } from "./weights.js";

/** What to begin with for each kind; of those with options the one that is needed. */
const EXAMPLES = {
  python: 'file = "my_reward.py"',
  process: 'command = ["python3", "my_reward.py"]',
  http: 'url = "http://127.0.0.1:8000/score"',
};
const KINDS = ["python", "process", "http", "accuracy", "adaptive-think", "consistency", "format", "think"];
const example = (kind) => [`kind = "${kind}"`, EXAMPLES[kind] ?? []].flat().join("\n");

let purpose = null;
let before = "";
const field = (name) => byId(`swap-${name}`);

const say = (kind, text) => {
  field("note").className = `note ${kind}`;
  setText(field("note"), text);
};

const FORMULA_LABEL = "formula from then on";
const TERM_LABEL = "added to the formula of each arm, which differ";

const open = (title, what) => {
  const formulas = new Set(steered().map(({ conditions }) => conditions.formula));
  purpose = { ...what, mixed: formulas.size > 1, touched: false };
  [before] = formulas;
  setText(field("title"), title);
  field("reward").hidden = Boolean(what.remove);
  field("name").disabled = !what.add;
  field("weight-row").hidden = !what.add;
  field("weight").value = "";
  // Formulas that differ are not overwritten by one of them: each arm's own gains or loses the reward's terms.
  field("formula-row").hidden = purpose.mixed && !what.add;
  setText(field("formula-label"), purpose.mixed ? TERM_LABEL : FORMULA_LABEL);
  field("formula").value = purpose.mixed ? "" : what.remove ? without(before, what.name) : before;
  setText(field("hint"), what.add ? "A reward that the formula does not name is scored and logged, and teaches nothing." : !what.remove ? "" : purpose.mixed ? "The formula of each arm loses the terms that name it." : "The formula has to do without it.");
  setText(field("go"), what.remove ? "Remove" : what.add ? "Add" : "Swap");
  say("", "");
  byId("swap-dialog").showModal();
  (what.remove ? field("go") : what.add ? field("name") : field("toml")).focus();
};

export const openSwap = (name) => {
  const [arm] = steered();
  field("name").value = name;
  field("toml").value = arm.conditions.rewards[name].toml.trimEnd();
  open(`Swap ${name}`, { name });
};

export const openAdd = () => {
  field("name").value = "";
  field("toml").value = example("python");
  open("Add a reward", { add: true });
};

/** The formula without the terms that need a reward. */
const without = (formula, name) => {
  try {
    const kept = terms(formula).filter(({ text }) => !namesIn(text).has(name));
    return kept.map(({ text, sign }, at) => (sign < 0 ? (at ? " - " : "0 - ") : at ? " + " : "") + text).join("") || "0";
  } catch {
    return formula;
  }
};

export const openRemove = (name) => {
  field("name").value = name;
  open(`Remove ${name}`, { name, remove: true });
};

/** The change the form describes; throws what is wrong with it. */
const wanted = () => {
  const name = purpose.add ? field("name").value.trim() : purpose.name;
  if (!name) throw new Error("give the reward a name, by which the formula calls it");
  const what = { rewards: {} };
  what.rewards[name] = purpose.remove ? null : field("toml").value;
  if (purpose.add && field("weight").value !== "") what.weights = { [name]: field("weight").valueAsNumber };
  const text = field("formula").value.trim();
  if (!purpose.mixed) return { name, what: text === before ? what : { ...what, formula: text } };
  if (!purpose.add && !purpose.remove) return { name, what };
  const own = ({ conditions: { formula } }) => (purpose.remove ? without(formula, name) : text ? `${formula} + ${text}` : formula);
  const ofArm = (arm) => (own(arm) === arm.conditions.formula ? what : { ...what, formula: own(arm) });
  return { name, what: ofArm };
};

/** Selects what a refusal is about: a line of the reward, or a character of the formula. */
const showPlace = ({ line = null, place = null }) => {
  if (line === null && place === null) return;
  const box = field(line === null ? "formula" : "toml");
  const ends = [...box.value.matchAll(/\n|$/g)].map(({ index }) => index);
  const [from, to] = line === null ? [place, place + 1] : [line > 1 ? ends[line - 2] + 1 : 0, ends[line - 1]];
  box.focus();
  box.setSelectionRange(from, to);
};

const submit = async (event) => {
  event.preventDefault();
  let asked;
  try {
    asked = wanted();
  } catch (problem) {
    return say("bad", problem.message);
  }
  field("go").disabled = true;
  say("pending", "trying it on a batch, then waiting for the step to end…");
  try {
    const { bad, text } = outcome(await change(asked.what));
    say(bad ? "bad" : "good", text);
    announce(`${asked.name}: ${text}`);
    if (!bad) {
      byId("swap-dialog").close();
      byId("rewards-note").className = "note good";
      setText(byId("rewards-note"), `${asked.name}: ${text}`);
    }
  } catch (problem) {
    say("bad", problem.message);
    announce(problem.message);
    showPlace(problem);
  }
  field("go").disabled = false;
};

/** While a reward is being added, the formula grows by it unless somebody has written there. */
const suggest = () => {
  if (!purpose?.add || purpose.touched) return;
  const name = field("name").value.trim();
  const weighted = field("weight").value !== "";
  const term = weighted ? `${written(name, true)} * ${written(name)}` : written(name);
  field("formula").value = purpose.mixed ? (name && term) : name ? `${before} + ${term}` : before;
};

export const startSwap = () => {
  const begin = (kind) => {
    field("toml").value = example(kind);
    field("toml").focus();
  };
  fill(field("kinds"), KINDS.map((kind) => h("button", { type: "button", class: "tiny", on: { click: () => begin(kind) } }, kind)));
  field("form").addEventListener("submit", submit);
  field("name").addEventListener("input", suggest);
  field("weight").addEventListener("input", suggest);
  field("formula").addEventListener("input", () => purpose && (purpose.touched = true));
};
