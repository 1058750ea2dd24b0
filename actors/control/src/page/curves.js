// The curves: loads them, lays out their plots, and keeps both up to date as arms take steps.

import { byId, debounce, h } from "./dom.js";
import { partsOf, plotsShown, wantedCurves } from "./curve-plots.js";
import { showTools, startTools } from "./curve-tools.js";
import { curves, loadCurves, placeOf, stepAt } from "./lines.js";
import { looking } from "./place.js";
import { Plot } from "./plot.js";
import { PLOTS } from "./plots.js";
import { shown, startShown } from "./shown.js";
import { emit, on } from "./signals.js";
import { firstArm, idOf, store } from "./store.js";
import { view } from "./view.js";

/** The shortest time between two updates, in ms. An update that took long is followed by a longer pause. */
const PAUSE = 1000;

const plots = new Map();

/** Lays out the plots; `follows` says that only newer points may have come. */
const layOut = (follows = false) => {
  view.setExtent(0, curves.to);
  const current = plotsShown();
  for (const { key, title, hint, source, parts, arm } of current) {
    let plot = plots.get(key);
    if (!plot || plot.title !== title || plot.hint !== hint) plots.set(key, (plot = Object.assign(new Plot(title, hint, null), { hint })));
    plot.source = source;
    plot.arm = arm ?? null;
    const names = JSON.stringify(parts ?? []);
    if (plot.parts === names) continue;
    plot.parts = names;
    plot.figure.querySelector(".keys")?.remove();
    if (parts) plot.figure.querySelector("figcaption").append(h("span", { class: "keys" }, parts.map(([name, colour]) => h("span", {}, h("i", { class: `swatch ${colour}` }), name))));
  }
  const keys = new Set(current.map(({ key }) => key));
  for (const key of plots.keys()) if (!keys.has(key)) plots.delete(key);
  const figures = current.map(({ key }) => plots.get(key).figure);
  const grid = byId("plots");
  grid.classList.toggle("small", shown.layout === "arm");
  if (grid.children.length !== figures.length || figures.some((figure, at) => grid.children[at] !== figure)) grid.replaceChildren(...figures);
  byId("no-curves").hidden = figures.length > 0;
  const components = PLOTS.find((plot) => plot.many === "components");
  showTools(partsOf(components), shown.layout === "metric" && current.some(({ group }) => group === components.title));
  for (const plot of plots.values()) {
    if (follows) plot.follow();
    else plot.redraw();
  }
};

const redraw = () => {
  for (const plot of plots.values()) plot.redraw();
};

let due = 0;
let timer = 0;
/** Loads what is new and draws it, at most once in a while. */
const refresh = () => {
  if (timer) return;
  timer = setTimeout(async () => {
    timer = 0;
    if (document.hidden || store.connection === "ended") return;
    const began = performance.now();
    try {
      const whole = await loadCurves(wantedCurves());
      layOut(!whole);
      emit("latest");
    } catch {
      // The connection's banner says so; the next event tries again.
    }
    const took = performance.now() - began;
    performance.measure("curves", { start: began, end: began + took });
    due = performance.now() + Math.max(PAUSE, 3 * took);
  }, Math.max(0, due - performance.now()));
};

const now = () => {
  due = 0;
  clearTimeout(timer);
  timer = 0;
  refresh();
};

/** Loads the range that is shown in more points. */
const loadRange = debounce(200, now);

const startLoading = () => {
  on("metrics evals", refresh);
  on("connection lagged", () => store.connection === "live" && now());
  on("shown axis", () => {
    layOut();
    now();
  });
  let ranged = false;
  on("view", () => {
    layOut();
    if (view.choice || ranged) loadRange();
    ranged = Boolean(view.choice);
  });
  document.addEventListener("visibilitychange", () => !document.hidden && store.connection === "live" && refresh());
};

export const startCurves = () => {
  startShown();
  startTools();
  startLoading();
  on("journal bookmarks", debounce(50, () => layOut()));
  on("arms", debounce(50, () => layOut(true)));
  on("theme", redraw);
  on("cursor", () => {
    for (const plot of plots.values()) plot.drawCursor();
  });
  looking(() => {
    const plot = [...plots.values()].find(({ over }) => over === document.activeElement);
    if (!plot) return null;
    const arm = plot.arm ?? (store.scope && store.arms.get(store.scope)) ?? firstArm();
    if (!arm) return null;
    const step = view.cursor === null ? store.arms.get(idOf(arm))?.step : stepAt(arm, view.cursor, view.axis);
    return { id: idOf(arm), step: step ?? 0, line: null };
  });
};

/** Scrolls to the plots and shows a step of an arm in their middle. */
export const showStep = (arm, step) => {
  const at = placeOf(arm, step, view.axis);
  if (at !== null) {
    const reach = view.axis === "step" ? 100 : curves.to / 20;
    view.show(at - reach, at + reach);
    view.setCursor(at);
  }
  byId("curves").scrollIntoView();
};
