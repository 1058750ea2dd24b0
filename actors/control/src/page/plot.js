// Draws one plot: lines along the axis on a canvas, with changes and bookmarks as marks. The cursor is drawn on a second
// canvas above it, so that moving the cursor redraws no line.

import { AXES } from "./axis.js";
import { h, number } from "./dom.js";
import { inAFrame } from "./frames.js";
import { listen } from "./gestures.js";
import { inks } from "./inks.js";
import { extremes, lowerBound, nearest, smooth } from "./series.js";
import { drawAxes, drawBand, drawDots, drawLine, drawMarks } from "./strokes.js";
import { showTip } from "./tip.js";
import { view } from "./view.js";

const PAD = { left: 46, right: 10, top: 14, bottom: 20 };
const HEIGHT = 190;
/** The time after which new values are drawn although they lie within a pixel, in ms. */
const LATEST = 10_000;

/** The smallest and the largest value in the range shown, with some room; `null` without lines. */
export const spreadOf = (lines, from, to) => {
  const spread = lines.flatMap(({ xs, values, low, high }) => {
    const [first, end] = [lowerBound(xs, from), lowerBound(xs, to)];
    return [values, low, high].filter(Boolean).map((column) => extremes(column, first, Math.min(end + 1, column.length))).filter(Boolean);
  });
  if (!spread.length) return null;
  const low = Math.min(...spread.map(([least]) => least));
  const high = Math.max(...spread.map(([, most]) => most));
  const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 0.5;
  return [low >= 0 && low - room < 0 ? 0 : low - room, high + room];
};

export class Plot {
  /**
   * `source` is called at every drawing and returns `{ lines, marks, span, width, spread }`. A line is `{ label, colour, dash,
   * xs, values, low, high, dots, behind }`: `low` and `high` are its band, `dots` means evaluations, and a line `behind` is drawn
   * faintly and has no reading. A mark is `{ x, text, bookmark }`, `span` what is smoothed over, `width` what a point covers, and
   * `spread` the values from bottom to top, if plots share them.
   */
  constructor(title, hint, source) {
    this.source = source;
    this.title = title;
    this.canvas = h("canvas", { "aria-hidden": true });
    this.over = h("canvas", { tabindex: 0, role: "img", class: "over", "aria-label": title });
    this.frame = h("div", { class: "plot" }, this.canvas, this.over);
    this.figure = h("figure", {}, h("figcaption", {}, title, hint && h("span", {}, hint)), this.frame);
    this.visible = false;
    this.stale = true;
    this.drawn = null;
    new ResizeObserver(() => this.redraw()).observe(this.frame);
    new IntersectionObserver(([entry]) => {
      this.visible = entry.isIntersecting;
      if (this.visible && this.stale) this.redraw();
    }, { rootMargin: "200px" }).observe(this.frame);
    listen(this);
  }

  /** Draws in one of the next frames, or when the plot becomes visible. */
  redraw() {
    this.stale = true;
    if (this.visible) inAFrame(this.draw);
  }

  /** Draws if the axis has moved by a pixel since the last time, or if that was a while ago. */
  follow() {
    const [from, to] = view.range;
    const { drawn } = this;
    if (drawn) {
      const moved = Math.max(Math.abs(from - drawn.from), Math.abs(to - drawn.to)) / (drawn.to - drawn.from);
      if (moved * (drawn.right - drawn.left) < 1 && performance.now() - drawn.time < LATEST) return;
    }
    this.redraw();
  }

  size(canvas) {
    const scale = devicePixelRatio || 1;
    const width = this.frame.clientWidth;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(HEIGHT * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(HEIGHT * scale);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, HEIGHT);
    pen.font = inks.font;
    return pen;
  }

  draw = () => {
    const width = this.frame.clientWidth;
    if (!width || !this.source) return;
    this.stale = false;
    const { lines, marks, span, width: covers, spread } = this.source();
    const [from, to] = view.range;
    for (const line of lines) {
      line.main = line.dots ? line.values : smooth(line.xs, line.values, span, covers);
      line.first = Math.max(0, lowerBound(line.xs, from) - 1);
      line.end = Math.min(line.xs.length, lowerBound(line.xs, to) + 2);
    }
    const [low, high] = spread ?? spreadOf(lines, from, to) ?? [0, 1];
    const right = width - PAD.right;
    const bottom = HEIGHT - PAD.bottom;
    this.drawn = {
      lines, marks, from, to, left: PAD.left, right, bottom, time: performance.now(),
      x: (place) => PAD.left + ((place - from) / (to - from)) * (right - PAD.left),
      y: (value) => bottom - ((value - low) / (high - low)) * (bottom - PAD.top),
      place: (x) => from + ((x - PAD.left) / (right - PAD.left)) * (to - from),
    };
    const pen = this.size(this.canvas);
    drawAxes(pen, this.drawn, low, high);
    pen.save();
    pen.beginPath();
    pen.rect(PAD.left, 0, right - PAD.left, bottom + 2);
    pen.clip();
    const front = lines.filter((line) => !line.dots && !line.behind);
    for (const line of lines) if (line.behind) drawLine(pen, this.drawn, line, line.main, 0.55, 1.4);
    for (const line of front) if (line.low) drawBand(pen, this.drawn, line);
    // The unsmoothed values behind the smoothed ones, if there are few lines.
    const raw = span > covers && front.length <= 4;
    for (const line of front) if (raw) drawLine(pen, this.drawn, line, line.values, 0.22, 1);
    for (const line of front) drawLine(pen, this.drawn, line, line.main, 1, 1.8);
    for (const line of lines) if (line.dots) drawDots(pen, this.drawn, line);
    pen.restore();
    drawMarks(pen, this.drawn);
    this.drawCursor();
    this.describe();
  };

  /** The values at the cursor, largest first. */
  readings() {
    const { lines, from, to } = this.drawn;
    return lines
      .map((line) => {
        const at = nearest(line.xs, view.cursor);
        const place = line.xs[at];
        const reach = Math.max(line.dots ? (to - from) / 40 : 0, 2 * ((line.xs[at] ?? 0) - (line.xs[at - 1] ?? 0)), (to - from) / 200);
        return { line, place, value: line.main[at], near: Math.abs(place - view.cursor) <= reach };
      })
      .filter(({ value, near }) => near && value !== undefined && !Number.isNaN(value))
      .sort((a, b) => b.value - a.value);
  }

  drawCursor() {
    if (!this.drawn || !this.visible) return;
    const pen = this.size(this.over);
    const { x, y, right, bottom } = this.drawn;
    if (this.drag) {
      pen.fillStyle = inks.accent;
      pen.globalAlpha = 0.14;
      pen.fillRect(Math.min(this.drag.start, this.drag.now), PAD.top - 6, Math.abs(this.drag.now - this.drag.start), bottom - PAD.top + 6);
      pen.globalAlpha = 1;
    }
    if (view.cursor === null) return;
    const at = x(view.cursor);
    if (at < PAD.left - 1 || at > right + 1) return;
    pen.strokeStyle = inks.faint;
    pen.setLineDash([2, 2]);
    pen.beginPath();
    pen.moveTo(at, PAD.top - 6);
    pen.lineTo(at, bottom);
    pen.stroke();
    pen.setLineDash([]);
    for (const { line, place, value } of this.readings()) {
      pen.beginPath();
      pen.arc(x(place), y(value), 3.4, 0, 7);
      pen.fillStyle = inks[line.colour];
      pen.fill();
      pen.strokeStyle = inks.card;
      pen.lineWidth = 1.5;
      pen.stroke();
    }
  }

  /** Shows the values at the cursor beside a point of the window. */
  showTip(clientX, clientY) {
    const { marks, x } = this.drawn;
    const at = x(view.cursor);
    const values = this.readings().map(({ line, value }) => ({ label: line.label, colour: line.colour, dot: line.dots, value }));
    const notes = marks.filter((mark) => Math.abs(x(mark.x) - at) < 6).map(({ text, bookmark }) => `${bookmark ? "■" : "▾"} ${text}`);
    const { noun, text } = AXES[view.axis];
    showTip({ title: view.axis === "tokens" ? `${text(view.cursor)} tokens` : `${noun} ${text(view.cursor)}`, values, notes }, clientX, clientY);
  }

  describe() {
    const ends = this.drawn.lines
      .filter((line) => line.end > line.first && !line.behind)
      .map((line) => `${line.label} ${number(line.main[Math.min(line.end, line.main.length) - 1])}`);
    const { noun, text } = AXES[view.axis];
    this.over.setAttribute("aria-label", `${this.title}, ${noun} ${text(this.drawn.from)} to ${text(this.drawn.to)}: ${ends.slice(0, 12).join(", ") || "no values"}`);
  }
}
