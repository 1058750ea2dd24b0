// The table of arms, the warnings, and the commands: pause, resume, step, checkpoint and stop.

import { post } from "./api.js";
import { colourOf } from "./colours.js";
import { announce, atMostEvery, byId, clock, count, fill, h, number, percent, plural, setText } from "./dom.js";
import { emit, on } from "./signals.js";
import { hasEnded, idOf, label, store } from "./store.js";
import { loadState } from "./sync.js";

const MARK = { planned: "○", running: "●", paused: "❚❚", done: "✓", failed: "✗", stopped: "■" };
const KIND = { running: "live", paused: "held", done: "good", failed: "bad", stopped: "bad" };

const say = (kind, text) => {
  byId("run-note").className = `note ${kind}`;
  setText(byId("run-note"), text);
  if (text) announce(text);
};

const DONE = { pause: "paused", resume: "resumed", step: "stepping", checkpoint: "checkpoint written", stop: "stopping" };

/** Sends a command to arms, given by their ids, or to all that have not ended. */
const send = async (what, arms, more = {}) => {
  say("pending", `${what}: waiting for the current step to end…`);
  try {
    const { results } = await post(`/api/${what}`, { arms: arms && arms.map((id) => { const { arm, seed } = store.arms.get(id); return [arm, seed]; }), ...more });
    const failed = results.filter(({ error }) => error);
    const folders = results.map(({ folder }) => folder).filter(Boolean);
    const good = results.length - failed.length;
    const text = [good && `${plural(good, "arm")} ${DONE[what]}${folders.length === 1 ? `: ${folders[0]}` : ""}`, ...failed.map((one) => `${label(one)}: ${one.error}`)].filter(Boolean).join("; ");
    say(failed.length ? "bad" : "good", text || "every arm has ended");
    await loadState();
  } catch (problem) {
    say("bad", problem.message);
  }
};

/** The arms that commands apply to: the selected arm, or all of the run, SFT arms included. */
const addressed = () => (store.scope ? [store.scope] : null);

const confirmStop = () => {
  const arm = store.scope && store.arms.get(store.scope);
  setText(byId("stop-text"), arm ? `Stop ${label(arm)} at step ${count(arm.step)}? ` : "Stop every arm?");
  byId("stop-dialog").showModal();
};

export const togglePause = () => {
  const arms = [...store.arms.values()].filter((arm) => !hasEnded(arm) && (!store.scope || idOf(arm) === store.scope));
  send(arms.some((arm) => arm.status === "running") ? "pause" : "resume", addressed());
};

const rows = new Map();
const makeRow = (id) => {
  const row = { swatch: h("i"), name: h("b"), seed: h("span", { class: "none" }), trains: h("span", { class: "none" }), status: h("span"), progress: h("progress", { max: 1 }), step: h("span", { class: "none" }), cells: [1, 2, 3, 4].map(() => h("td", { class: "num" })), reason: h("p", { class: "reason" }) };
  row.hold = h("button", { type: "button", class: "tiny", on: { click: () => send(store.arms.get(id).status === "paused" ? "resume" : "pause", [id]) } });
  row.node = h("tr", {}, h("th", { scope: "row" }, row.swatch, row.name, " ", row.seed, " ", row.trains), h("td", {}, row.status, row.reason), h("td", { class: "progress" }, row.progress, row.step), row.cells, h("td", {}, row.hold));
  return row;
};

const showArm = (row, id, arm) => {
  const latest = store.latest.get(id);
  row.swatch.className = `swatch ${colourOf(arm)}`;
  setText(row.name, arm.arm);
  setText(row.seed, label(arm) === arm.arm ? "" : `seed ${arm.seed}`);
  // All weights are what an arm trains by default.
  setText(row.trains, arm.trains && arm.trains !== "full" ? `trains ${arm.trains}` : "");
  row.status.className = `state ${KIND[arm.status] ?? ""}`;
  setText(row.status, `${MARK[arm.status] ?? ""} ${arm.status}`);
  setText(row.reason, arm.reason ?? "");
  row.reason.hidden = !arm.reason;
  row.progress.value = arm.total_steps ? arm.step / arm.total_steps : hasEnded(arm) ? 1 : 0;
  row.progress.setAttribute("aria-label", `${label(arm)}: steps`);
  setText(row.step, `${count(arm.step)} of ${count(arm.total_steps)}`);
  const values = [number(latest?.reward), percent(latest?.accuracy), percent(latest?.think_rate), number(latest?.tokens_per_second)];
  row.cells.forEach((cell, at) => setText(cell, values[at]));
  setText(row.hold, arm.status === "paused" ? "resume" : "pause");
  row.hold.setAttribute("aria-label", `${arm.status === "paused" ? "Resume" : "Pause"} ${label(arm)}`);
  row.hold.hidden = hasEnded(arm) || store.connection !== "live";
};

const render = atMostEvery(200, () => {
  const body = byId("arms-body");
  for (const [id, arm] of store.arms) {
    if (!rows.has(id)) {
      rows.set(id, makeRow(id));
      body.append(rows.get(id).node);
    }
    showArm(rows.get(id), id, arm);
  }
  const selected = [...store.arms.values()].filter((arm) => !store.scope || idOf(arm) === store.scope);
  const unended = selected.filter((arm) => !hasEnded(arm));
  const paused = unended.filter((arm) => arm.status === "paused");
  const live = store.connection === "live" && unended.length > 0;
  byId("pause").disabled = !live || paused.length === unended.length;
  byId("resume").disabled = !live || paused.length === 0;
  for (const id of ["step", "step-count", "checkpoint", "stop"]) byId(id).disabled = !live;
  showRun();
});

const showRun = () => {
  const arms = [...store.arms.values()];
  const steps = arms.reduce((sum, arm) => sum + arm.step, 0);
  const total = arms.reduce((sum, arm) => sum + arm.total_steps, 0);
  const of = (status) => arms.filter((arm) => arm.status === status).length;
  const states = ["running", "paused", "planned", "done", "failed", "stopped"].filter(of).map((status) => `${of(status)} ${status}`).join(", ");
  setText(byId("lede"), `${plural(arms.length, "arm")}: ${states}. ${count(steps)} of ${count(total)} steps.`);
  const overall = store.connection === "ended" || (arms.length && arms.every(hasEnded)) ? "ended" : arms.some((arm) => arm.status === "running") ? "running" : of("paused") ? "paused" : "starting";
  byId("run-state").className = `state ${{ running: "live", paused: "held", ended: "good" }[overall] ?? ""}`;
  setText(byId("run-state"), { running: "● running", paused: "❚❚ paused", ended: "✓ ended", starting: "○ starting" }[overall]);
  document.title = `${overall === "running" ? "● " : ""}${store.run?.name ?? "run"} · ${overall}`;
};

/** Shows the newest warning, with the earlier ones folded away. */
const showWarnings = () => {
  const newest = store.warnings.slice(-50).reverse();
  const line = (warning) => `${clock(warning.time)} ${warning.arm === undefined ? "" : `${label(warning)}: `}${warning.message}`;
  byId("warnings").hidden = false;
  setText(byId("last-warning"), `${plural(store.warnings.length, "warning")}; ${line(newest[0])}`);
  fill(byId("warning-list"), newest.slice(1).map((warning) => h("li", {}, line(warning))));
};

export const startControls = () => {
  byId("pause").addEventListener("click", () => send("pause", addressed()));
  byId("resume").addEventListener("click", () => send("resume", addressed()));
  byId("checkpoint").addEventListener("click", () => send("checkpoint", addressed()));
  byId("step-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const n = byId("step-count").valueAsNumber;
    if (n >= 1) send("step", addressed(), { n });
  });
  byId("stop").addEventListener("click", confirmStop);
  byId("stop-dialog").addEventListener("close", () => {
    if (byId("stop-dialog").returnValue === "stop") send("stop", addressed());
    byId("stop-dialog").returnValue = "";
  });
  on("arms metrics latest connection scope", render);
  on("scope", () => emit("arms"));
  on("warnings", showWarnings);
};

