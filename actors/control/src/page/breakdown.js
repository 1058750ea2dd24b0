// One completion, opened: the question, what was written with the thinking folded, what each term of the formula
// added to the reward, and the clip to play.

import { clip } from "./api.js";
import { exact, fill, h, number } from "./dom.js";
import { namesIn, takeApart } from "./formula.js";
import { conditionsAt } from "./store.js";

let playing = null;

/** Ends what is playing; its rows are about to go. */
export const stopClip = () => {
  playing?.pause();
  if (playing) URL.revokeObjectURL(playing.src);
  playing = null;
};

const player = (id) => {
  const area = h("div", { class: "clip" });
  const button = h("button", { type: "button", on: { click: async () => {
    button.disabled = true;
    try {
      const source = await clip(id);
      stopClip();
      playing = h("audio", { controls: true, src: source });
      playing.addEventListener("error", () => fill(area, h("p", { class: "note bad" }, "This browser cannot play the clip's format.")));
      fill(area, playing);
      await playing.play();
    } catch (problem) {
      area.append(h("p", { class: "note bad" }, problem.message));
      button.disabled = false;
    }
  } } }, "▶ Play the clip");
  area.append(button);
  return area;
};

const bar = (text, value, most, extra = {}) => {
  const share = value === null || Number.isNaN(value) ? 0 : Math.min(1, Math.abs(value) / most);
  return h("div", extra,
    h("dt", {}, text),
    h("dd", {}, h("span", { class: "track" }, h("i", { class: value < 0 ? "negative" : "", vars: { "--share": share } })), h("b", { title: exact(value) }, number(value))));
};

/** The reward as the sum of the formula's terms, under the weights that made it. */
const sum = (line, id) => {
  if (line.reward === null && line.weights_version === null) return h("p", { class: "none" }, "An evaluation: components are not shaped into a reward.");
  const conditions = conditionsAt(id, line.weights_version);
  const parts = conditions && takeApart(conditions, line.components);
  const most = Math.max(1e-9, ...(parts ?? []).map(({ value }) => Math.abs(value) || 0), Math.abs(line.reward ?? 0));
  const total = (parts ?? []).reduce((whole, { value }) => whole + value, 0);
  const agrees = line.reward !== null && Math.abs(total - line.reward) < 1e-6 * Math.max(1, Math.abs(line.reward));
  return h("div", {},
    h("h3", {}, "Reward", h("span", {}, `weights version ${line.weights_version}`)),
    h("dl", { class: "bars" },
      agrees && parts.length > 1 && parts.map(({ text, value }) => bar(h("code", {}, text), value, most)),
      bar(h("b", {}, agrees && parts.length > 1 ? "= reward" : "reward"), line.reward, most, { class: "whole" })),
    !agrees && line.reward !== null && conditions && h("p", { class: "none" }, h("code", {}, conditions.formula)));
};

const scores = (line, id) => {
  const names = Object.keys(line.components);
  if (!names.length) return null;
  const used = namesIn(conditionsAt(id, line.weights_version)?.formula ?? "");
  const most = Math.max(1e-9, ...names.map((name) => Math.abs(line.components[name] ?? 0)));
  return h("div", {},
    h("h3", {}, "Components", h("span", {}, "the score of each reward")),
    h("dl", { class: "bars" }, names.map((name) => bar(name, line.components[name], most, { class: used.size && !used.has(name) ? "unused" : null, title: used.size && !used.has(name) ? "not in the formula" : null }))));
};

const choice = (text, line) => h("li", { class: [text === line.answer_gold && "gold", text === line.answer && "given"].filter(Boolean).join(" ") || null }, text, text === line.answer_gold && h("small", {}, " right"));

/** The whole of a completion. */
export const breakdown = (line, id) => h("div", { class: "completion" },
  h("div", { class: "said" },
    h("p", { class: "question" }, line.question),
    line.choices.length > 0 && h("ul", { class: "choices" }, line.choices.map((text) => choice(text, line))),
    line.think !== null && h("details", { class: "think" }, h("summary", {}, "<think>"), h("pre", {}, line.think)),
    h("p", { class: "answer" }, h("span", {}, "answered "), h("b", { class: line.correct ? "good" : "bad" }, line.answer ?? "nothing in the form asked for"), line.answer !== line.answer_gold && h("span", {}, ` · right: ${line.answer_gold}`)),
    h("details", {}, h("summary", {}, "as written"), h("pre", {}, line.completion)),
    line.audio && player(line.audio),
    h("p", { class: "path" }, `${line.id} · group ${line.group}, completion ${line.index} · ${[line.difficulty, line.kind].filter(Boolean).join(", ")} · policy version ${line.policy_version} · ${line.tokens} tokens${line.truncated ? ", cut off" : ""}`),
    h("p", { class: "path" }, line.audio_path)),
  h("div", { class: "why" }, sum(line, id), scores(line, id)));
