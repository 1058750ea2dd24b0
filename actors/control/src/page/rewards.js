// A card for each reward: its settings and its recent figures, with buttons to swap, add and remove rewards.

import { atMostEvery, byId, count, fill, h, number, setText } from "./dom.js";
import { latenciesOf, sparkline } from "./latency.js";
import { openAdd, openRemove, openSwap, startRewardDialog } from "./reward-dialog.js";
import { on } from "./signals.js";
import { hasEnded, idOf, label, rewardActor, selectedArms, store } from "./store.js";

const FORMS = { rust: "Rust", process: "process", http: "HTTP", python: "Python" };

const HINTS = { "mean score": "over the last step", missing: "missing scores in the last step", generation: "goes up with every swap and restart", latency: "mean of the last calls" };

const cards = new Map();

const makeCard = (name) => {
  const card = { form: h("span", { class: "chip" }), use: h("span", { class: "chip" }), toml: h("pre"), spark: h("div", { class: "spark-box" }), failure: h("p", { class: "failure" }), facts: new Map() };
  const fact = (text) => {
    const value = h("dd");
    card.facts.set(text, value);
    return h("div", { title: HINTS[text] }, h("dt", {}, text), value);
  };
  card.swap = h("button", { type: "button", on: { click: () => openSwap(name) } }, "Swap…");
  card.remove = h("button", { type: "button", class: "quiet", on: { click: () => openRemove(name) } }, "Remove…");
  card.node = h("article", { class: "card reward", "data-reward": name, "aria-label": `Reward ${name}` },
    h("header", {}, h("h3", {}, name), card.form, card.use),
    card.toml,
    h("dl", { class: "facts" }, ["mean score", "generation", "calls", "failures", "missing", "latency"].map(fact)),
    card.spark, card.failure,
    h("footer", {}, card.swap, card.remove));
  return card;
};

const showCard = (card, name, arm) => {
  const reward = arm.conditions.rewards[name];
  const id = idOf(arm);
  const latest = store.latest.get(id);
  const actor = rewardActor(id, name);
  const latencies = actor ? latenciesOf(id, actor.name) : [];
  setText(card.form, FORMS[reward.form] ?? reward.form ?? "");
  card.form.className = `chip ${reward.form && reward.form !== "rust" ? "accent" : ""}`;
  setText(card.use, reward.in_formula ? "in the formula" : "logged only");
  card.use.className = `chip ${reward.in_formula ? "good" : ""}`;
  setText(card.toml, reward.toml.trimEnd());
  const last = latest?.[`missing.${name}`];
  const facts = {
    "mean score": number(latest?.[`components.${name}`]),
    generation: count(actor?.generation ?? reward.generation ?? 0),
    calls: actor ? count(actor.calls) : "–",
    failures: actor ? count(actor.failures) : "–",
    missing: count(last || 0),
    latency: latencies.length ? `${number(latencies[latencies.length - 1])} ms` : "–",
  };
  for (const [text, value] of Object.entries(facts)) setText(card.facts.get(text), value);
  card.facts.get("failures").className = actor?.failures ? "bad" : "";
  card.facts.get("missing").className = last > 0 ? "bad" : "";
  fill(card.spark, sparkline(latencies));
  setText(card.failure, actor?.last_failure ? `last failure: ${actor.last_failure}` : "");
  card.failure.hidden = !actor?.last_failure;
  card.swap.disabled = card.remove.disabled = hasEnded(arm) || store.connection !== "live";
};

const render = atMostEvery(250, () => {
  const arms = selectedArms().filter((arm) => arm.conditions?.rewards);
  const [arm] = arms;
  byId("no-rewards").hidden = Boolean(arm);
  byId("add-reward").disabled = !arm || hasEnded(arm) || store.connection !== "live";
  if (!arm) return fill(byId("reward-cards"));
  setText(byId("rewards-of"), arms.length > 1 ? `Shown for ${label(arm)}; a change applies to all ${arms.length} selected arms.` : `Rewards of ${label(arm)}.`);
  const names = Object.keys(arm.conditions.rewards).sort();
  for (const name of cards.keys()) if (!names.includes(name)) cards.delete(name);
  for (const name of names) {
    if (!cards.has(name)) cards.set(name, makeCard(name));
    showCard(cards.get(name), name, arm);
  }
  const nodes = names.map((name) => cards.get(name).node);
  const area = byId("reward-cards");
  if (nodes.length !== area.children.length || nodes.some((node, at) => area.children[at] !== node)) fill(area, nodes);
});

export const startRewards = () => {
  startRewardDialog();
  byId("add-reward").addEventListener("click", openAdd);
  on("arms metrics latest actors scope connection", render);
};
