// The part of the axis that all plots show, and the place under the cursor, which all plots share.

import { AXES } from "./axis.js";
import { emit } from "./signals.js";

/** `null` shows everything, `{ last }` the newest steps, and `{ from, to }` a fixed range. */
let choice = null;
let extent = [0, 2];

export const view = {
  /** What the curves are aligned by; see `AXES`. */
  axis: "step",

  /** The place under the pointer or under the keyboard cursor, in the unit of the axis; null if there is none. */
  cursor: null,

  /** The first and last place shown. */
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

  /** Sets the first and last place that have metrics. */
  setExtent(first, last) {
    extent = [first, Math.max(last, first + (AXES[view.axis].whole ? 1 : 0.01))];
  },

  /** Aligns the curves by something else, and shows all of them. */
  setAxis(axis) {
    view.axis = axis;
    view.cursor = null;
    choice = null;
    emit("axis");
  },

  /** Shows a choice as a link has it. */
  restore(given) {
    choice = given;
    emit("view");
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
    const whole = extent[1] - extent[0];
    const width = Math.max(view.axis === "step" ? 4 : whole / 2000, Math.min(to - from, whole));
    const start = Math.min(Math.max(from, extent[0]), extent[1] - width);
    choice = { from: start, to: start + width };
    if (width >= whole) choice = null;
    emit("view");
  },

  /** Shows `factor` times as much; the place `about` keeps its place. */
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

  setCursor(place) {
    const snapped = place !== null && AXES[view.axis].whole ? Math.round(place) : place;
    if (view.cursor === snapped) return;
    view.cursor = snapped;
    emit("cursor");
  },
};
