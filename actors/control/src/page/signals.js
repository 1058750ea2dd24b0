// Signals between the parts of the page. A part that changes something emits a signal by name; parts that show it listen.
//
// Signals: `arms` (the state of an arm changed), `metrics` (id of an arm that took a step), `evals` (id), `latest` (the newest
// metrics were loaded), `journal`, `bookmarks`, `actors` (id), `warnings`, `connection`, `lagged` (events were lost), `scope`
// (other arms are selected), `shown` (other curves are chosen), `axis` (they are aligned otherwise), `view` (another part of
// the axis is shown), `cursor`, `theme`.

const listeners = new Map();

/** Calls `listener` on each of these signals, which are separated by spaces. */
export const on = (names, listener) => {
  for (const name of names.split(" ")) listeners.set(name, [...(listeners.get(name) ?? []), listener]);
};

export const emit = (name, detail) => {
  for (const listener of listeners.get(name) ?? []) listener(detail);
};
