// The steps that all plots show, and the step under the cursor, which all plots share.

import { emit } from "./signals.js";

/** `null` shows all steps, `{ last }` the newest ones, and `{ from, to }` a fixed range. */
let choice = null;
let extent = [1, 2];

export const view = {
  /** The step under the pointer or under the keyboard cursor; null if there is none. */
  cursor: null,

  /** The first and last step shown. */
  get range() {
    if (!choice) return extent;
    if (choice.last) return [Math.max(extent[0], extent[1] - choice.last), extent[1]];
    return [choice.from, choice.to];
  },

  get choice() {
    return choice;
  },

  /** Whether a fixed range is shown. */
  get zoomed() {
    return Boolean(choice && !choice.last);
  },

  /** Sets the first and last step that have metrics. */
  setExtent(first, last) {
    extent = [first, Math.max(last, first + 1)];
  },

  all() {
    choice = null;
    emit("view");
  },

  last(steps) {
    choice = { last: steps };
    emit("view");
  },

  show(from, to) {
    const width = Math.max(4, Math.min(to - from, extent[1] - extent[0]));
    const start = Math.min(Math.max(from, extent[0]), extent[1] - width);
    choice = { from: start, to: start + width };
    if (width >= extent[1] - extent[0]) choice = null;
    emit("view");
  },

  /** Shows `factor` times as many steps; the step `about` keeps its place. */
  zoom(factor, about) {
    const [from, to] = view.range;
    const middle = about ?? (from + to) / 2;
    view.show(middle - (middle - from) * factor, middle + (to - middle) * factor);
  },

  /** Moves by a share of the range. */
  pan(share) {
    const [from, to] = view.range;
    view.show(from + share * (to - from), to + share * (to - from));
  },

  setCursor(step) {
    if (view.cursor === step) return;
    view.cursor = step;
    emit("cursor");
  },
};
