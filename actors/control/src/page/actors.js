// The actor tree of the arm being looked at: who serves, how much is in hand, who was restarted and why. A dot
// breathes as fast as its actor is loaded.

import { byId, fill, h, number, plural, setText } from "./dom.js";
import { firstArm, hasEnded, idOf, label, loadActors, on, store } from "./store.js";

/** Rows by the place of the actor in the tree, so that an animation goes on from one report to the next. */
const rows = new Map();
const latencies = new Map();
let shown = null;

/** The last latencies of an actor, as they were reported. */
export const latencyOf = (id, name) => latencies.get(`${id} ${name}`) ?? [];

const remember = (id, actors) => {
  for (const actor of actors ?? []) {
    const key = `${id} ${actor.name}`;
    const known = latencies.get(key) ?? [];
    if (actor.latency_ms !== null && actor.latency_ms !== undefined) known.push(actor.latency_ms);
    latencies.set(key, known.slice(-60));
    remember(id, actor.children);
  }
};

const makeRow = () => {
  const row = { dot: h("i", { class: "orb" }), name: h("b"), load: h("span", { class: "load" }), fill: h("i"), detail: h("span", { class: "detail" }), failure: h("p", { class: "failure" }), children: h("ul") };
  row.node = h("li", {}, h("div", { class: "actor" }, row.dot, row.name, h("span", { class: "gauge", "aria-hidden": true }, row.fill), row.load, row.detail), row.failure, row.children);
  return row;
};

const STATUS = { serving: "", restarting: "restarting", closed: "closed" };

const show = (row, actor) => {
  const load = actor.capacity ? Math.min(1, actor.in_flight / actor.capacity) : Math.min(1, actor.in_flight);
  setText(row.name, actor.name);
  setText(row.load, actor.capacity ? `${actor.in_flight} of ${actor.capacity}` : actor.in_flight ? `${actor.in_flight} in hand` : "");
  row.node.className = actor.status;
  row.dot.style.setProperty("--load", load.toFixed(2));
  row.fill.style.setProperty("--load", load.toFixed(2));
  row.dot.classList.toggle("busy", load > 0);
  const facts = [STATUS[actor.status] ?? actor.status];
  if (actor.generation > 1) facts.push(`generation ${actor.generation}`);
  if (actor.calls) facts.push(plural(actor.calls, "call"));
  if (actor.latency_ms) facts.push(`${number(actor.latency_ms)} ms`);
  if (actor.failures) facts.push(plural(actor.failures, "failure"));
  if (actor.restarts) facts.push(plural(actor.restarts, "restart"));
  setText(row.detail, facts.filter(Boolean).join(" · "));
  row.node.classList.toggle("hurt", Boolean(actor.failures || actor.restarts));
  setText(row.failure, actor.last_failure ? `last failure: ${actor.last_failure}` : "");
  row.failure.hidden = !actor.last_failure;
};

const place = (list, actors, path) => {
  const nodes = actors.map((actor) => {
    const key = `${path}/${actor.name}`;
    const row = rows.get(key) ?? makeRow();
    rows.set(key, row);
    show(row, actor);
    place(row.children, actor.children ?? [], key);
    return row.node;
  });
  if (nodes.length !== list.children.length || nodes.some((node, at) => list.children[at] !== node)) fill(list, nodes);
};

/** The arm whose tree is shown. */
const current = () => store.arms.get(byId("actors-arm").value) ?? firstArm();

const render = () => {
  const arm = current();
  if (!arm) return;
  const actors = store.actors.get(idOf(arm));
  byId("no-actors").hidden = Boolean(actors?.length);
  setText(byId("no-actors"), hasEnded(arm) ? "This arm has ended, and its actors with it." : arm.status === "waiting" ? "This arm has not started." : "Nothing heard of its actors yet.");
  place(byId("actor-tree"), actors ?? [], idOf(arm));
};

const fillArms = () => {
  const select = byId("actors-arm");
  const arms = [...store.arms.values()];
  if (arms.length + 1 !== select.options.length) {
    const before = select.value;
    fill(select, h("option", { value: "" }, "the arm steered"), arms.map((arm) => h("option", { value: idOf(arm) }, label(arm))));
    select.value = before;
  }
  const arm = current();
  if (arm && shown !== `${idOf(arm)} ${arm.status}`) {
    shown = `${idOf(arm)} ${arm.status}`;
    loadActors(idOf(arm)).catch(() => {});
    render();
  }
};

export const startActors = () => {
  byId("actors-arm").addEventListener("change", fillArms);
  on("arms scope", fillArms);
  on("actors", (id) => {
    remember(id, store.actors.get(id));
    const arm = current();
    if (arm && id === idOf(arm)) render();
  });
};

/** A line of the last latencies, with the newest as a number. */
export const sparkline = (values) => {
  const canvas = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  canvas.setAttribute("viewBox", "0 0 100 24");
  canvas.setAttribute("preserveAspectRatio", "none");
  canvas.setAttribute("class", "spark");
  canvas.setAttribute("aria-hidden", "true");
  if (values.length > 1) {
    const most = Math.max(...values) || 1;
    const points = values.map((value, at) => `${((100 * at) / (values.length - 1)).toFixed(1)},${(22 - (20 * value) / most).toFixed(1)}`);
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    line.setAttribute("points", points.join(" "));
    canvas.append(line);
  }
  return canvas;
};

/** The actor of a reward in an arm's tree. */
export const rewardActor = (id, name) => {
  const search = (actors) => {
    for (const actor of actors ?? []) {
      if (actor.name === `reward/${name}`) return actor;
      const below = search(actor.children);
      if (below) return below;
    }
    return null;
  };
  return search(store.actors.get(id));
};
