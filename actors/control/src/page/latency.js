// The recent latencies of actors, and a small line chart of them.

import { on } from "./signals.js";
import { store } from "./store.js";

const KEPT = 60;

const latencies = new Map();

/** The last latencies of an actor in milliseconds, oldest first. */
export const latenciesOf = (id, name) => latencies.get(`${id} ${name}`) ?? [];

const remember = (id, actors) => {
  for (const actor of actors ?? []) {
    const key = `${id} ${actor.name}`;
    if (actor.latency_ms !== null && actor.latency_ms !== undefined) latencies.set(key, [...(latencies.get(key) ?? []), actor.latency_ms].slice(-KEPT));
    remember(id, actor.children);
  }
};

export const startLatency = () => on("actors", (id) => remember(id, store.actors.get(id)));

const svg = (tag, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
};

/** A line chart of some values, scaled to their maximum. */
export const sparkline = (values) => {
  const chart = svg("svg", { viewBox: "0 0 100 24", preserveAspectRatio: "none", class: "spark", "aria-hidden": "true" });
  if (values.length > 1) {
    const most = Math.max(...values) || 1;
    const points = values.map((value, at) => `${((100 * at) / (values.length - 1)).toFixed(1)},${(22 - (20 * value) / most).toFixed(1)}`);
    chart.append(svg("polyline", { points: points.join(" ") }));
  }
  return chart;
};
