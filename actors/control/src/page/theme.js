// Light and dark colours: as the system prefers, until one is chosen on the page.

import { byId, setText } from "./dom.js";
import { emit } from "./signals.js";

const KEY = "sandbox-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

const isDark = () => (localStorage.getItem(KEY) ?? (system.matches ? "dark" : "light")) === "dark";

const show = () => {
  const chosen = localStorage.getItem(KEY);
  if (chosen) document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
  setText(byId("theme"), isDark() ? "☀" : "☾");
  byId("theme").setAttribute("aria-label", isDark() ? "Light colours" : "Dark colours");
  emit("theme");
};

export const flipTheme = () => {
  localStorage.setItem(KEY, isDark() ? "light" : "dark");
  show();
};

export const startTheme = () => {
  byId("theme").addEventListener("click", flipTheme);
  system.addEventListener("change", show);
  show();
};
