// The dialog that forks an arm: a copy of it goes on under other conditions.

import { post } from "./api.js";
import { announce, byId, count, fill, h, setText } from "./dom.js";
import { on } from "./signals.js";
import { hasEnded, idOf, store } from "./store.js";
import { loadState } from "./sync.js";

const trained = () => [...store.arms.values()].filter((arm) => arm.method !== "none");
const names = (arms) => [...new Set(arms.map(({ arm }) => arm))];

const note = (kind, text) => {
  byId("fork-note").className = `note ${kind}`;
  setText(byId("fork-note"), text);
};

/** A name that no arm has yet. */
const freeName = (arm) => {
  const taken = new Set(names([...store.arms.values()]));
  let number = 2;
  while (taken.has(`${arm}.${number}`)) number += 1;
  return `${arm}.${number}`;
};

/** The formula and the weights of an arm, as settings to edit. */
const settingsOf = (name) => {
  const conditions = trained().find(({ arm }) => arm === name)?.conditions;
  if (!conditions) return "";
  const weights = Object.entries(conditions.weights ?? {}).map(([weight, value]) => `shaping.weights.${weight} = ${value}`);
  return [`shaping.formula = ${conditions.formula}`, ...weights].join("\n");
};

const choose = (arm) => {
  byId("fork-name").value = freeName(arm);
  byId("fork-settings").value = settingsOf(arm);
  byId("fork-settings").defaultValue = byId("fork-settings").value;
};

/** Opens the dialog for an arm as it was at a step, or for the selected arm as it is; `lines` are settings that differ. */
export const openFork = (at = null, lines = []) => {
  const selected = store.arms.get(at?.id ?? store.scope);
  const arms = trained();
  if (byId("fork").disabled || !arms.length) return;
  fill(byId("fork-arm"), names(arms).map((name) => h("option", { value: name }, name)));
  const first = selected && selected.method !== "none" ? selected : arms.find((arm) => !hasEnded(arm)) ?? arms[0];
  byId("fork-arm").value = first.arm;
  const isPast = at && at.id === idOf(first) && at.step < first.step;
  byId("fork-step").value = isPast ? at.step : "";
  choose(first.arm);
  if (lines.length) {
    const names = lines.map((line) => line.split("=")[0].trim());
    const kept = byId("fork-settings").value.split("\n").filter((line) => !names.includes(line.split("=")[0].trim()));
    byId("fork-settings").value = [...kept, ...lines].join("\n");
  }
  note("", "");
  byId("fork-dialog").showModal();
  byId("fork-name").select();
};

/** The lines that differ from what the arm has: a setting that is written out would not follow a change before the copy. */
const settings = () => {
  const had = new Set(byId("fork-settings").defaultValue.split("\n"));
  const lines = byId("fork-settings").value.split("\n").filter((line) => line.trim() && !had.has(line));
  return lines.map((line) => line.replace(/\s*=\s*/, "=").trim());
};

const send = async (event) => {
  event.preventDefault();
  const step = byId("fork-step").valueAsNumber;
  const request = { arm: byId("fork-arm").value, name: byId("fork-name").value.trim(), step: Number.isNaN(step) ? null : step, settings: settings() };
  note("pending", "planning the fork…");
  byId("fork-go").disabled = true;
  try {
    const { name, step: at, seeds, left_out: out } = await post("/api/fork", request);
    const left = out.map(({ seed, reason }) => `; not under seed ${seed}, which ${reason}`).join("");
    const text = `${name} is copied from ${request.arm} after step ${count(at)}, under ${seeds.length === 1 ? "seed" : "the seeds"} ${seeds.join(", ")}${left}`;
    byId("fork-dialog").close();
    byId("run-note").className = `note ${out.length ? "bad" : "good"}`;
    setText(byId("run-note"), text);
    announce(text);
    await loadState();
  } catch (problem) {
    note("bad", problem.message);
  } finally {
    byId("fork-go").disabled = false;
  }
};

export const startFork = () => {
  byId("fork").addEventListener("click", () => openFork());
  byId("fork-arm").addEventListener("change", () => choose(byId("fork-arm").value));
  byId("fork-form").addEventListener("submit", send);
  on("arms connection", () => { byId("fork").disabled = store.connection !== "live" || !trained().length; });
};
