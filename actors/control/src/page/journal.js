// The journal: every change and command, newest first. Each is also a mark on the curves.

import { showCompletions } from "./completions.js";
import { showStep } from "./curves.js";
import { byId, clock, count, fill, h, onceAFrame } from "./dom.js";
import { changesIn, commandIn } from "./entries.js";
import { on } from "./signals.js";
import { idOf, label, store } from "./store.js";

const SHOWN = 200;

const item = (entry) => h("li", {},
  h("button", { type: "button", class: "link", title: "Show this step on the curves", on: { click: () => showStep(entry, entry.step) } }, `step ${count(entry.step)}`),
  h("button", { type: "button", class: "link", title: "Show the completions of this step", on: { click: () => showCompletions(idOf(entry), entry.step) } }, "completions"),
  h("span", { class: "who" }, `${label(entry)} · ${entry.by} · ${clock(entry.time)} · version ${entry.version}`),
  h("span", { class: "what" }, entry.action === "change" ? changesIn(entry).map((text) => h("span", {}, text)) : commandIn(entry)));

const render = onceAFrame(() => {
  const entries = [...store.journal].reverse();
  byId("no-journal").hidden = entries.length > 0;
  fill(byId("journal-list"), entries.slice(0, SHOWN).map(item));
  if (entries.length > SHOWN) byId("journal-list").append(h("li", { class: "none" }, `${count(entries.length - SHOWN)} earlier entries are in control.jsonl`));
});

export const startJournal = () => on("journal arms", render);
