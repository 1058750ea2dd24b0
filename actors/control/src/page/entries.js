// Journal entries in words.

import { exact } from "./dom.js";

const kindOf = (reward) => reward?.kind ?? "none";

/** What a change did, one text for each weight, reward, formula and setting. */
export const changesIn = ({ change, from }) => {
  const texts = [];
  for (const [name, value] of Object.entries(change?.weights ?? {})) texts.push(`weight ${name} ${exact(from?.weights?.[name])} → ${exact(value)}`);
  for (const [name, reward] of Object.entries(change?.rewards ?? {})) {
    const before = from?.rewards?.[name];
    if (reward === null) texts.push(`reward ${name} removed`);
    else if (!before) texts.push(`reward ${name} added (${kindOf(reward)})`);
    else texts.push(`reward ${name} swapped: ${kindOf(before)} → ${kindOf(reward)}`);
  }
  if (change?.formula) texts.push(`formula ${change.formula}`);
  for (const [name, value] of Object.entries(change?.settings ?? {})) texts.push(`${name} ${JSON.stringify(from?.settings?.[name] ?? null)} → ${JSON.stringify(value)}`);
  return texts;
};

const COMMANDS = { pause: "paused", resume: "resumed", step: "single steps", checkpoint: "checkpoint written", stop: "stopped", fork: "forked", alarm: "alarm" };

/** A command, with its note. */
export const commandIn = (entry) => `${COMMANDS[entry.action] ?? entry.action}${entry.note ? `: ${entry.note}` : ""}`;

/** An entry in one line, without its arm and step. */
export const describe = (entry) => `${entry.action === "change" ? changesIn(entry).join("; ") : commandIn(entry)} (${entry.by})`;
