// The colours of arms and of components: the same everywhere on the page.

import { store } from "./store.js";

const DIFFICULTIES = { easy: "c2", medium: "c1", hard: "c6" };

/** The colour of an arm, whatever its seed. */
export const colourOf = (arm) => {
  const arms = [...store.arms.values()];
  const names = [...new Set(arms.map((other) => other.arm))];
  // c0, the grey one, is kept for an untrained policy; it is the first arm where there is one.
  const first = arms.some(({ method }) => method === "none") ? 0 : 3;
  return `c${(first + names.indexOf(arm.arm)) % 8}`;
};

/** The colour of a component or a difficulty, among `all` that share a plot. */
export const partColour = (name, all) => DIFFICULTIES[name] ?? `c${(3 + all.indexOf(name)) % 8}`;
