// The actors of an arm as a tree: their load, restarts and failures. The dot of a busy actor pulses.

import { byId, fill, h, number, plural, setText } from "./dom.js";
import { on } from "./signals.js";
import { firstArm, hasEnded, idOf, label, store } from "./store.js";
import { loadActors } from "./sync.js";

/** Rows by the path of their actor in the tree. They are kept, so that their animations continue. */
const rows = new Map();
let shown = null;

const makeRow = () => {
  const row = { dot: h("i", { class: "orb" }), name: h("b"), load: h("span", { class: "load" }), fill: h("i"), detail: h("span", { class: "detail" }), failure: h("p", { class: "failure" }), children: h("ul") };
  row.node = h("li", {}, h("div", { class: "actor" }, row.dot, row.name, h("span", { class: "gauge", "aria-hidden": true }, row.fill), row.load, row.detail), row.failure, row.children);
  return row;
};

const show = (row, actor) => {
  const load = actor.capacity ? Math.min(1, actor.in_flight / actor.capacity) : Math.min(1, actor.in_flight);
  setText(row.name, actor.name);
  setText(row.load, actor.capacity ? `${actor.in_flight} of ${actor.capacity}` : "");
  row.node.className = actor.status;
  row.dot.style.setProperty("--load", load.toFixed(2));
  row.fill.style.setProperty("--load", load.toFixed(2));
  row.dot.classList.toggle("busy", load > 0);
  const facts = [actor.status === "serving" ? "" : actor.status];
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

/** The arm whose actors are shown. */
const current = () => store.arms.get(byId("actors-arm").value) ?? firstArm();

const emptyText = (arm) => {
  if (hasEnded(arm)) return "This arm has ended; its actors are gone.";
  return arm.status === "planned" ? "This arm has not started." : "Loading…";
};

const render = () => {
  const arm = current();
  if (!arm) return;
  const actors = store.actors.get(idOf(arm));
  byId("no-actors").hidden = Boolean(actors?.length);
  setText(byId("no-actors"), emptyText(arm));
  place(byId("actor-tree"), actors ?? [], idOf(arm));
};

const fillArms = () => {
  const select = byId("actors-arm");
  const arms = [...store.arms.values()];
  if (arms.length + 1 !== select.options.length) {
    const before = select.value;
    fill(select, h("option", { value: "" }, "selected arm"), arms.map((arm) => h("option", { value: idOf(arm) }, label(arm))));
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
    const arm = current();
    if (arm && id === idOf(arm)) render();
  });
};
