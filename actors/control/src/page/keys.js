// Keyboard shortcuts, and the links to the sections of the page.

import { bookmark, openNote } from "./bookmarks.js";
import { openCompare } from "./compare.js";
import { moveArm, moveCompletion, moveStep } from "./completions.js";
import { togglePause } from "./controls.js";
import { nextAxis } from "./curve-tools.js";
import { announce, byId } from "./dom.js";
import { openFork } from "./fork.js";
import { address } from "./link.js";
import { place } from "./place.js";
import { flipTheme } from "./theme.js";
import { view } from "./view.js";

const goTo = (id) => {
  const section = byId(id);
  section.scrollIntoView();
  section.querySelector("h2").focus({ preventScroll: true });
};

/** Copies a link to what is shown, without the token. */
const copyLink = async () => {
  const link = address();
  let text = "the link is copied, without the token";
  try {
    await navigator.clipboard.writeText(link);
  } catch {
    text = `copy this link: ${link}`;
  }
  byId("link-note").textContent = text;
  announce(text);
};

/** Compares the completion where the user looks; without one, goes to the completions to choose one. */
const compare = () => {
  const at = place();
  if (at?.line) openCompare(at);
  else goTo("completions");
};

const ACTIONS = {
  1: () => goTo("curves"),
  2: () => goTo("steer"),
  3: () => goTo("rewards"),
  4: () => goTo("actors"),
  5: () => goTo("completions"),
  6: () => goTo("journal"),
  7: () => goTo("bookmarks"),
  w: () => document.querySelector("#weights input")?.focus(),
  f: () => byId("formula").focus(),
  p: togglePause,
  c: () => openFork(place()),
  d: compare,
  b: () => bookmark(),
  n: () => openNote(),
  l: copyLink,
  x: nextAxis,
  j: () => moveCompletion(1),
  k: () => moveCompletion(-1),
  "[": () => moveArm(-1),
  "]": () => moveArm(1),
  ",": () => moveStep(-1),
  ".": () => moveStep(1),
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
  byId("copy-link").addEventListener("click", copyLink);
  byId("show-help").addEventListener("click", () => byId("help").showModal());
  for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
};
