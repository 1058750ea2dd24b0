// The steps that all plots show, and the step under the pointer: shared, so that the plots move as one.

import { emit } from "./store.js";

/** `null` shows all steps; `{ last }` follows the newest ones; `{ from, to }` stays where it is. */
let wanted = null;
let extent = [1, 2];

export const view = {
  /** The step under the pointer or the keyboard's cursor; null if there is none. */
  cursor: null,

  /** The first and last step shown. */
  get range() {
    if (!wanted) return extent;
    if (wanted.last) return [Math.max(extent[0], extent[1] - wanted.last), extent[1]];
    return [wanted.from, wanted.to];
  },

  get wanted() {
    return wanted;
  },

  /** Whether it is a stretch that somebody chose. */
  get zoomed() {
    return Boolean(wanted && !wanted.last);
  },

  /** The first and last step there are. */
  setExtent(first, last) {
    extent = [first, Math.max(last, first + 1)];
  },

  all() {
    wanted = null;
    emit("view");
  },

  last(steps) {
    wanted = { last: steps };
    emit("view");
  },

  show(from, to) {
    const width = Math.max(4, Math.min(to - from, extent[1] - extent[0]));
    const start = Math.min(Math.max(from, extent[0]), extent[1] - width);
    wanted = { from: start, to: start + width };
    if (width >= extent[1] - extent[0]) wanted = null;
    emit("view");
  },

  /** Shows `factor` times as many steps, with `about` where it is. */
  zoom(factor, about) {
    const [from, to] = view.range;
    const middle = about ?? (from + to) / 2;
    view.show(middle - (middle - from) * factor, middle + (to - middle) * factor);
  },

  /** Moves by a share of the width. */
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
