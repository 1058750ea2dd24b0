// The dialog that swaps, adds or removes a reward. What becomes of the formula is decided by the server, for each arm by
// itself; the dialog shows it before the change is made.

import { announce, byId, debounce, fill, h, setText } from "./dom.js";
import { outcome } from "./outcome.js";
import { showValues } from "./preview.js";
import { isStale, showStale } from "./stale.js";
import { label, selectedArms } from "./store.js";
import { change, loadState, preview } from "./sync.js";
import { versionsNow } from "./versions.js";

/** The option that a kind needs in any case. */
const EXAMPLES = {
  python: 'file = "my_reward.py"',
  process: 'command = ["python3", "my_reward.py"]',
  http: 'url = "http://127.0.0.1:8000/score"',
};
const KINDS = ["python", "process", "http", "accuracy", "adaptive-think", "consistency", "format", "think"];
const example = (kind) => [`kind = "${kind}"`, EXAMPLES[kind] ?? []].flat().join("\n");

const TITLES = { swap: "Swap", add: "Add", remove: "Remove" };

/** `swap`, `add` or `remove`. */
let action = "swap";
/** Whether the formula was edited here; then it is sent as it is. */
let edited = false;
/** The versions that the page showed when the dialog was opened. */
let since = null;

const field = (name) => byId(`swap-${name}`);

const say = (kind, text) => {
  field("note").className = `note ${kind}`;
  setText(field("note"), text);
};

/** One arm for each formula that the selected arms have. */
const armsByFormula = () => [...new Map(selectedArms().map((arm) => [arm.conditions.formula, arm])).values()];

/** The change that the form describes. */
const request = () => {
  const name = field("name").value.trim();
  const wanted = action === "remove" ? { rewards: { [name]: null } } : { [action]: { [name]: field("toml").value } };
  const weight = field("weight").value === "" ? null : field("weight").valueAsNumber;
  const joins = action === "add" && field("join").checked;
  if (edited) {
    wanted.formula = field("formula").value.trim();
    if (joins && weight !== null) wanted.weights = { [name]: weight };
  } else if (joins) wanted.join_formula = { [name]: weight === null ? {} : { weight } };
  else if (action === "remove") wanted.leave_formula = [name];
  return wanted;
};

const showFormulas = (arms, answers) => {
  const several = arms.length > 1;
  field("formula-row").hidden = several;
  field("formulas").hidden = !several;
  if (several) {
    fill(field("formulas"), arms.map((arm, at) => h("div", {}, h("dt", {}, label(arm)), h("dd", {}, h("code", {}, answers[at].formula ?? answers[at].error)))));
  } else if (!edited && answers[0].formula !== null) field("formula").value = answers[0].formula;
};

let turn = 0;
/** Asks what the change would make of the formula, and shows it. */
const update = async () => {
  const mine = ++turn;
  field("weight").disabled = !field("join").checked;
  const arms = armsByFormula();
  const named = field("name").value.trim() !== "";
  try {
    const answers = await Promise.all(arms.map((arm) => preview(arm, named ? request() : {})));
    if (mine !== turn) return;
    showFormulas(arms, answers);
    const shown = answers.length === 1 && named ? answers[0] : null;
    setText(field("problem"), shown?.error ?? "");
    showValues(field("values"), shown);
  } catch (problem) {
    if (mine === turn) setText(field("problem"), problem.message);
  }
};
const updateSoon = debounce(200, update);

const open = (what, name, toml) => {
  action = what;
  edited = false;
  since = versionsNow();
  setText(field("title"), name ? `${TITLES[what]} ${name}` : "Add a reward");
  setText(field("go"), TITLES[what]);
  field("name").value = name;
  field("name").disabled = what !== "add";
  field("toml").value = toml;
  field("reward").hidden = what === "remove";
  field("join-row").hidden = what !== "add";
  field("join").checked = true;
  field("weight").value = "";
  field("formula").value = armsByFormula()[0]?.conditions.formula ?? "";
  field("go").disabled = false;
  showValues(field("values"), null);
  setText(field("problem"), "");
  say("", "");
  byId("swap-dialog").showModal();
  field({ swap: "toml", add: "name", remove: "go" }[what]).focus();
  update();
};

export const openSwap = (name) => open("swap", name, selectedArms()[0].conditions.rewards[name].toml.trimEnd());
export const openAdd = () => open("add", "", example("python"));
export const openRemove = (name) => open("remove", name, "");

/** Selects the line of the reward or the character of the formula that a refusal is about. */
const select = ({ line = null, place = null }) => {
  if (line === null && place === null) return;
  const box = field(line === null ? "formula" : "toml");
  const ends = [...box.value.matchAll(/\n|$/g)].map(({ index }) => index);
  const [from, to] = line === null ? [place, place + 1] : [line > 1 ? ends[line - 2] + 1 : 0, ends[line - 1]];
  box.focus();
  box.setSelectionRange(from, to);
};

const submit = async (from = since) => {
  const name = field("name").value.trim();
  if (!name) return say("bad", "enter a name; the formula refers to the reward by it");
  field("go").disabled = true;
  say("pending", action === "remove" ? "waiting for the current step to end…" : "trying the reward on a batch, then waiting for the current step to end…");
  try {
    const { bad, text } = outcome(await change(request(), from));
    say(bad ? "bad" : "good", text);
    announce(`${name}: ${text}`);
    if (!bad) {
      byId("swap-dialog").close();
      byId("rewards-note").className = "note good";
      setText(byId("rewards-note"), `${name}: ${text}`);
    }
  } catch (problem) {
    if (isStale(problem)) {
      await loadState().catch(() => {});
      update();
      showStale(field("note"), problem, from, { redo: submit, discard: () => byId("swap-dialog").close() });
      return;
    }
    say("bad", problem.message);
    announce(problem.message);
    select(problem);
  }
  field("go").disabled = false;
};

export const startRewardDialog = () => {
  const begin = (kind) => {
    field("toml").value = example(kind);
    field("toml").focus();
    updateSoon();
  };
  fill(field("kinds"), KINDS.map((kind) => h("button", { type: "button", class: "tiny", on: { click: () => begin(kind) } }, kind)));
  field("form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  for (const name of ["name", "toml", "join", "weight"]) field(name).addEventListener("input", updateSoon);
  field("formula").addEventListener("input", () => {
    edited = true;
    updateSoon();
  });
};
