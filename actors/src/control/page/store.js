// What the page knows of the run, kept up by events; panels listen to what concerns them.
//
// Events: `arms` (a view changed), `metrics` (id of an arm), `evals` (id), `journal`, `actors` (id),
// `connection`, `scope` (the arms being steered changed).

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
  /** connecting | live | lost | ended | refused */
  connection: "connecting",
  /** Which arm the steering applies to: an id, or null for all GRPO arms that have not ended. */
  scope: null,
};

export const hasEnded = (arm) => ["done", "failed", "stopped"].includes(arm.status);
export const isGrpo = (arm) => arm.method === "grpo" && Boolean(arm.conditions);

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

export const setConnection = (connection, detail = null) => {
  store.connection = connection;
  emit("connection", detail);
};

const takeArm = (view) => {
  const before = store.arms.get(idOf(view));
  store.arms.set(idOf(view), { ...before, ...view });
};

export const loadState = async () => {
  const state = await get("/api/state");
  store.run = { ...state.run, totals: state.totals };
  for (const view of state.arms) takeArm(view);
  if (store.scope && !store.arms.has(store.scope)) store.scope = null;
  emit("arms");
};

/** An arm's whole course, thinned to what a plot can show. */
export const loadMetrics = async (id) => {
  const arm = store.arms.get(id);
  const table = await get(armPath(arm, `/metrics?max_points=${OVERVIEW}`));
  store.tracks.set(id, Track.from(table));
  emit("metrics", id);
};

export const loadEvals = async (id) => {
  const answer = await get(armPath(store.arms.get(id), "/evals"));
  store.evals.set(id, Array.isArray(answer) ? answer : answer.evals);
  emit("evals", id);
};

export const loadJournal = async () => {
  store.journal = (await get("/api/journal")).entries;
  emit("journal");
};

export const loadActors = async (id) => {
  store.actors.set(id, (await get(armPath(store.arms.get(id), "/actors"))).actors);
  emit("actors", id);
};

/** Everything anew: at the start, after a lost connection, and when events were dropped. */
export const loadAll = async () => {
  await Promise.all([loadState(), loadJournal()]);
  for (const [id, arm] of store.arms) {
    if (arm.status === "waiting") continue;
    await Promise.all([loadMetrics(id), loadEvals(id)]);
  }
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
};

const takeChange = (entry) => {
  store.journal.push(entry);
  emit("journal");
};

/** What an event of the stream changes. */
export const takeEvent = (name, data) => {
  const id = data?.arm === undefined ? null : idOf(data);
  if (name === "state") {
    if (data.arms) for (const view of data.arms) takeArm(view);
    else if (id) takeArm(data);
    if (data.run) Object.assign(store.run, data.run);
    emit("arms");
  } else if (name === "step") takeStep(id, data.metrics ?? data);
  else if (name === "eval") {
    store.evals.set(id, [...(store.evals.get(id) ?? []), data.evaluation ?? data]);
    emit("evals", id);
  } else if (name === "change") takeChange(data.entry ?? data);
  else if (name === "actors") {
    store.actors.set(id, data.actors);
    emit("actors", id);
  } else if (name === "lagged") loadAll().catch(() => {});
};

/**
 * Changes the conditions of the steered arms. Resolves, when the change is in force, to one result per arm:
 * `{ arm, seed, applied, error, place }`.
 */
export const change = async (wanted) => {
  const arms = steered();
  const [one] = arms;
  const { results } = arms.length === 1
    ? { results: [{ arm: one.arm, seed: one.seed, applied: await post(armPath(one, "/change"), wanted), error: null }] }
    : await post("/api/change", { arms: arms.map(({ arm, seed }) => [arm, seed]), change: wanted });
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
