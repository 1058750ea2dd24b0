// Keyboard shortcuts, and the links to the sections of the page.

import { togglePause } from "./controls.js";
import { byId } from "./dom.js";
import { openFork } from "./fork.js";
import { flipTheme } from "./theme.js";
import { view } from "./view.js";

const goTo = (id) => {
  const section = byId(id);
  section.scrollIntoView();
  section.querySelector("h2").focus({ preventScroll: true });
};

const ACTIONS = {
  1: () => goTo("curves"),
  2: () => goTo("steer"),
  3: () => goTo("rewards"),
  4: () => goTo("actors"),
  5: () => goTo("completions"),
  6: () => goTo("journal"),
  w: () => document.querySelector("#weights input")?.focus(),
  f: () => byId("formula").focus(),
  p: togglePause,
  c: openFork,
  t: flipTheme,
  0: () => view.all(),
  "/": () => byId("rollouts-q").focus(),
  "?": () => byId("help").showModal(),
};

export const startKeys = () => {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("page").hidden) return;
    if (event.target.closest("input, textarea, select, dialog") || !ACTIONS[event.key]) return;
    event.preventDefault();
    ACTIONS[event.key]();
  });
  for (const link of document.querySelectorAll("[data-go]")) link.addEventListener("click", () => goTo(link.dataset.go));
  byId("show-help").addEventListener("click", () => byId("help").showModal());
  for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
};
