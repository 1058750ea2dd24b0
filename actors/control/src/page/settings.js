// The settings that may be changed while an arm is trained, such as the learning rate: one is chosen and given a new value.

import { announce, byId, fill, h, setText } from "./dom.js";
import { outcome } from "./outcome.js";
import { on } from "./signals.js";
import { isStale, showStale } from "./stale.js";
import { hasEnded, selectedArms, store } from "./store.js";
import { change, loadState } from "./sync.js";
import { versionsNow } from "./versions.js";

/** The versions that the page showed when the user began to write the value that is there; null if it is the one in force. */
let since = null;

const say = (kind, text) => {
  byId("settings-note").className = `note ${kind}`;
  setText(byId("settings-note"), text);
};

const arms = () => selectedArms().filter((arm) => arm.conditions && !hasEnded(arm));

/** A value as it is written in a scenario; texts without quotation marks. */
const written = (value) => (value === undefined || value === null ? "" : typeof value === "string" ? value : JSON.stringify(value));

/** What was written as a value: JSON where it is, else a text. */
const read = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};

const showValue = () => {
  if (since) return;
  const values = [...new Set(arms().map((arm) => written(arm.conditions.settings[byId("setting").value])))];
  byId("setting-value").value = values.length === 1 ? values[0] : "";
  byId("setting-value").placeholder = values.length > 1 ? values.join(" or ") : "not set";
};

const send = async (name, value, versions) => {
  say("pending", `${name} = ${written(value)} is pending: waiting for the current step to end…`);
  try {
    const { bad, text } = outcome(await change({ settings: { [name]: value } }, versions));
    say(bad ? "bad" : "good", `${name} = ${written(value)} ${text}`);
    announce(`${name} ${written(value)} ${text}`);
    since = null;
    showValue();
  } catch (problem) {
    if (isStale(problem)) {
      showStale(byId("settings-note"), problem, versions, { redo: (newer) => send(name, value, newer), discard: () => say("", "") });
      loadState().catch(() => {});
    } else {
      say("bad", problem.message);
      announce(problem.message);
    }
  }
};

const render = () => {
  const live = arms();
  const names = [...new Set(live.flatMap((arm) => Object.keys(arm.conditions.settings)))].sort();
  const select = byId("setting");
  const chosen = select.value || "grpo.lr";
  if (names.join() !== [...select.options].map((option) => option.value).join()) {
    fill(select, names.map((name) => h("option", { value: name }, name)));
    select.value = names.includes(chosen) ? chosen : names[0] ?? "";
  }
  const off = store.connection !== "live" || !live.length;
  for (const id of ["setting", "setting-value", "setting-set"]) byId(id).disabled = off;
  showValue();
};

export const startSettings = () => {
  byId("setting").addEventListener("change", () => { since = null; showValue(); });
  byId("setting-value").addEventListener("input", () => { since ??= versionsNow(); });
  byId("settings-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = byId("setting-value").value.trim();
    if (text) send(byId("setting").value, read(text), since ?? versionsNow());
  });
  on("arms connection scope", render);
};
