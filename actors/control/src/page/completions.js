// The completions, one page at a time; the server filters and sorts them.

import { armPath, get } from "./api.js";
import { bookmark, openNote } from "./bookmarks.js";
import { breakdown, stopRemovedClip } from "./breakdown.js";
import { openCompare } from "./compare.js";
import { announce, byId, count, debounce, exact, fill, h, number, plural, setText } from "./dom.js";
import { openFork } from "./fork.js";
import { linked, put, touched } from "./link.js";
import { looking } from "./place.js";
import { on } from "./signals.js";
import { firstArm, idOf, label, store } from "./store.js";
import { openWhatIf } from "./what-if.js";

const PAGE = 50;
const query = { offset: 0, sort: "", order: "desc" };
const open = new Set();
let controller = new AbortController();
let components = [];
let latest = null;
let shownLines = [];
// The rows on the page by their line, to keep those whose line is still the same: what is open or selected in them stays so.
let drawn = new Map();

const field = (name) => byId(`rollouts-${name}`);
const arm = () => store.arms.get(field("arm").value) ?? firstArm();
const keyOf = (line) => [line.phase, line.step, line.suite, line.control, line.group, line.index].filter((part) => part !== undefined && part !== null).join(" ");
const placeOf = (line) => ({ id: idOf(arm()), step: line.step, line });
const FIELDS = ["phase", "step", "filter", "q"];

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
      touched();
    } } }, title, active ? (query.order === "desc" ? " ↓" : " ↑") : ""));
};

const head = () => fill(byId("rollouts-head"), h("tr", {},
  h("th", {}, h("span", { class: "hidden" }, "open")),
  [...COLUMNS, ...components.map((name) => ({ title: name, key: `components.${name}` })), { title: "tokens", key: "tokens" }]
    .map((column) => (column.key === undefined ? h("th", { scope: "col" }, column.title) : sortButton(column)))));

/** What can be done from a completion. */
const actions = (line) => {
  const button = (text, action) => h("button", { type: "button", on: { click: () => action(placeOf(line)) } }, text);
  const trained = line.phase === "train";
  return h("div", { class: "row actions" },
    button("Compare arms…", openCompare), button("Bookmark", bookmark), button("Note…", openNote),
    trained && button("What if…", openWhatIf), trained && button("⑂ Fork…", openFork));
};

const bodyRows = (line) => {
  const key = keyOf(line);
  const detail = h("tr", { class: "detail", "data-key": key, hidden: !open.has(key) });
  const show = () => {
    if (detail.hidden || detail.childElementCount) return;
    detail.append(h("td", { colspan: 8 + components.length }, actions(line), breakdown(line)));
  };
  const button = h("button", {
    type: "button", class: "fold", "aria-expanded": !detail.hidden, "aria-label": `Completion to ${line.id}, step ${line.step}`,
    on: { click: () => {
      detail.hidden = !detail.hidden;
      if (detail.hidden) open.delete(key);
      else open.add(key);
      button.setAttribute("aria-expanded", !detail.hidden);
      show();
      touched();
    } },
  }, "▸");
  show();
  const cell = (value) => h("td", { class: "num", title: value === null || value === undefined ? "no score" : exact(value) }, number(value));
  const row = h("tr", { "data-key": key, on: { click: (event) => !event.target.closest("button, a, input, audio") && !getSelection().toString() && button.click() } },
    h("td", {}, button),
    h("td", { class: "num" }, line.phase === "eval" ? h("span", { class: "chip" }, `eval ${count(line.step)}`) : count(line.step)),
    h("td", { class: "wide" }, line.question, line.difficulty && h("span", { class: "none" }, ` ${line.difficulty}`)),
    h("td", { class: "wide" }, h("b", { class: line.correct ? "good" : "bad" }, line.correct ? "✓ " : "✗ "), line.answer ?? "no answer"),
    h("td", {}, h("span", { class: line.well_formed ? "chip" : "chip bad" }, line.well_formed ? line.mode.replace("_", "-") : "malformed")),
    cell(line.reward), cell(line.advantage), components.map((name) => cell(line.components[name])), h("td", { class: "num" }, count(line.tokens), line.truncated && h("span", { class: "bad", title: "truncated" }, " ✂")));
  return [row, detail];
};

const foldOf = (key) => byId("rollouts-body").querySelector(`tr[data-key="${CSS.escape(key)}"] .fold`);

const render = (answer) => {
  const { rollouts, total } = answer;
  shownLines = rollouts;
  const found = [...new Set(rollouts.flatMap((line) => Object.keys(line.components)))].sort();
  if (found.length || !rollouts.length) components = found.length ? found : components;
  head();
  const before = drawn;
  const focused = document.activeElement?.closest("#rollouts-body tr")?.dataset.key;
  drawn = new Map(rollouts.map((line) => [JSON.stringify([components, line]), line]));
  for (const [text, line] of drawn) drawn.set(text, before.get(text) ?? bodyRows(line));
  fill(byId("rollouts-body"), ...drawn.values());
  // A row that stays keeps the focus, from where the keyboard goes on.
  if (focused && !byId("rollouts-body").contains(document.activeElement)) foldOf(focused)?.focus({ preventScroll: true });
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
  for (const name of FIELDS) if (field(name).value.trim()) params.set(name, field(name).value.trim());
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
  touched();
  return load();
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

/** Moves the focus to another completion, for the keyboard. */
export const moveCompletion = (by) => {
  const folds = [...byId("rollouts-body").querySelectorAll(".fold")];
  const row = document.activeElement?.closest("#rollouts-body tr");
  const at = folds.findIndex((fold) => fold.closest("tr").dataset.key === row?.dataset.key);
  const next = folds[at < 0 ? 0 : Math.min(Math.max(at + by, 0), folds.length - 1)];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
};

/** Shows the completions of the next arm, at the same step, with the same filter. */
export const moveArm = (by) => {
  const { options, selectedIndex } = field("arm");
  if (!options.length) return;
  field("arm").selectedIndex = (selectedIndex + by + options.length) % options.length;
  announce(`Completions of ${field("arm").selectedOptions[0].textContent}`);
  loadFirst();
};

/** Shows the completions of another step; from any step, those of the newest. */
export const moveStep = (by) => {
  const chosen = field("step").valueAsNumber;
  const step = Number.isNaN(chosen) ? (arm()?.step ?? 0) : Math.max(0, chosen + by);
  field("step").value = step;
  announce(`Completions of step ${count(step)}`);
  loadFirst();
};

const write = (params) => {
  const selected = field("arm").value;
  if (selected && (!firstArm() || selected !== idOf(firstArm()))) params.set("arm", selected);
  for (const name of FIELDS) put(params, name, field(name).value.trim());
  put(params, "sort", query.sort);
  put(params, "order", query.order, "desc");
  put(params, "offset", query.offset, 0);
  const [first] = open;
  if (first) params.set("open", first);
};

const read = (params) => {
  if (store.arms.has(params.get("arm"))) field("arm").value = params.get("arm");
  for (const name of FIELDS) field(name).value = params.get(name) ?? "";
  Object.assign(query, { sort: params.get("sort") ?? "", order: params.get("order") === "asc" ? "asc" : "desc", offset: Math.max(0, Number(params.get("offset")) || 0) });
  open.clear();
  drawn.clear();
  if (params.has("open")) open.add(params.get("open"));
  latest = null;
  load().then(() => params.has("open") && foldOf(params.get("open"))?.scrollIntoView({ block: "center" }));
};

/** Shows the completions of a step of an arm. */
export const showCompletions = (id, step) => {
  field("arm").value = id;
  field("step").value = step;
  loadFirst();
  byId("completions").scrollIntoView();
};

export const startCompletions = () => {
  linked(write, read);
  looking(() => {
    const key = document.activeElement?.closest("#rollouts-body tr")?.dataset.key;
    const line = key && shownLines.find((line) => keyOf(line) === key);
    return line ? placeOf(line) : null;
  });
  for (const name of ["arm", "phase", "filter"]) field(name).addEventListener("change", loadFirst);
  for (const name of ["step", "q"]) field(name).addEventListener("input", debounce(300, loadFirst));
  byId("rollouts-newer").addEventListener("click", () => {
    query.offset = Math.max(0, query.offset - PAGE);
    load();
    touched();
  });
  byId("rollouts-older").addEventListener("click", () => {
    query.offset += PAGE;
    load();
    touched();
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
