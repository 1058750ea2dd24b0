// Every change made while the run went on, newest first; each also stands as a mark on the curves.

import { showCompletions } from "./completions.js";
import { showStep } from "./curves.js";
import { byId, clock, count, exact, fill, h, onceAFrame } from "./dom.js";
import { idOf, label, on, store } from "./store.js";

const spec = (reward) => (reward === null || reward === undefined ? "none" : reward.kind ?? "?");

/** What a change did, as parts of a sentence. */
const parts = (entry) => {
  const { change, from } = entry;
  const said = [];
  for (const [name, value] of Object.entries(change?.weights ?? {})) said.push(`weight ${name} ${exact(from?.weights?.[name])} → ${exact(value)}`);
  for (const [name, reward] of Object.entries(change?.rewards ?? {})) {
    const before = from?.rewards?.[name];
    if (reward === null) said.push(`reward ${name} removed`);
    else if (before === null || before === undefined) said.push(`reward ${name} added (${spec(reward)})`);
    else said.push(`reward ${name} swapped: ${spec(before)} → ${spec(reward)}`);
  }
  if (change?.formula) said.push(`formula ${change.formula}`);
  return said;
};

const WORDS = { pause: "paused", resume: "resumed", step: "steps taken by hand", checkpoint: "checkpoint written", stop: "stopped" };

/** A journal entry in one line, without arm and step. */
export const describe = (entry) => {
  const said = entry.action === "change" ? parts(entry).join("; ") : (WORDS[entry.action] ?? entry.action);
  return `${said}${entry.note ? `: ${entry.note}` : ""} (${entry.by})`;
};

const SHOWN = 200;

const render = onceAFrame(() => {
  const entries = [...store.journal].reverse();
  byId("no-journal").hidden = entries.length > 0;
  fill(byId("journal-list"), entries.slice(0, SHOWN).map((entry) =>
    h("li", {},
      h("button", { type: "button", class: "link", title: "Show on the curves", on: { click: () => showStep(entry.step) } }, `step ${count(entry.step)}`),
      h("button", { type: "button", class: "link", title: "What was written at that step", on: { click: () => showCompletions(idOf(entry), entry.step) } }, "completions"),
      h("span", { class: "who" }, `${label(entry)} · ${entry.by} · ${clock(entry.time)}${entry.version === null || entry.version === undefined ? "" : ` · version ${entry.version}`}`),
      h("span", { class: "what" }, entry.action === "change" ? parts(entry).map((text) => h("span", {}, text)) : `${WORDS[entry.action] ?? entry.action}${entry.note ? `: ${entry.note}` : ""}`))));
  if (entries.length > SHOWN) byId("journal-list").append(h("li", { class: "none" }, `and ${count(entries.length - SHOWN)} before, in control.jsonl`));
});

export const startJournal = () => on("journal arms", render);
