// Keeps the store up to date: loads the state of the run, takes in events, and sends changes.

import { armPath, get, post } from "./api.js";
import { flatten } from "./series.js";
import { emit } from "./signals.js";
import { idOf, selectedArms, store } from "./store.js";
import { inTurn, noteOwn, tagOf } from "./versions.js";

export const setConnection = (connection, detail = null) => {
  store.connection = connection;
  emit("connection", detail);
};

const takeArm = (view) => {
  const before = store.arms.get(idOf(view));
  store.arms.set(idOf(view), { ...before, ...view, step: Math.max(before?.step ?? 0, view.step) });
};

/** Counts state events, so that an answer requested before an event does not overwrite it. */
let events = 0;
const lastEvent = new Map();

export const loadState = async () => {
  const requested = events;
  const state = await get("/api/state");
  store.run = state.run;
  for (const view of state.arms) if ((lastEvent.get(idOf(view)) ?? 0) <= requested) takeArm(view);
  if (store.scope && !store.arms.has(store.scope)) store.scope = null;
  emit("arms");
};

const loadJournal = async () => {
  store.journal = (await get("/api/journal")).entries;
  emit("journal");
};

const loadBookmarks = async () => {
  store.bookmarks = (await get("/api/bookmarks")).bookmarks;
  emit("bookmarks");
};

export const loadActors = async (id) => {
  store.actors.set(id, (await get(armPath(store.arms.get(id), "/actors"))).actors);
  emit("actors", id);
};

/** Loads what the controls need: the state of the run, its journal and its bookmarks. */
export const loadConditions = () => Promise.all([loadState(), loadJournal(), loadBookmarks()]);

/** Weights may follow a schedule, of which there are no events, so the state is loaded again as steps are taken. */
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
  store.latest.set(id, flatten(line));
  emit("metrics", id);
  refreshState();
};

const HANDLERS = {
  state: (id, data) => {
    lastEvent.set(id, ++events);
    const isFork = !store.arms.has(id);
    takeArm(data);
    emit("arms");
    // Its first steps are those of the arm that it was copied from.
    if (isFork) emit("metrics", id);
  },
  step: (id, data) => takeStep(id, data.metrics),
  eval: (id) => emit("evals", id),
  change: (id, data) => {
    store.journal.push(data);
    emit("journal");
  },
  bookmark: (id, data) => {
    const others = store.bookmarks.filter(({ number }) => number !== data.number);
    store.bookmarks = (data.removed ? others : [...others, data]).sort((a, b) => a.number - b.number);
    emit("bookmarks");
  },
  actors: (id, data) => {
    store.actors.set(id, data.actors);
    emit("actors", id);
  },
  warning: (id, data) => {
    store.warnings.push({ ...data, time: new Date() });
    emit("warnings");
  },
  lagged: () => loadConditions().then(() => emit("lagged")).catch(() => {}),
};

/** Takes in an event of the stream. */
export const takeEvent = (name, data) => HANDLERS[name]?.(data?.arm === undefined ? null : idOf(data), data);

/**
 * Requests a change in the selected arms, made from the versions `since` (`versions.js`). Resolves when it is in force, to
 * one result per arm: `{ arm, seed, applied, error }`. It is refused, with `stale` of the refusal, if somebody else has
 * changed one of the arms since. With a single arm, any refusal is thrown; it says where in the formula or the reward
 * the error is.
 */
export const change = (request, since) => inTurn(async () => {
  const arms = selectedArms();
  const [one] = arms;
  const headers = { "if-match": tagOf(since) };
  let results;
  if (arms.length === 1) results = [{ arm: one.arm, seed: one.seed, applied: await post(armPath(one, "/change"), request, headers), error: null }];
  else ({ results } = await post("/api/change", { arms: arms.map(({ arm, seed }) => [arm, seed]), change: request }, headers));
  noteOwn(results);
  // So that whoever shows the result shows it with the conditions now in force.
  await loadState().catch(() => {});
  return results;
});

/** What the advantages of a step of an arm would have been under other weights or another formula. */
export const reshape = (arm, request) => post(armPath(arm, "/reshape"), request);

/** What a change would make of an arm, without making it. */
export const preview = (arm, request) => post(armPath(arm, "/formula/check"), request);
