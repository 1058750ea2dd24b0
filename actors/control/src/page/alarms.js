// The alarms: which went off, at which step and why, and how all of them stand. The panel is there once the run has alarms.

import { get } from "./api.js";
import { showCompletions } from "./completions.js";
import { showStep } from "./curves.js";
import { announce, byId, count, debounce, fill, h, number, onceAFrame, plural } from "./dom.js";
import { on } from "./signals.js";
import { idOf, label, store } from "./store.js";

const SHOWN = 100;

/** Numbers by their names in a condition, in one line. */
const numbers = (values) => Object.entries(values ?? {}).map(([name, value]) => `${name} = ${number(value)}`).join(", ");

const firings = () => store.journal.filter((entry) => entry.action === "alarm" && entry.alarm);

/** What the journal has of an alarm that went off besides the evidence: a pause, a change, a checkpoint. */
const deeds = ({ alarm, arm, seed }) => store.journal
  .filter((entry) => entry.action !== "alarm" && entry.alarm?.name === alarm.name && entry.alarm.step === alarm.step && entry.arm === arm && entry.seed === seed)
  .map((entry) => entry.action);

const item = (entry) => {
  const { alarm } = entry;
  const done = deeds(entry);
  return h("li", {},
    h("button", { type: "button", class: "link", title: "Show this step on the curves", on: { click: () => showStep(entry, alarm.step) } }, `step ${count(alarm.step)}`),
    h("button", { type: "button", class: "link", title: "Show the completions of this step", on: { click: () => showCompletions(idOf(entry), alarm.step) } }, "completions"),
    h("span", { class: "who" }, `${alarm.name} · ${label(entry)}`),
    h("span", { class: "what" },
      h("span", {}, `${alarm.when}: ${numbers(alarm.values)}, for ${plural(alarm.streak, "step")}`),
      alarm.message ? h("span", {}, alarm.message) : null,
      done.length ? h("span", {}, `it did: ${done.join(", ")}`) : null));
};

const row = (arm, alarm) => h("tr", {},
  h("td", {}, label(arm)), h("td", {}, alarm.name), h("td", {}, `${count(alarm.streak)} of ${count(alarm.steps)}`),
  h("td", {}, count(alarm.firings.length)), h("td", {}, numbers(alarm.values)), h("td", {}, alarm.when));

const standing = () => byId("alarms-standing");

/** Loads how all alarms stand, while that is shown. */
const load = debounce(400, async () => {
  if (!standing()?.open || store.connection !== "live") return;
  try {
    const { arms } = await get("/api/alarms");
    const heads = ["arm", "alarm", "streak", "fired", "now", "when"].map((head) => h("th", { scope: "col" }, head));
    const rows = arms.flatMap((arm) => arm.alarms.map((alarm) => row(arm, alarm)));
    fill(byId("alarms-table"), h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows));
  } catch {
    // The connection shows that the run does not answer.
  }
});

const mount = () => {
  const panel = h("section", { id: "alarms", "aria-labelledby": "alarms-title", hidden: true },
    h("h2", { id: "alarms-title", tabindex: "-1" }, "Alarms"),
    h("ol", { id: "alarms-list", class: "entries" }),
    h("details", { id: "alarms-standing", on: { toggle: load } },
      h("summary", {}, "How all alarms stand"),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "How all alarms stand" }, h("table", { id: "alarms-table" }))));
  byId("journal").before(panel);
};

let shown = 0;

const render = onceAFrame(() => {
  const all = firings().reverse();
  byId("alarms").hidden = all.length === 0;
  fill(byId("alarms-list"), all.slice(0, SHOWN).map(item));
  if (all.length > shown && shown > 0) announce(`the alarm ${all[0].alarm.name} went off at step ${all[0].alarm.step}`);
  shown = all.length;
  load();
});

export const startAlarms = () => {
  mount();
  on("journal arms", render);
  on("metrics", load);
};
