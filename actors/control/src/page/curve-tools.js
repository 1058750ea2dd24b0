// The controls above the curves: arms, components, plots, the axis, seeds, smoothing, and the part of the axis that is shown.

import { AXES } from "./axis.js";
import { colourOf } from "./colours.js";
import { metricsShown } from "./curve-plots.js";
import { byId, fill, h, setText } from "./dom.js";
import { GROUPS } from "./plots.js";
import { choose, shown } from "./shown.js";
import { store } from "./store.js";
import { view } from "./view.js";

const toggle = (text, set, name, swatch) =>
  h("label", {}, h("input", {
    type: "checkbox", checked: !set.has(name),
    on: { change: (event) => {
      if (event.target.checked) set.delete(name);
      else set.add(name);
      choose({});
    } },
  }), swatch && h("i", { class: `swatch ${swatch}` }), text);

/** Buttons of which one is pressed. */
const segments = (id, words, action) =>
  fill(byId(id), Object.entries(words).map(([value, text]) => h("button", { type: "button", "data-value": value, on: { click: () => action(value) } }, text)));

const press = (id, value) => {
  for (const button of byId(id).children) button.setAttribute("aria-pressed", String(button.dataset.value === value));
};

/** Fills a list if its entries have changed: `[value, text]`. */
const list = (id, entries, value) => {
  const select = byId(id);
  const key = JSON.stringify(entries);
  if (select.dataset.entries !== key) {
    select.dataset.entries = key;
    fill(select, entries.map(([value, text]) => h("option", { value }, text)));
  }
  select.value = value;
};

let legendKey = "";
const legend = (components) => {
  const arms = [...new Map([...store.arms.values()].map((arm) => [arm.arm, arm])).values()];
  const key = JSON.stringify([arms.map(({ arm }) => arm), components, [...shown.arms], [...shown.parts]]);
  if (key === legendKey) return;
  legendKey = key;
  fill(byId("arm-toggles"), arms.map((arm) => toggle(arm.arm, shown.arms, arm.arm, colourOf(arm))));
  fill(byId("component-toggles"), components.map((name) => toggle(name, shown.parts, name)));
};

/** Shows what is chosen; `withComponents` says whether their toggles have an effect. */
export const showTools = (components, withComponents) => {
  const focused = document.activeElement?.closest("#arm-toggles, #component-toggles");
  const at = focused && [...focused.querySelectorAll("input")].indexOf(document.activeElement);
  legend(components);
  // A legend that was made anew keeps the focus.
  if (focused && !focused.contains(document.activeElement)) focused.querySelectorAll("input")[at]?.focus();
  byId("component-toggles").hidden = !withComponents;
  for (const [id, value] of [["axes", view.axis], ["layouts", shown.layout], ["seeds", shown.seeds], ["plot-groups", shown.group]]) press(id, value);
  byId("plot-groups").hidden = shown.layout === "arm";
  byId("arm-plots").hidden = shown.layout === "metric";
  const names = [...new Set([...store.arms.values()].map(({ arm }) => arm))];
  byId("seeds").hidden = names.length === store.arms.size;
  list("metric", metricsShown(), shown.metric);
  list("against", [["", "nothing"], ...names.map((name) => [name, name])], shown.against);
  byId("smoothing").value = shown.smoothing;
  setText(byId("smoothing-value"), shown.smoothing ? `${shown.smoothing} %` : "off");
  byId("newest-steps").hidden = view.axis !== "step";
  const { noun, text } = AXES[view.axis];
  setText(byId("range"), `${view.axis === "step" ? "steps" : noun} ${text(view.range[0])}–${text(view.range[1])}`);
  for (const button of document.querySelectorAll("[data-last]")) {
    const pressed = button.dataset.last === "0" ? !view.choice : view.choice?.last === Number(button.dataset.last);
    button.setAttribute("aria-pressed", pressed);
  }
};

/** The next axis, for the keyboard. */
export const nextAxis = () => {
  const names = Object.keys(AXES);
  view.setAxis(names[(names.indexOf(view.axis) + 1) % names.length]);
};

export const startTools = () => {
  segments("axes", Object.fromEntries(Object.entries(AXES).map(([name, { button }]) => [name, button])), view.setAxis);
  segments("layouts", { metric: "a plot per metric", arm: "a plot per arm" }, (layout) => choose({ layout }));
  segments("seeds", { together: "mean of seeds", apart: "each seed" }, (seeds) => choose({ seeds }));
  segments("plot-groups", Object.fromEntries(Object.keys(GROUPS).map((name) => [name, name])), (group) => choose({ group }));
  byId("metric").addEventListener("change", (event) => choose({ metric: event.target.value }));
  byId("against").addEventListener("change", (event) => choose({ against: event.target.value }));
  byId("smoothing").addEventListener("input", (event) => choose({ smoothing: Number(event.target.value) }));
  for (const button of document.querySelectorAll("[data-last]"))
    button.addEventListener("click", () => (button.dataset.last === "0" ? view.all() : view.last(Number(button.dataset.last))));
  byId("zoom-in").addEventListener("click", () => view.zoom(0.6));
  byId("zoom-out").addEventListener("click", () => view.zoom(1 / 0.6));
  byId("earlier").addEventListener("click", () => view.pan(-0.25));
  byId("later").addEventListener("click", () => view.pan(0.25));
};
