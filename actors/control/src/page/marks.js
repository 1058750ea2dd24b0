// What is marked on the curves: changes and commands of the journal, and bookmarks.

import { describe } from "./entries.js";
import { placeOf } from "./lines.js";
import { idOf, label, store } from "./store.js";
import { view } from "./view.js";

const ACTIONS = ["change", "pause", "resume", "stop", "fork"];

/** The marks of some arms, by their ids: `{ x, text, bookmark }`. What several arms have at the same step is one mark. */
export const marksOf = (ids) => {
  const by = new Map();
  const add = (entry, text, bookmark) => {
    const x = ids.has(idOf(entry)) ? placeOf(entry, entry.step, view.axis) : null;
    if (x === null) return;
    const key = `${x} ${bookmark} ${text}`;
    by.set(key, { x, text, bookmark, arms: [...(by.get(key)?.arms ?? []), label(entry)] });
  };
  for (const entry of store.journal) if (ACTIONS.includes(entry.action)) add(entry, describe(entry), false);
  for (const bookmark of store.bookmarks) add(bookmark, bookmark.note || `bookmark ${bookmark.number}`, true);
  return [...by.values()].map(({ x, text, bookmark, arms }) => ({ x, bookmark, text: ids.size > 1 ? `${arms.length === ids.size ? "all shown" : arms.join(", ")}: ${text}` : text }));
};
