// What is drawn in a plot: axes, lines, bands, dots and marks. `frame` has the scales and the edges of the plot.

import { AXES } from "./axis.js";
import { inks } from "./inks.js";
import { ticks } from "./series.js";
import { view } from "./view.js";

const DASHES = [[], [6, 4], [2, 3], [8, 3, 2, 3]];

const short = (value) => {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(0).replace("-", "−").replace("e+", "e");
  return String(Number(value.toPrecision(3))).replace("-", "−");
};

export const drawAxes = (pen, frame, low, high) => {
  const { x, y, from, to, left, right, bottom } = frame;
  pen.lineWidth = 1;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  for (const mark of ticks(low, high, 4)) {
    pen.strokeStyle = inks.grid;
    pen.beginPath();
    pen.moveTo(left, y(mark));
    pen.lineTo(right, y(mark));
    pen.stroke();
    pen.fillStyle = inks.soft;
    pen.fillText(short(mark), left - 6, y(mark));
  }
  pen.textBaseline = "top";
  pen.textAlign = "center";
  for (const mark of ticks(from, to, Math.max(2, (right - left) / 90))) {
    const at = Math.min(Math.max(x(mark), left + 8), right - 12);
    pen.fillText(AXES[view.axis].text(mark), at, bottom + 6);
  }
};

const take = (pen, line, alpha, width) => {
  pen.strokeStyle = inks[line.colour];
  pen.fillStyle = inks[line.colour];
  pen.globalAlpha = alpha;
  pen.lineWidth = width;
  pen.lineJoin = "bevel";
  pen.setLineDash(alpha === 1 ? DASHES[line.dash % DASHES.length] : []);
};

const putBack = (pen) => {
  pen.globalAlpha = 1;
  pen.setLineDash([]);
};

/** Draws a line through the values that there are. */
export const drawLine = (pen, { x, y }, line, values, alpha, width) => {
  take(pen, line, alpha, width);
  pen.beginPath();
  let open = false;
  let last = 0;
  for (let at = line.first; at < line.end; at++) {
    if (Number.isNaN(values[at])) {
      open = false;
      continue;
    }
    last = x(line.xs[at]);
    if (open) pen.lineTo(last, y(values[at]));
    else {
      // A point without neighbours is a dot.
      pen.moveTo(last, y(values[at]));
      pen.lineTo(last + 0.5, y(values[at]));
    }
    open = true;
  }
  pen.stroke();
  putBack(pen);
};

/** Fills what lies between `low` and `high`. */
export const drawBand = (pen, { x, y }, line) => {
  take(pen, line, 0.16, 0);
  const fill = (from, to) => {
    if (to - from < 2) return;
    pen.beginPath();
    for (let at = from; at < to; at++) pen.lineTo(x(line.xs[at]), y(line.high[at]));
    for (let at = to - 1; at >= from; at--) pen.lineTo(x(line.xs[at]), y(line.low[at]));
    pen.closePath();
    pen.fill();
  };
  let from = line.first;
  for (let at = line.first; at < line.end; at++) {
    if (!Number.isNaN(line.low[at])) continue;
    fill(from, at);
    from = at + 1;
  }
  fill(from, line.end);
  putBack(pen);
};

/** Draws dots that a thin line connects. */
export const drawDots = (pen, { x, y }, line) => {
  take(pen, line, 0.45, 1);
  pen.beginPath();
  for (let at = line.first; at < line.end; at++) if (!Number.isNaN(line.values[at])) pen.lineTo(x(line.xs[at]), y(line.values[at]));
  pen.stroke();
  pen.globalAlpha = 1;
  pen.strokeStyle = inks.card;
  pen.lineWidth = 1.4;
  for (let at = line.first; at < line.end; at++) {
    if (Number.isNaN(line.values[at])) continue;
    pen.beginPath();
    pen.arc(x(line.xs[at]), y(line.values[at]), 3.6, 0, 7);
    pen.fill();
    pen.stroke();
  }
};

/** Draws the changes of the journal as triangles, and bookmarks as squares. */
export const drawMarks = (pen, { marks, x, from, to, bottom }) => {
  pen.lineWidth = 1;
  for (const mark of marks) {
    if (mark.x < from || mark.x > to) continue;
    const at = Math.round(x(mark.x)) + 0.5;
    pen.strokeStyle = pen.fillStyle = mark.bookmark ? inks.accent : inks.mark;
    pen.globalAlpha = 0.5;
    pen.beginPath();
    pen.moveTo(at, 8);
    pen.lineTo(at, bottom);
    pen.stroke();
    pen.globalAlpha = 1;
    pen.beginPath();
    if (mark.bookmark) pen.rect(at - 3.5, 2, 7, 7);
    else {
      pen.moveTo(at - 4, 2);
      pen.lineTo(at + 4, 2);
      pen.lineTo(at, 9);
    }
    pen.fill();
  }
};
