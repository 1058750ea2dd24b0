// What curves are aligned by: the step, the tokens that were trained on until then, or the time that the steps took.

import { count } from "./dom.js";

const compact = (value) => (value >= 1e6 ? `${Number((value / 1e6).toPrecision(3))} M` : value >= 1e4 ? `${Number((value / 1e3).toPrecision(3))} k` : count(value));

const duration = (seconds) => {
  if (seconds < 120) return `${Number(seconds.toPrecision(3))} s`;
  if (seconds < 7200) return `${Number((seconds / 60).toPrecision(3))} min`;
  return `${Number((seconds / 3600).toPrecision(3))} h`;
};

/** By their name in links and in the API: the word on the button, the noun, and a place on the axis in words. */
export const AXES = {
  step: { button: "steps", noun: "step", text: (value) => count(Math.max(0, value)), whole: true },
  tokens: { button: "tokens", noun: "tokens", text: compact, whole: true },
  seconds: { button: "time", noun: "time", text: duration, whole: false },
};
