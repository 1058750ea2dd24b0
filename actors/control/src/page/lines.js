// The curves of all arms, as the server thins them: loaded once as a whole, then only what is new. No DOM.

import { get } from "./api.js";
import { lowerBound } from "./series.js";
import { idOf, store } from "./store.js";

/** What is shown of the curves now; `lines` by their key. */
export const curves = { width: 1, to: 0, fields: [], lines: new Map() };

let wanted = "";
let running = null;

const asNumbers = (values) => values.map((value) => value ?? NaN);

/** The query of the curves that are wanted: `{ fields, axis, seeds, band, from, to }`. */
const paramsOf = ({ fields, axis, seeds, band, from, to }) => {
  const params = new URLSearchParams({ fields: fields.join(), x: axis, seeds, band });
  if (from !== undefined) params.set("from", from);
  if (to !== undefined) params.set("to", to);
  return params;
};

const keyOf = (line, seeds) => (seeds === "apart" ? `${line.arm}/${line.seeds[0].seed}` : line.arm);

const read = (line) => ({
  arm: line.arm,
  seeds: line.seeds.map(({ seed, step, steps }) => ({ seed, step, steps })),
  xs: line.x,
  values: new Map(Object.entries(line.values).map(([name, { mean, low, high }]) => [name, { mean: asNumbers(mean), low: low && asNumbers(low), high: high && asNumbers(high) }])),
  heldOut: line.held_out && { xs: line.held_out.x, values: new Map(Object.entries(line.held_out.values).map(([name, values]) => [name, asNumbers(values)])) },
});

/** Puts the new points of a line behind those that stay. */
const merge = (old, line) => {
  const point = (x) => Math.max(0, Math.ceil(x / curves.width - 1e-9) - 1);
  const cut = line.xs.length ? lowerBound(old.xs.map(point), point(line.xs[0])) : old.xs.length;
  const join = (before, after, length = line.xs.length) => (before ?? new Array(old.xs.length).fill(NaN)).slice(0, cut).concat(after ?? new Array(length).fill(NaN));
  const values = new Map();
  for (const name of new Set([...old.values.keys(), ...line.values.keys()])) {
    const [was, is] = [old.values.get(name), line.values.get(name)];
    const banded = Boolean(was?.low ?? is?.low);
    values.set(name, { mean: join(was?.mean, is?.mean), low: banded ? join(was?.low, is?.low) : undefined, high: banded ? join(was?.high, is?.high) : undefined });
  }
  const seeds = line.seeds.map((seed) => {
    const was = old.seeds.find((other) => other.seed === seed.seed);
    return { ...seed, steps: seed.steps.length ? join(was?.steps, seed.steps) : [] };
  });
  return { ...line, seeds, xs: old.xs.slice(0, cut).concat(line.xs), values, heldOut: line.heldOut ?? old.heldOut };
};

/** Takes over the newest metrics of each arm, unless an event has brought newer ones. */
const takeLatest = ({ arm, seeds }) => {
  for (const { seed, step, latest } of seeds) {
    const id = idOf({ arm, seed });
    if ((store.latest.get(id)?.step ?? -1) <= step) store.latest.set(id, { ...latest, step });
  }
};

/** The steps of each arm that the page has, as the server wants them. */
const known = () => {
  const steps = new Map([...curves.lines.values()].flatMap(({ arm, seeds }) => seeds.map(({ seed, step }) => [idOf({ arm, seed }), step])));
  return [...store.arms.keys()].map((id) => steps.get(id) ?? "").join();
};

const request = async (want) => {
  const params = paramsOf(want);
  const text = params.toString();
  if (text === wanted) {
    params.set("since", known());
    params.set("width", curves.width);
  }
  const answer = await get(`/api/curves?${params}`);
  Object.assign(curves, { width: answer.width, to: answer.to, fields: answer.fields });
  if (answer.whole) curves.lines = new Map();
  for (const line of answer.lines) {
    takeLatest(line);
    const key = keyOf(line, want.seeds);
    const old = curves.lines.get(key);
    curves.lines.set(key, old ? merge(old, read(line)) : read(line));
  }
  wanted = text;
  return answer.whole;
};

/** Loads the curves, or what is new of them; one request at a time. Resolves to whether all of them are new. */
export const loadCurves = async (want) => {
  while (running) await running.catch(() => {});
  running = request(want);
  try {
    return await running;
  } finally {
    running = null;
  }
};

/** Where a step of an arm is on the axis; null if the page does not know. */
export const placeOf = ({ arm, seed }, step, axis) => {
  if (axis === "step") return step;
  for (const line of curves.lines.values()) {
    const steps = line.arm === arm && line.seeds.find((other) => other.seed === seed)?.steps;
    if (!steps) continue;
    const at = steps.findIndex((last) => last >= step);
    return at < 0 ? null : line.xs[at];
  }
  return null;
};

/** The step of an arm at a place of the axis. */
export const stepAt = ({ arm, seed }, place, axis) => {
  if (axis === "step") return Math.round(place);
  for (const line of curves.lines.values()) {
    const steps = line.arm === arm && line.seeds.find((other) => other.seed === seed)?.steps;
    if (steps) return steps[Math.min(lowerBound(line.xs, place), steps.length - 1)] ?? null;
  }
  return null;
};
