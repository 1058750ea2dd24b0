// One completion in full: the question, the completion with its thinking folded away, the terms of its reward, and the
// clip: its spectrogram, and a player.

import { clip, heardClip, spectrogram } from "./api.js";
import { bar, largest, sumBars } from "./bars.js";
import { fill, h, setText } from "./dom.js";

let playing = null;

const stopClip = () => {
  playing?.pause();
  if (playing) URL.revokeObjectURL(playing.src);
  playing?.remove();
  playing = null;
};

/** Stops the clip that is playing if its completion is no longer on the page. */
export const stopRemovedClip = () => {
  if (playing && !playing.isConnected) stopClip();
};

/** The spectrogram of what the model hears of a clip, drawn when it has arrived. */
const picture = (id, say) => {
  const canvas = h("canvas", { class: "mel", hidden: true, role: "img", "aria-label": "Spectrogram of what the model hears", title: "what the model hears: time from left to right, frequency upwards on the mel scale, 80 dB from dark to light" });
  const draw = async () => {
    try {
      const bitmap = await spectrogram(id);
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      bitmap.close();
      canvas.hidden = false;
    } catch (problem) {
      say(problem.message);
    }
  };
  draw();
  return canvas;
};

/** The spectrogram of what the model hears of a clip, and a player of that or of the file itself. */
const player = (id) => {
  const note = h("p", { class: "note bad" });
  const say = (text) => setText(note, text);
  const stage = h("div", {});
  let asked = 0;
  const play = async () => {
    const request = ++asked;
    say("");
    try {
      const source = await (itself.checked ? clip(id) : heardClip(id));
      // Meanwhile the other one was chosen, or the completion was taken from the page.
      if (request !== asked || !stage.isConnected) {
        URL.revokeObjectURL(source);
        return;
      }
      stopClip();
      playing = h("audio", { controls: true, src: source });
      playing.addEventListener("error", () => say("This browser cannot play the format of the file. What the model hears can be played."));
      fill(stage, playing);
      // What fails is told by the event; where a browser does not let the page start the clip, its controls do.
      playing.play().catch(() => {});
    } catch (problem) {
      if (request === asked) say(problem.message);
    }
  };
  const itself = h("input", { type: "checkbox", on: { change: () => stage.childElementCount && play() } });
  return h("div", { class: "clip" },
    picture(id, say),
    h("div", { class: "tools" },
      h("button", { type: "button", on: { click: play } }, "▶ Play what the model hears"),
      h("label", {}, itself, " the file itself")),
    stage, note);
};

/** The reward as the sum of the formula's terms. */
const reward = ({ reward, breakdown, weights_version: version }) => {
  if (version === null) return h("p", { class: "none" }, "Completions of evaluations have components, but no reward.");
  const why = !breakdown ? "The formula of this version is not known." : reward === null ? "No reward, because a score is missing." : null;
  return h("div", {},
    h("h3", {}, "Reward", h("span", {}, `weights version ${version}`)),
    sumBars(breakdown?.terms ?? [], "reward", reward),
    why && h("p", { class: "none" }, why));
};

const components = ({ components, breakdown }) => {
  const names = Object.keys(components);
  if (!names.length) return null;
  const most = largest(Object.values(components));
  const unused = (name) => Boolean(breakdown) && !breakdown.rewards.includes(name);
  const row = (name) => bar(name, components[name], most, { class: unused(name) ? "unused" : null, title: unused(name) ? "not in the formula" : null });
  return h("div", {},
    h("h3", {}, "Components", h("span", {}, "the score of each reward")),
    h("dl", { class: "bars" }, names.map(row)));
};

const choice = (text, line) => h("li", { class: [text === line.answer_gold && "gold", text === line.answer && "given"].filter(Boolean).join(" ") || null }, text, text === line.answer_gold && h("small", {}, " correct"));

/** All about a completion. */
export const breakdown = (line) => h("div", { class: "completion" },
  h("div", { class: "said" },
    h("p", { class: "question" }, line.question),
    line.choices.length > 0 && h("ul", { class: "choices" }, line.choices.map((text) => choice(text, line))),
    line.think !== null && h("details", { class: "think" }, h("summary", {}, "<think>"), h("pre", {}, line.think)),
    h("p", { class: "answer" }, h("span", {}, "answer "), h("b", { class: line.correct ? "good" : "bad" }, line.answer ?? "none in a valid form"), line.answer !== line.answer_gold && h("span", {}, ` · correct: ${line.answer_gold}`)),
    h("details", {}, h("summary", {}, "full text"), h("pre", {}, line.completion)),
    line.audio && player(line.audio),
    h("p", { class: "path" }, `${line.id} · group ${line.group}, completion ${line.index} · ${[line.difficulty, line.kind].filter(Boolean).join(", ")} · policy version ${line.policy_version} · ${line.tokens} tokens${line.truncated ? ", truncated" : ""}`),
    h("p", { class: "path" }, line.audio_path)),
  h("div", { class: "why" }, reward(line), components(line)));
