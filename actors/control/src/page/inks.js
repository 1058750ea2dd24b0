// The colours of the canvases, which follow the theme.

import { h } from "./dom.js";
import { on } from "./signals.js";

const NAMES = ["grid", "faint", "soft", "card", "accent", "ink", "mark", ...[0, 1, 2, 3, 4, 5, 6, 7].map((n) => `c${n}`)];

/** By name, and `font`. */
export const inks = {};

const read = () => {
  const probe = h("i", { hidden: true });
  document.body.append(probe);
  for (const name of NAMES) {
    probe.style.color = `var(--${name})`;
    inks[name] = getComputedStyle(probe).color;
  }
  inks.font = `11px ${getComputedStyle(document.body).fontFamily || "sans-serif"}`;
  probe.remove();
};
on("theme", read);
