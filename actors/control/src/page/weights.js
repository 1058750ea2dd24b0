// A slider and a number for each weight. A change is sent when the slider is released, or shortly after the last key
// press, and shown as pending until it is in force.

import { announce, byId, debounce, exact, fill, h, setText } from "./dom.js";
import { outcome } from "./outcome.js";
import { reshapedText } from "./preview.js";
import { on } from "./signals.js";
import { isStale, showStale } from "./stale.js";
import { hasEnded, selectedArms, store } from "./store.js";
import { change, loadState, reshape } from "./sync.js";
import { versionsNow } from "./versions.js";

/**
 * The row of each weight, with the range of its slider, the value that is pending, and the versions that the page showed
 * when the user began to change it.
 */
const rows = new Map();

/** The range of a new slider: up to about three times the weight, and below zero only for a negative one. */
const firstRange = (value) => {
  const most = Math.max(1, 3 * Math.abs(value));
  const round = 10 ** Math.floor(Math.log10(most));
  const top = Math.ceil(most / round) * round;
  return [value < 0 ? -top : 0, top];
};

const say = (row, kind, text) => {
  row.note.className = `note ${kind}`;
  setText(row.note, text);
};

const send = async (row, value, since = row.since ?? versionsNow()) => {
  row.since = null;
  row.pending = value;
  const turn = (row.turn = (row.turn ?? 0) + 1);
  row.node.classList.add("pending");
  say(row, "pending", `${exact(value)} is pending: waiting for the current step to end…`);
  try {
    const { bad, text } = outcome(await change({ weights: { [row.name]: value } }, since));
    if (turn !== row.turn) return;
    say(row, bad ? "bad" : "good", text);
    announce(`Weight ${row.name} ${exact(value)} ${text}`);
  } catch (problem) {
    if (turn !== row.turn) return;
    if (isStale(problem)) {
      const discard = () => say(row, "", "");
      showStale(row.note, problem, since, { redo: (newer) => send(row, value, newer), discard });
      loadState().catch(() => {});
    } else {
      say(row, "bad", problem.message);
      announce(`Weight ${row.name}: ${problem.message}`);
    }
  }
  row.pending = null;
  row.node.classList.remove("pending");
  update();
};

/** Says while a slider is held what its value would have made of the last batch of the first selected arm. */
const foresee = debounce(120, async (row) => {
  const [arm] = selectedArms();
  const value = Number(row.slider.value);
  if (!arm || !row.held) return;
  const found = await reshape(arm, { weights: { [row.name]: value } }).catch(() => null);
  if (found && row.held && Number(row.slider.value) === value) say(row, "", reshapedText(found));
});

const setRange = (row, [low, high]) => {
  row.range = [low, high];
  row.slider.min = low;
  row.slider.max = high;
  row.slider.step = 10 ** Math.floor(Math.log10((high - low) / 100));
  setText(row.low, exact(low));
  setText(row.high, exact(high));
};

const widen = (row, value) => {
  let [low, high] = row.range;
  while (value > high) high *= 2;
  while (value < low) low = low === 0 ? -high : low * 2;
  setRange(row, [low, high]);
};

const show = (row, value) => {
  if (value < row.range[0] || value > row.range[1]) widen(row, value);
  row.slider.value = value;
  row.slider.style.setProperty("--at", `${(100 * (value - row.range[0])) / (row.range[1] - row.range[0])}%`);
  if (document.activeElement !== row.number) row.number.value = value;
};

const makeRow = (name, value) => {
  const id = `weight-${name}`;
  const row = { name, range: [0, 1], pending: null, since: null };
  const sendSoon = debounce(350, (value) => {
    if (value !== row.shown) send(row, value);
    else row.since = null;
  });
  row.slider = h("input", {
    type: "range", id, "data-weight": name, "aria-describedby": `${id}-note`,
    on: {
      input: () => {
        show(row, Number(row.slider.value));
        row.since ??= versionsNow();
        row.held = true;
        foresee(row);
      },
      change: () => {
        row.held = false;
        sendSoon(Number(row.slider.value));
      },
    },
  });
  row.number = h("input", {
    type: "number", step: "any", "aria-label": `Weight ${name} as a number`,
    on: { input: () => (row.since ??= versionsNow()), change: () => {
      const value = row.number.valueAsNumber;
      if (Number.isNaN(value)) return say(row, "bad", "enter a number such as 0.5");
      show(row, value);
      if (value !== row.shown) send(row, value);
      else row.since = null;
    } },
  });
  row.low = h("span");
  row.high = h("span");
  row.note = h("p", { class: "note", id: `${id}-note` });
  const wider = (text, title, action) => h("button", { type: "button", class: "tiny", title, "aria-label": `${text}: ${title.toLowerCase()} (${name})`, on: { click: action } }, text);
  row.node = h("div", { class: "weight" },
    h("label", { for: id }, h("code", {}, name)), row.number, row.slider,
    h("div", { class: "ends" }, row.low,
      wider("± below 0", "Let the slider go below zero", () => { setRange(row, [-row.range[1], row.range[1]]); show(row, Number(row.number.value)); }),
      wider("× 2", "Double the slider's range", () => { setRange(row, row.range.map((end) => end * 2)); show(row, Number(row.number.value)); }),
      row.high),
    row.note);
  setRange(row, firstRange(value));
  return row;
};

/** Shows the weights in force, except where a slider is held or a change is pending. */
const update = () => {
  const arms = selectedArms().filter((arm) => arm.conditions?.weights);
  const names = [...new Set(arms.flatMap((arm) => Object.keys(arm.conditions.weights)))].sort();
  const area = byId("weights");
  if (names.join() !== [...rows.keys()].join()) {
    for (const name of rows.keys()) if (!names.includes(name)) rows.delete(name);
    for (const name of names) if (!rows.has(name)) rows.set(name, makeRow(name, valuesOf(arms, name)[0]));
    const sorted = names.map((name) => rows.get(name));
    rows.clear();
    for (const row of sorted) rows.set(row.name, row);
    fill(area, sorted.map(({ node }) => node));
  }
  byId("no-weights").hidden = names.length > 0;
  const closed = arms.length > 0 && arms.every(hasEnded);
  for (const row of rows.values()) {
    const values = valuesOf(arms, row.name);
    row.shown = values.length === 1 ? values[0] : NaN;
    row.slider.disabled = row.number.disabled = closed || store.connection !== "live";
    row.node.classList.toggle("mixed", values.length > 1);
    if (values.length > 1 && !row.note.textContent) say(row, "", `differs between arms: ${values.map(exact).join(", ")}`);
    if (row.pending === null && !row.held) show(row, values[0]);
  }
};

const valuesOf = (arms, name) => [...new Set(arms.map((arm) => arm.conditions.weights[name]).filter((value) => value !== undefined))];

export const startWeights = () => {
  on("scope", () => {
    for (const row of rows.values()) say(row, "", "");
    rows.clear();
  });
  on("arms scope connection", update);
};
