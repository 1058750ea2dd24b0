// The dialog that compares what arms said to one question: all of them in a table, and two of them word by word.

import { get } from "./api.js";
import { largest, bar } from "./bars.js";
import { colourOf } from "./colours.js";
import { diff } from "./diff.js";
import { byId, count, fill, h, number, percent, plural, setText } from "./dom.js";
import { linked, put, touched } from "./link.js";
import { idOf, label } from "./store.js";

/** What is compared: the question, its phase and last step, the arms, and which of their completions. */
const chosen = { question: null, phase: "", step: null, sides: ["", ""], index: [0, 0] };
let arms = [];

const dialog = () => byId("compare-dialog");
const armOf = (side) => arms.find((arm) => idOf(arm) === chosen.sides[side]);
const lineOf = (side) => {
  const completions = armOf(side)?.completions ?? [];
  return completions[Math.min(chosen.index[side], completions.length - 1)];
};

const set = (side, id, index = 0) => {
  chosen.sides[side] = id;
  chosen.index[side] = index;
  show();
  touched();
};

const radio = (side, arm) => {
  const id = idOf(arm);
  return h("input", {
    type: "radio", name: `compare-${side}`, checked: chosen.sides[side] === id, "aria-label": `${label(arm)} on the ${side ? "right" : "left"}`,
    on: { change: () => set(side, id) },
  });
};

const mark = (line) => h("b", { class: line.correct ? "good" : "bad" }, line.correct ? "✓ " : "✗ ", line.answer ?? "no answer");

/** A row of the table of all arms. */
const armRow = (arm) => {
  const { completions } = arm;
  const right = completions.filter(({ correct }) => correct).length;
  const think = completions.filter(({ mode }) => mode === "think").length;
  const rewards = completions.map(({ reward }) => reward).filter((reward) => reward !== null && reward !== undefined);
  const first = completions[0];
  return h("tr", {},
    h("td", {}, radio(0, arm)), h("td", {}, radio(1, arm)),
    h("th", { scope: "row" }, h("i", { class: `swatch ${colourOf(arm)}` }), label(arm)),
    h("td", { class: "num" }, first.phase === "eval" ? `eval ${count(first.step)}` : count(first.step)),
    h("td", { class: "num" }, `${right} of ${completions.length}`), h("td", { class: "num" }, `${think} of ${completions.length}`),
    h("td", { class: "num" }, rewards.length ? number(rewards.reduce((sum, reward) => sum + reward, 0) / rewards.length) : "–"),
    h("td", { class: "wide" }, mark(first)));
};

const parts = (found, tag) => found.map(({ text, same }) => (same ? text : h(tag, {}, text)));

/** One of the two completions. */
const sideOf = (side, text) => {
  const arm = armOf(side);
  const line = lineOf(side);
  const { completions } = arm;
  const step = (by) => set(side, idOf(arm), (chosen.index[side] + by + completions.length) % completions.length);
  return h("div", { class: "side" },
    h("div", { class: "row" },
      h("h3", {}, h("i", { class: `swatch ${colourOf(arm)}` }), label(arm)),
      completions.length > 1 && h("span", { class: "segments" },
        h("button", { type: "button", "aria-label": `Previous completion of ${label(arm)}`, on: { click: () => step(-1) } }, "←"),
        h("button", { type: "button", "aria-label": `Next completion of ${label(arm)}`, on: { click: () => step(1) } }, "→")),
      h("span", { class: "none" }, `${Math.min(chosen.index[side], completions.length - 1) + 1} of ${completions.length} · ${line.phase === "eval" ? "evaluation after" : ""} step ${count(line.step)} · ${line.tokens} tokens`)),
    h("p", {}, mark(line), " ", h("span", { class: "chip" }, line.well_formed ? line.mode.replace("_", "-") : "malformed")),
    h("pre", { tabindex: 0, role: "region", "aria-label": `What ${label(arm)} said` }, parts(text, side ? "ins" : "del")));
};

/** Reward, advantage and scores of both completions, beside each other. */
const scores = (lines) => {
  const names = [...new Set(lines.flatMap((line) => Object.keys(line.components)))].sort();
  const rows = [["reward", ({ reward }) => reward], ["advantage", ({ advantage }) => advantage], ...names.map((name) => [name, ({ components }) => components[name] ?? null])];
  const most = largest(rows.flatMap(([, of]) => lines.map(of)));
  return h("div", { class: "scores" }, lines.map((line) => h("dl", { class: "bars" }, rows.map(([name, of]) => bar(name, of(line) ?? null, most)))));
};

const show = () => {
  const asked = arms.filter(({ completions }) => completions.length);
  fill(byId("compare-arms"), asked.map(armRow));
  const missing = arms.length - asked.length;
  setText(byId("compare-missing"), missing ? `${plural(missing, "arm")} ${missing === 1 ? "was" : "were"} not asked this question yet.` : "");
  const lines = [lineOf(0), lineOf(1)];
  if (!lines[0] || !lines[1]) return fill(byId("compare-two"));
  const found = diff(lines[0].completion, lines[1].completion);
  setText(byId("compare-same"), `${percent(found.same)} of the words are the same; the others are marked.`);
  fill(byId("compare-two"), sideOf(0, found.left), sideOf(1, found.right), scores(lines));
};

const load = async () => {
  const params = new URLSearchParams({ id: chosen.question });
  if (chosen.phase) params.set("phase", chosen.phase);
  if (chosen.step !== null) params.set("step", chosen.step);
  setText(byId("compare-problem"), "");
  try {
    ({ arms } = await get(`/api/answers?${params}`));
  } catch (problem) {
    arms = [];
    setText(byId("compare-problem"), problem.message);
  }
  const asked = arms.filter(({ completions }) => completions.length);
  const [line] = asked.flatMap(({ completions }) => completions);
  setText(byId("compare-question"), line?.question ?? chosen.question);
  fill(byId("compare-choices"), (line?.choices ?? []).map((text) => h("li", { class: text === line.answer_gold ? "gold" : null }, text, text === line.answer_gold && h("small", {}, " correct"))));
  const ids = asked.map(idOf);
  if (!ids.includes(chosen.sides[0])) chosen.sides[0] = ids[0] ?? "";
  if (!ids.includes(chosen.sides[1])) chosen.sides[1] = ids.find((id) => id !== chosen.sides[0]) ?? chosen.sides[0];
  show();
};

/** Opens the comparison for the question of a completion of an arm. */
export const openCompare = ({ id, line }) => {
  Object.assign(chosen, { question: line.id, phase: line.phase, step: null, sides: [id, ""], index: [line.phase === "eval" ? line.index : 0, 0] });
  byId("compare-phase").value = chosen.phase;
  dialog().showModal();
  load();
  touched();
};

const write = (params) => {
  if (!dialog().open) return;
  put(params, "question", chosen.question);
  put(params, "asked", chosen.phase);
  params.set("sides", JSON.stringify(chosen.sides));
};

const read = (params) => {
  const question = params.get("question");
  if (!question) return dialog().open && dialog().close();
  let sides = ["", ""];
  try {
    sides = JSON.parse(params.get("sides") ?? "[]").map(String);
  } catch {
    // The link was cut: the first two arms are compared.
  }
  Object.assign(chosen, { question, phase: params.get("asked") ?? "", step: null, sides: [sides[0] ?? "", sides[1] ?? ""], index: [0, 0] });
  byId("compare-phase").value = chosen.phase;
  if (!dialog().open) dialog().showModal();
  load();
};

/** Moves one side to the next arm, for the keyboard. */
const move = (side, by) => {
  const ids = arms.filter(({ completions }) => completions.length).map(idOf);
  if (ids.length) set(side, ids[(ids.indexOf(chosen.sides[side]) + by + ids.length) % ids.length]);
};

export const startCompare = () => {
  linked(write, read);
  byId("compare-phase").addEventListener("change", (event) => {
    chosen.phase = event.target.value;
    load();
    touched();
  });
  dialog().addEventListener("close", touched);
  const actions = { "[": () => move(1, -1), "]": () => move(1, 1), "{": () => move(0, -1), "}": () => move(0, 1) };
  dialog().addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  });
};
