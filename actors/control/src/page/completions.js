// The completions, one page at a time; the server filters and sorts them.

import { armPath, get } from "./api.js";
import { breakdown, stopRemovedClip } from "./breakdown.js";
import { byId, count, debounce, exact, fill, h, number, plural, setText } from "./dom.js";
import { on } from "./signals.js";
import { firstArm, idOf, label, store } from "./store.js";

const PAGE = 50;
const query = { offset: 0, sort: "", order: "desc" };
const open = new Set();
let controller = new AbortController();
let components = [];
let latest = null;
// The rows on the page by their line, to keep those whose line is still the same: what is open or selected in them stays so.
let drawn = new Map();

const field = (name) => byId(`rollouts-${name}`);
const arm = () => store.arms.get(field("arm").value) ?? firstArm();
const keyOf = (line) => `${line.phase} ${line.step} ${line.group} ${line.index}`;

const COLUMNS = [
  { title: "step", key: "", hint: "newest first" },
  { title: "question" },
  { title: "answer" },
  { title: "mode" },
  { title: "reward", key: "reward" },
  { title: "advantage", key: "advantage" },
];

const sortButton = ({ title, key }) => {
  const active = query.sort === key;
  return h("th", { scope: "col", class: "num", "aria-sort": active ? (query.order === "desc" ? "descending" : "ascending") : "none" },
    h("button", { type: "button", on: { click: () => {
      query.order = active && query.order === "desc" ? "asc" : "desc";
      query.sort = key;
      query.offset = 0;
      load();
    } } }, title, active ? (query.order === "desc" ? " ↓" : " ↑") : ""));
};

const head = () => fill(byId("rollouts-head"), h("tr", {},
  h("th", {}, h("span", { class: "hidden" }, "open")),
  [...COLUMNS, ...components.map((name) => ({ title: name, key: `components.${name}` })), { title: "tokens", key: "tokens" }]
    .map((column) => (column.key === undefined ? h("th", { scope: "col" }, column.title) : sortButton(column)))));

const bodyRows = (line) => {
  const key = keyOf(line);
  const detail = h("tr", { class: "detail", hidden: !open.has(key) });
  const show = () => {
    if (detail.hidden || detail.childElementCount) return;
    detail.append(h("td", { colspan: 8 + components.length }, breakdown(line)));
  };
  const button = h("button", {
    type: "button", class: "fold", "aria-expanded": !detail.hidden, "aria-label": `Completion to ${line.id}, step ${line.step}`,
    on: { click: () => {
      detail.hidden = !detail.hidden;
      if (detail.hidden) open.delete(key);
      else open.add(key);
      button.setAttribute("aria-expanded", !detail.hidden);
      show();
    } },
  }, "▸");
  show();
  const cell = (value) => h("td", { class: "num", title: value === null || value === undefined ? "no score" : exact(value) }, number(value));
  const row = h("tr", { on: { click: (event) => !event.target.closest("button, a, input, audio") && !getSelection().toString() && button.click() } },
    h("td", {}, button),
    h("td", { class: "num" }, line.phase === "eval" ? h("span", { class: "chip" }, `eval ${count(line.step)}`) : count(line.step)),
    h("td", { class: "wide" }, line.question, line.difficulty && h("span", { class: "none" }, ` ${line.difficulty}`)),
    h("td", { class: "wide" }, h("b", { class: line.correct ? "good" : "bad" }, line.correct ? "✓ " : "✗ "), line.answer ?? "no answer"),
    h("td", {}, h("span", { class: line.well_formed ? "chip" : "chip bad" }, line.well_formed ? line.mode.replace("_", "-") : "malformed")),
    cell(line.reward), cell(line.advantage), components.map((name) => cell(line.components[name])), h("td", { class: "num" }, count(line.tokens), line.truncated && h("span", { class: "bad", title: "truncated" }, " ✂")));
  return [row, detail];
};

const render = (answer) => {
  const { rollouts, total } = answer;
  const found = [...new Set(rollouts.flatMap((line) => Object.keys(line.components)))].sort();
  if (found.length || !rollouts.length) components = found.length ? found : components;
  head();
  const before = drawn;
  drawn = new Map(rollouts.map((line) => [JSON.stringify([components, line]), line]));
  for (const [text, line] of drawn) drawn.set(text, before.get(text) ?? bodyRows(line));
  fill(byId("rollouts-body"), ...drawn.values());
  const last = Math.min(query.offset + rollouts.length, total);
  setText(byId("rollouts-count"), total ? `${count(query.offset + 1)}–${count(last)} of ${plural(total, "completion")}` : "No completion matches.");
  byId("rollouts-newer").disabled = query.offset === 0;
  byId("rollouts-older").disabled = last >= total;
};

const load = async () => {
  const one = arm();
  if (!one) return;
  controller.abort();
  controller = new AbortController();
  const params = new URLSearchParams({ offset: query.offset, limit: PAGE, order: query.order });
  if (query.sort) params.set("sort", query.sort);
  for (const name of ["phase", "step", "q"]) if (field(name).value.trim()) params.set(name, field(name).value.trim());
  byId("rollouts").setAttribute("aria-busy", true);
  try {
    const answer = await get(armPath(one, `/rollouts?${params}`), controller.signal);
    const key = JSON.stringify([idOf(one), answer]);
    if (key !== latest) {
      latest = key;
      render(answer);
      stopRemovedClip();
    }
    setText(byId("rollouts-problem"), "");
  } catch (problem) {
    if (problem.name === "AbortError") return;
    setText(byId("rollouts-problem"), problem.message);
  }
  byId("rollouts").setAttribute("aria-busy", false);
};

const loadFirst = () => {
  query.offset = 0;
  open.clear();
  drawn.clear();
  load();
};

const fillArms = () => {
  const select = field("arm");
  const arms = [...store.arms.values()];
  if (arms.length === select.options.length) return;
  const before = select.value || (arm() && idOf(arm()));
  fill(select, arms.map((one) => h("option", { value: idOf(one) }, label(one))));
  select.value = before;
  load();
};

/** Shows the completions of a step of an arm. */
export const showCompletions = (id, step) => {
  field("arm").value = id;
  field("step").value = step;
  loadFirst();
  byId("completions").scrollIntoView();
};

export const startCompletions = () => {
  for (const name of ["arm", "phase"]) field(name).addEventListener("change", loadFirst);
  for (const name of ["step", "q"]) field(name).addEventListener("input", debounce(300, loadFirst));
  byId("rollouts-newer").addEventListener("click", () => {
    query.offset = Math.max(0, query.offset - PAGE);
    load();
  });
  byId("rollouts-older").addEventListener("click", () => {
    query.offset += PAGE;
    load();
  });
  byId("rollouts-reload").addEventListener("click", load);
  byId("rollouts-form").addEventListener("submit", (event) => {
    event.preventDefault();
    loadFirst();
  });
  on("arms", fillArms);
  // The first page follows the run, unless a completion is open.
  let due = 0;
  on("metrics", (id) => {
    const one = arm();
    if (!one || id !== idOf(one) || !byId("rollouts-follow").checked || open.size || query.offset || document.hidden) return;
    if (byId("completions").getBoundingClientRect().top > innerHeight || performance.now() < due) return;
    due = performance.now() + 1500;
    load();
  });
};
