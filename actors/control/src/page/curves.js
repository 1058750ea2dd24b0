// Which plots there are and what stands in them: a plot per metric with a line per arm, or, with one arm shown,
// a plot with a line per component. Toggles for arms, components and plots; smoothing; the stretch of steps.

import { armPath, get } from "./api.js";
import { byId, count, debounce, fill, h, setText } from "./dom.js";
import { describe } from "./journal.js";
import { Plot } from "./plot.js";
import { Track } from "./series.js";
import { emit, idOf, label, on, OVERVIEW, store } from "./store.js";
import { view } from "./view.js";

const share = (numerator, denominator) => (tally) => (tally[denominator] ? tally[numerator] / tally[denominator] : NaN);

/** Which plots stand together; the first group is shown at first. */
const GROUPS = {
  overview: ["Reward", "Accuracy", "Think rate", "Reward components", "Think rate by difficulty", "KL to the reference"],
  thinking: ["Think rate", "Think rate by difficulty", "Consistency", "Think quality", "Length"],
  components: ["Reward", "Reward components", "Well-formed", "Missing scores", "Groups without contrast"],
  optimizer: ["Loss", "KL to the reference", "Gradient norm", "Groups without contrast"],
  speed: ["Speed", "Time of a step", "Length"],
  all: null,
};

/** In this order. `of` reads the same quantity off an evaluation's tally; `many` is a family of fields. */
const PLOTS = [
  { field: "reward", title: "Reward", hint: "mean of the shaped reward over a step" },
  { field: "accuracy", title: "Accuracy", hint: "line: training · dots: held out", of: share("correct", "n") },
  { field: "think_rate", title: "Think rate", hint: "share of completions that think · dots: held out", of: share("think", "n") },
  { many: "think_rate_by_difficulty", title: "Think rate by difficulty", each: (name) => `Think rate, ${name}`, of: share("think", "n"), split: "by_difficulty" },
  { many: "components", title: "Reward components", each: (name) => name, hint: "mean score over a step" },
  { field: "consistency", title: "Consistency", hint: "judge, on completions that think", of: share("consistency_sum", "consistency_n") },
  { field: "think_quality", title: "Think quality", hint: "judge, on completions that think", of: share("think_quality_sum", "think_quality_n") },
  { field: "format_rate", title: "Well-formed", hint: "share of completions", of: share("well_formed", "n") },
  { field: "completion_tokens_mean", title: "Length", hint: "tokens per completion", of: share("completion_tokens", "n") },
  { field: "loss", title: "Loss", hint: "as minimised" },
  { field: "kl", title: "KL to the reference", hint: "per token" },
  { field: "grad_norm", title: "Gradient norm", hint: "before clipping" },
  { field: "frac_zero_std", title: "Groups without contrast", hint: "share whose rewards are all alike" },
  { many: "missing", title: "Missing scores", each: (name) => `Missing: ${name}`, hint: "scores that could not be had", nonzero: true },
  { field: "tokens_per_second", title: "Speed", hint: "completion tokens per second" },
  { field: "step_seconds", title: "Time of a step", hint: "seconds" },
];

const hidden = { arms: new Set(), parts: new Set() };
let group = "overview";
const plots = new Map();
const details = new Map();
/** Steps to smooth over; null while nobody has chosen, when it goes with the stretch shown. */
let chosenSpan = null;

const spanNow = () => chosenSpan ?? Math.max(1, Math.round((view.range[1] - view.range[0]) / 50));

/** The colour of an arm: the same everywhere on the page. */
export const colourOf = (arm) => {
  const names = [...new Set([...store.arms.values()].map((other) => other.arm))];
  // Grey is for a policy that is not trained at all.
  const first = [...store.arms.values()].some(({ method }) => method === "none") ? 0 : 3;
  return `c${(first + names.indexOf(arm.arm)) % 8}`;
};

const seedIndex = (arm) => [...store.arms.values()].filter((other) => other.arm === arm.arm).findIndex((other) => other.seed === arm.seed);
const shownArms = () => [...store.arms.values()].filter((arm) => !hidden.arms.has(arm.arm) && store.tracks.get(idOf(arm))?.length);
const trackOf = (arm) => (view.zoomed && details.get(idOf(arm))) || store.tracks.get(idOf(arm));
const fieldsOf = (plot) => {
  const prefix = `${plot.many}.`;
  const names = new Set();
  for (const track of store.tracks.values())
    for (const [name, values] of track.columns)
      if (name.startsWith(prefix) && (!plot.nonzero || values.some((value) => value > 0))) names.add(name.slice(prefix.length));
  return [...names].sort((a, b) => order(a) - order(b) || a.localeCompare(b));
};
const order = (name) => ["easy", "medium", "hard"].indexOf(name);

const trainLine = (arm, field, text, colour) => {
  const track = trackOf(arm);
  const values = track.columns.get(field);
  return values && { label: text, colour, dash: seedIndex(arm), steps: track.steps, values };
};

const evalLine = (arm, plot, part, text, colour) => {
  const lines = store.evals.get(idOf(arm)) ?? [];
  if (!plot.of || !lines.length) return null;
  const { suite } = lines[0];
  const read = lines
    .filter((line) => line.suite === suite)
    .map((line) => [line.step, part === null ? line.overall : line[plot.split]?.[part]])
    .filter(([, tally]) => tally)
    .map(([step, tally]) => [step, plot.of(tally)])
    .filter(([, value]) => !Number.isNaN(value));
  return read.length && { label: `${text}, held out`, colour, dash: 0, points: true, steps: read.map(([step]) => step), values: read.map(([, value]) => value) };
};

/** The plots to show now: `{ key, title, hint, lines() }`. */
const wantedPlots = () => {
  const arms = shownArms();
  const alone = new Set(arms.map((arm) => arm.arm)).size === 1;
  const has = (field) => arms.some((arm) => store.tracks.get(idOf(arm)).has(field));
  return PLOTS.flatMap((plot) => {
    if (!plot.many) {
      const lines = () => shownArms().flatMap((arm) => [trainLine(arm, plot.field, label(arm), colourOf(arm)), evalLine(arm, plot, null, label(arm), colourOf(arm))]);
      return has(plot.field) ? [{ key: plot.field, group: plot.title, title: plot.title, hint: plot.hint, lines }] : [];
    }
    const fields = fieldsOf(plot);
    const parts = fields.filter((name) => !hidden.parts.has(name) && has(`${plot.many}.${name}`));
    const line = (arm, name, text, colour) => [trainLine(arm, `${plot.many}.${name}`, text, colour), evalLine(arm, plot, name, text, colour)];
    if (!alone) {
      return parts.map((name) => ({
        key: `${plot.many}.${name}`, group: plot.title, title: plot.each(name), hint: plot.hint,
        lines: () => shownArms().flatMap((arm) => line(arm, name, label(arm), colourOf(arm))),
      }));
    }
    const lines = () => shownArms().flatMap((arm) => parts.flatMap((name) => line(arm, name, several(arm) ? `${name}, seed ${arm.seed}` : name, partColour(name, fields))));
    return parts.length ? [{ key: plot.many, group: plot.title, title: plot.title, hint: plot.hint, lines, parts: parts.map((name) => [name, partColour(name, fields)]) }] : [];
  });
};

const several = (arm) => shownArms().filter((other) => other.arm === arm.arm).length > 1;
const DIFFICULTY = { easy: "c2", medium: "c1", hard: "c6" };
const partColour = (name, all) => DIFFICULTY[name] ?? `c${(3 + all.indexOf(name)) % 8}`;

const marksOf = () => {
  const shown = new Set(shownArms().map(idOf));
  const by = new Map();
  for (const entry of store.journal) {
    if (!shown.has(idOf(entry)) || !["change", "pause", "resume", "stop"].includes(entry.action)) continue;
    const text = describe(entry);
    const key = `${entry.step} ${text}`;
    by.set(key, { step: entry.step, text, arms: [...(by.get(key)?.arms ?? []), label(entry)] });
  }
  return [...by.values()].map(({ step, text, arms }) => ({ step, text: shown.size > 1 ? `${arms.length === shown.size ? "all shown" : arms.join(", ")}: ${text}` : text }));
};

const layOut = () => {
  const wanted = wantedPlots();
  for (const { key, title, hint, lines, parts } of wanted) {
    let plot = plots.get(key);
    if (!plot || plot.title !== title) plots.set(key, (plot = new Plot(title, hint, null)));
    plot.source = () => ({ lines: lines().filter(Boolean), marks: marksOf(), span: spanNow() });
    plot.figure.querySelector(".keys")?.remove();
    if (parts) plot.figure.querySelector("figcaption").append(h("span", { class: "keys" }, parts.map(([name, colour]) => h("span", {}, h("i", { class: `swatch ${colour}` }), name))));
  }
  const inGroup = wanted.filter((plot) => GROUPS[group]?.includes(plot.group) ?? true);
  const shown = inGroup.map(({ key }) => plots.get(key).figure);
  const grid = byId("plots");
  if (grid.children.length !== shown.length || shown.some((figure, at) => grid.children[at] !== figure)) grid.replaceChildren(...shown);
  byId("no-curves").hidden = shown.length > 0;
  legend();
  byId("component-toggles").hidden = !inGroup.some((plot) => plot.group === "Reward components");
  redraw();
};

const toggle = (text, set, name, swatch) =>
  h("label", {}, h("input", {
    type: "checkbox", checked: !set.has(name),
    on: { change: (event) => {
      if (event.target.checked) set.delete(name);
      else set.add(name);
      layOut();
    } },
  }), swatch && h("i", { class: `swatch ${swatch}` }), text);

let legendKey = "";
const legend = () => {
  const arms = [...new Map([...store.arms.values()].map((arm) => [arm.arm, arm])).values()];
  const components = fieldsOf(PLOTS.find((plot) => plot.many === "components"));
  const key = JSON.stringify([arms.map(({ arm }) => arm), components]);
  if (key === legendKey) return;
  legendKey = key;
  fill(byId("arm-toggles"), arms.map((arm) => toggle(arm.arm, hidden.arms, arm.arm, colourOf(arm))));
  fill(byId("component-toggles"), components.map((name) => toggle(name, hidden.parts, name)));
};

const redraw = () => {
  const spans = [...store.tracks.values()].filter((track) => track.length);
  const first = Math.min(...spans.map((track) => track.steps[0]), 1);
  const last = Math.max(...spans.map((track) => track.last), 2);
  view.setExtent(first, last);
  for (const plot of plots.values()) plot.redraw();
  const [from, to] = view.range;
  const span = spanNow();
  setText(byId("smoothing-value"), span <= 1 ? "off" : `${count(span)} steps`);
  if (chosenSpan === null) byId("smoothing").value = Math.log10(span);
  setText(byId("range"), `steps ${count(from)}–${count(to)}`);
  for (const button of document.querySelectorAll("[data-last]")) {
    const pressed = button.dataset.last === "0" ? !view.wanted : view.wanted?.last === Number(button.dataset.last);
    button.setAttribute("aria-pressed", pressed);
  }
};

/** Fetches the steps that the overview left out of the stretch shown. */
const loadDetails = debounce(200, async () => {
  if (!view.zoomed) return;
  const [from, to] = view.range.map(Math.round);
  const thinned = shownArms().filter((arm) => store.tracks.get(idOf(arm)).stride > 1);
  for (const arm of thinned) {
    const table = await get(armPath(arm, `/metrics?from=${Math.max(0, from)}&to=${to}&max_points=${OVERVIEW}`)).catch(() => null);
    if (!table || !view.zoomed) return;
    details.set(idOf(arm), Track.from(table));
    redraw();
  }
});

let known = "";
const onMetrics = (id) => {
  const track = store.tracks.get(id);
  const key = `${store.tracks.size} ${[...store.tracks.values()].map((one) => `${one.columns.size}${one.length > 0}`)}`;
  if (key === known) redraw();
  else {
    known = key;
    layOut();
  }
  // A stretch that stays where it is gets new steps only at its end.
  if (view.zoomed && details.has(id) && track.last <= view.range[1]) loadDetails();
};

export const startCurves = () => {
  on("metrics", onMetrics);
  on("evals journal", () => layOut());
  on("view", () => {
    details.clear();
    redraw();
    loadDetails();
  });
  on("theme", redraw);
  on("cursor", () => {
    for (const plot of plots.values()) plot.drawCursor();
  });
  byId("smoothing").addEventListener("input", (event) => {
    chosenSpan = Math.round(10 ** Number(event.target.value));
    redraw();
  });
  for (const button of document.querySelectorAll("[data-last]"))
    button.addEventListener("click", () => (button.dataset.last === "0" ? view.all() : view.last(Number(button.dataset.last))));
  fill(byId("plot-groups"), Object.keys(GROUPS).map((name) => h("button", {
    type: "button", "aria-pressed": String(name === group),
    on: { click: (event) => {
      group = name;
      for (const button of byId("plot-groups").children) button.setAttribute("aria-pressed", button === event.target);
      layOut();
    } },
  }, name)));
  byId("zoom-in").addEventListener("click", () => view.zoom(0.6));
  byId("zoom-out").addEventListener("click", () => view.zoom(1 / 0.6));
  byId("earlier").addEventListener("click", () => view.pan(-0.25));
  byId("later").addEventListener("click", () => view.pan(0.25));
};

/** Brings a step into the middle of the plots, and the plots into sight. */
export const showStep = (step) => {
  view.show(step - 100, step + 100);
  view.setCursor(step);
  byId("curves").scrollIntoView();
  emit("cursor");
};
