// What the page knows of the run, kept up by events; panels listen to what concerns them.
//
// Events: `arms` (a view changed), `metrics` (id of an arm), `evals` (id), `journal`, `actors` (id),
// `warnings`, `connection`, `scope` (the arms being steered changed).

import { armPath, get, post } from "./api.js";
import { Track, flatten } from "./series.js";

const listeners = new Map();

export const on = (names, listener) => {
  for (const name of names.split(" ")) listeners.set(name, [...(listeners.get(name) ?? []), listener]);
};

export const emit = (name, detail) => {
  for (const listener of listeners.get(name) ?? []) listener(detail);
};

/** An arm under a seed, in one string. */
export const idOf = ({ arm, seed }) => `${arm}/${seed}`;

/** The most points of an arm's whole course that are asked for at once. */
export const OVERVIEW = 1500;

export const store = {
  run: null,
  arms: new Map(),
  tracks: new Map(),
  evals: new Map(),
  journal: [],
  actors: new Map(),
  /** What went wrong while this page was open: `{ arm, seed, message, time }`. */
  warnings: [],
  /** connecting | live | lost | ended | refused */
  connection: "connecting",
  /** Which arm the steering applies to: an id, or null for all GRPO arms that have not ended. */
  scope: null,
};

export const hasEnded = (arm) => ["done", "failed", "stopped"].includes(arm.status);
const isGrpo = (arm) => arm.method === "grpo" && Boolean(arm.conditions);

/** An arm's name, with its seed where the run has several. */
export const label = (arm) => {
  const seeds = new Set([...store.arms.values()].map((other) => other.seed));
  return seeds.size > 1 ? `${arm.arm} · seed ${arm.seed}` : arm.arm;
};

/** The GRPO arms that steering applies to. */
export const steered = () => {
  const arms = [...store.arms.values()].filter(isGrpo);
  if (store.scope) return arms.filter((arm) => idOf(arm) === store.scope);
  const going = arms.filter((arm) => !hasEnded(arm));
  return going.length ? going : arms;
};

/** The arm to look at where nobody has chosen one: of those that are going on the first that is steered. */
export const firstArm = () => {
  const arms = [...store.arms.values()];
  const going = (arm) => ["running", "paused"].includes(arm.status);
  return steered().find(going) ?? arms.find(going) ?? arms.find((arm) => arm.step > 0) ?? arms[0];
};

export const setConnection = (connection, detail = null) => {
  store.connection = connection;
  emit("connection", detail);
};

const takeArm = (view) => {
  const before = store.arms.get(idOf(view));
  store.arms.set(idOf(view), { ...before, ...view, step: Math.max(before?.step ?? 0, view.step) });
};

/** Counts the arms' events, so that an answer asked for before one does not undo it. */
let events = 0;
const lastEvent = new Map();

export const loadState = async () => {
  const asked = events;
  const state = await get("/api/state");
  store.run = state.run;
  for (const view of state.arms) if ((lastEvent.get(idOf(view)) ?? 0) <= asked) takeArm(view);
  if (store.scope && !store.arms.has(store.scope)) store.scope = null;
  emit("arms");
};

/** An arm's whole course, thinned to what a plot can show. */
const loadMetrics = async (id) => {
  const arm = store.arms.get(id);
  const table = await get(armPath(arm, `/metrics?max_points=${OVERVIEW}`));
  store.tracks.set(id, Track.from(table));
  emit("metrics", id);
};

const loadEvals = async (id) => {
  const answer = await get(armPath(store.arms.get(id), "/evals"));
  store.evals.set(id, Array.isArray(answer) ? answer : answer.evals);
  emit("evals", id);
};

const loadJournal = async () => {
  store.journal = (await get("/api/journal")).entries;
  emit("journal");
};

export const loadActors = async (id) => {
  store.actors.set(id, [].concat((await get(armPath(store.arms.get(id), "/actors"))).actors));
  emit("actors", id);
};

/** How the run is and what was done to it: enough to steer by. */
export const loadConditions = () => Promise.all([loadState(), loadJournal()]);

/** The curves of all arms that have begun. */
export const loadCurves = () => {
  const begun = [...store.arms].filter(([, arm]) => arm.status !== "waiting");
  return Promise.all(begun.flatMap(([id]) => [loadMetrics(id), loadEvals(id)]));
};

/** Weights may follow a schedule, which no event tells of: the conditions are read again as steps go by. */
let stateDue = 0;
const refreshState = () => {
  if (performance.now() < stateDue) return;
  stateDue = performance.now() + 2000;
  loadState().catch(() => {});
};

const takeStep = (id, line) => {
  const arm = store.arms.get(id);
  if (!arm) return;
  arm.step = line.step;
  arm.total_steps = line.total_steps ?? arm.total_steps;
  const track = store.tracks.get(id) ?? new Track();
  store.tracks.set(id, track);
  track.append(flatten(line));
  if (track.length > 4 * OVERVIEW) loadMetrics(id).catch(() => {});
  emit("metrics", id);
  refreshState();
};

const takeChange = (entry) => {
  store.journal.push(entry);
  emit("journal");
};

/** What an event of the stream changes. */
export const takeEvent = (name, data) => {
  const id = data?.arm === undefined ? null : idOf(data);
  if (name === "state") {
    lastEvent.set(id, ++events);
    takeArm(data);
    emit("arms");
  } else if (name === "step") takeStep(id, data.metrics ?? data);
  else if (name === "eval") {
    store.evals.set(id, [...(store.evals.get(id) ?? []), data.evaluation ?? data]);
    emit("evals", id);
  } else if (name === "change") takeChange(data.entry ?? data);
  else if (name === "actors") {
    store.actors.set(id, [].concat(data.actors));
    emit("actors", id);
  } else if (name === "warning") {
    store.warnings.push({ ...data, time: new Date() });
    emit("warnings");
  } else if (name === "lagged") loadConditions().then(loadCurves).catch(() => {});
};

/** The same for an arm on its own, whose refusal is a result too. */
const changeOne = async (arm, wanted) => {
  const result = { arm: arm.arm, seed: arm.seed, applied: null, error: null };
  try {
    result.applied = await post(armPath(arm, "/change"), wanted);
  } catch (problem) {
    result.error = problem.message;
  }
  return result;
};

/**
 * Changes the conditions of the steered arms; a function gives each arm a change of its own. Resolves, when the
 * change is in force, to one result per arm: `{ arm, seed, applied, error }`. One arm alone throws its refusal.
 */
export const change = async (wanted) => {
  const arms = steered();
  const [one] = arms;
  let results;
  if (typeof wanted === "function") results = await Promise.all(arms.map((arm) => changeOne(arm, wanted(arm))));
  else if (arms.length === 1) results = [{ arm: one.arm, seed: one.seed, applied: await post(armPath(one, "/change"), wanted), error: null }];
  else ({ results } = await post("/api/change", { arms: arms.map(({ arm, seed }) => [arm, seed]), change: wanted }));
  // The conditions as they are now, before anybody is told.
  await loadState().catch(() => {});
  return results;
};

/** The conditions an arm was under at a version, read back from its journal; null if it cannot be known. */
export const conditionsAt = (id, version) => {
  const now = store.arms.get(id)?.conditions;
  if (!now || version === null || version === undefined) return null;
  const weights = { ...now.weights };
  let { formula } = now;
  const changes = store.journal.filter((entry) => idOf(entry) === id && entry.from && entry.version > version && entry.version <= now.version);
  for (const entry of changes.sort((a, b) => b.version - a.version)) {
    formula = entry.from.formula ?? formula;
    for (const [name, value] of Object.entries(entry.from.weights ?? {})) {
      if (value === null) delete weights[name];
      else weights[name] = value;
    }
  }
  return { version, formula, weights };
};
