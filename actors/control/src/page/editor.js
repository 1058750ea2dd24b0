// The formula editor. The server checks the text while it is typed: an error is shown below and marked in the text, and a
// valid formula is shown with its values on the last batch.

import { announce, byId, debounce, fill, h, setText } from "./dom.js";
import { outcome } from "./outcome.js";
import { showValues } from "./preview.js";
import { on } from "./signals.js";
import { isStale, showStale } from "./stale.js";
import { hasEnded, selectedArms, store } from "./store.js";
import { change, loadState, preview } from "./sync.js";
import { versionsNow } from "./versions.js";

const FUNCTIONS = ["min(", "max(", "abs(", "exp(", "ln(", "sqrt(", "tanh("];

let inForce = "";
let edited = false;
/** The versions that the page showed when the user began to edit. */
let since = null;

const box = () => byId("formula");

const say = (kind, text) => {
  byId("formula-note").className = `note ${kind}`;
  setText(byId("formula-note"), text);
};

/** Marks the name or character at `place`, in characters from 0, or nothing. */
const mark = (place = null) => {
  const text = box().value;
  const characters = [...text];
  const back = byId("formula-marks");
  box().setAttribute("aria-invalid", place !== null);
  if (place === null) return fill(back, text);
  const at = Math.min(Math.max(place, 0), characters.length);
    const rest = characters.slice(at).join("");
  const length = [...(rest.match(/^[\p{L}\p{N}_]+/u)?.[0] ?? rest.slice(0, 1))].length;
  fill(back, characters.slice(0, at).join(""), h("mark", {}, characters.slice(at, at + length).join("") || " "), characters.slice(at + length).join("") + "\n");
};

let turn = 0;
const check = debounce(180, async () => {
  const [arm] = selectedArms();
  const text = box().value;
  if (!arm || text === inForce) return;
  const mine = ++turn;
  try {
    const answer = await preview(arm, { formula: text });
    if (mine !== turn || text !== box().value) return;
    byId("formula-apply").disabled = !answer.ok;
    mark(answer.ok ? null : (answer.place ?? null));
    showValues(byId("formula-values"), answer);
    say(answer.ok ? "good" : "bad", answer.ok ? "valid; not applied yet" : answer.error);
  } catch (problem) {
    if (mine === turn) say("bad", problem.message);
  }
});

const grow = () => {
  box().style.height = "auto";
  box().style.height = `${box().scrollHeight + 2}px`;
};

const reset = (text) => {
  inForce = text;
  edited = false;
  box().value = text;
  showValues(byId("formula-values"), null);
  byId("formula-apply").disabled = byId("formula-revert").disabled = true;
  mark();
  grow();
};

const typed = () => {
  if (!edited) since = versionsNow();
  edited = box().value !== inForce;
  byId("formula-revert").disabled = !edited;
  byId("formula-apply").disabled = true;
  mark();
  grow();
  if (edited) {
    say("pending", "checking…");
    check();
  } else {
    showValues(byId("formula-values"), null);
    say("", "");
  }
};

const apply = async (from = since ?? versionsNow()) => {
  const formula = box().value;
  byId("formula-apply").disabled = true;
  say("pending", "pending: waiting for the current step to end…");
  try {
    const { bad, text } = outcome(await change({ formula }, from));
    say(bad ? "bad" : "good", text);
    announce(`Formula ${text}`);
    if (!bad) reset(formula);
  } catch (problem) {
    if (isStale(problem)) {
      await loadState().catch(() => {});
      showStale(byId("formula-note"), problem, from, { redo: apply, discard: revert });
      return;
    }
    mark(problem.place);
    say("bad", problem.message);
    announce(problem.message);
    byId("formula-apply").disabled = false;
  }
};

/** Gives up the edit: shows the formula in force. */
const revert = () => {
  reset(selectedArms()[0]?.conditions?.formula ?? inForce);
  say("", "");
  box().focus();
};

const insert = (text) => {
  const { selectionStart, selectionEnd } = box();
  box().setRangeText(text, selectionStart, selectionEnd, "end");
  box().focus();
  typed();
};

let namesShown = "";
const update = () => {
  const arms = selectedArms().filter((arm) => arm.conditions);
  const formulas = [...new Set(arms.map((arm) => arm.conditions.formula))];
  const live = store.connection === "live" && arms.some((arm) => !hasEnded(arm));
  box().disabled = !live || !arms.length;
  byId("formula-mixed").hidden = formulas.length < 2;
  if (!edited && arms.length && formulas[0] !== inForce) reset(formulas[0]);
  const names = [...new Set(arms.flatMap((arm) => arm.conditions.formula_names))].concat(FUNCTIONS);
  if (names.join() === namesShown) return;
  namesShown = names.join();
  fill(byId("formula-names"), names.map((name) => h("button", { type: "button", class: "tiny", on: { click: () => insert(name) } }, name.replace("(", "( )"))));
};

export const startEditor = () => {
  box().addEventListener("input", typed);
  box().addEventListener("scroll", () => (byId("formula-marks").scrollTop = box().scrollTop));
  box().addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !byId("formula-apply").disabled) apply();
    else if (event.key === "Escape" && edited) {
      event.stopPropagation();
      reset(inForce);
      say("", "");
    }
  });
  byId("formula-apply").addEventListener("click", () => apply());
  byId("formula-revert").addEventListener("click", revert);
  on("arms connection", update);
  on("scope", () => {
    edited = false;
    inForce = "";
    say("", "");
    update();
  });
};
