// The curves: a plot per metric with a line per arm, or, if only one arm is shown, a plot with a line per component. Above
// them are the controls for arms, components, plots, smoothing and the steps shown.

import { armPath, get } from "./api.js";
import { colourOf, partColour } from "./colours.js";
import { byId, count, debounce, fill, h, setText } from "./dom.js";
import { describe } from "./entries.js";
import { Plot } from "./plot.js";
import { GROUPS, PLOTS } from "./plots.js";
import { Track } from "./series.js";
import { emit, on } from "./signals.js";
import { idOf, label, store } from "./store.js";
import { OVERVIEW } from "./sync.js";
import { view } from "./view.js";

const hidden = { arms: new Set(), parts: new Set() };
let group = "overview";
const plots = new Map();
const details = new Map();
/** Steps to smooth over; null until the slider is moved, which means a fraction of the steps shown. */
let chosenSpan = null;

const smoothingSpan = () => chosenSpan ?? Math.max(1, Math.round((view.range[1] - view.range[0]) / 50));

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

/** The plots that have values: `{ key, group, title, hint, lines() }`. */
const currentPlots = () => {
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
const marksOf = () => {
  const shown = new Set(shownArms().map(idOf));
  const by = new Map();
  for (const entry of store.journal) {
    if (!shown.has(idOf(entry)) || !["change", "pause", "resume", "stop", "fork"].includes(entry.action)) continue;
    const text = describe(entry);
    const key = `${entry.step} ${text}`;
    by.set(key, { step: entry.step, text, arms: [...(by.get(key)?.arms ?? []), label(entry)] });
  }
  return [...by.values()].map(({ step, text, arms }) => ({ step, text: shown.size > 1 ? `${arms.length === shown.size ? "all shown" : arms.join(", ")}: ${text}` : text }));
};

const layOut = () => {
  const current = currentPlots();
  for (const { key, title, hint, lines, parts } of current) {
    let plot = plots.get(key);
    if (!plot || plot.title !== title) plots.set(key, (plot = new Plot(title, hint, null)));
    plot.source = () => ({ lines: lines().filter(Boolean), marks: marksOf(), span: smoothingSpan() });
    plot.figure.querySelector(".keys")?.remove();
    if (parts) plot.figure.querySelector("figcaption").append(h("span", { class: "keys" }, parts.map(([name, colour]) => h("span", {}, h("i", { class: `swatch ${colour}` }), name))));
  }
  const inGroup = current.filter((plot) => GROUPS[group]?.includes(plot.group) ?? true);
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
  const span = smoothingSpan();
  setText(byId("smoothing-value"), span <= 1 ? "off" : `${count(span)} steps`);
  if (chosenSpan === null) byId("smoothing").value = Math.log10(span);
  setText(byId("range"), `steps ${count(from)}–${count(to)}`);
  for (const button of document.querySelectorAll("[data-last]")) {
    const pressed = button.dataset.last === "0" ? !view.choice : view.choice?.last === Number(button.dataset.last);
    button.setAttribute("aria-pressed", pressed);
  }
};

/** Loads the steps shown that the thinned overview leaves out. */
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

let columns = "";
const onMetrics = (id) => {
  const track = store.tracks.get(id);
  const key = `${store.tracks.size} ${[...store.tracks.values()].map((one) => `${one.columns.size}${one.length > 0}`)}`;
  if (key === columns) redraw();
  else {
    columns = key;
    layOut();
  }
  // A fixed range gets new steps only at its end.
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

/** Scrolls to the plots and shows a step in their middle. */
export const showStep = (step) => {
  view.show(step - 100, step + 100);
  view.setCursor(step);
  byId("curves").scrollIntoView();
  emit("cursor");
};
