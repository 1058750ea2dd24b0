// Draws one plot: lines by step on a canvas, with the changes of the journal as marks. The cursor is drawn on a second
// canvas above it, so that moving the cursor redraws no line.

import { count, h, number } from "./dom.js";
import { listen } from "./gestures.js";
import { extremes, lowerBound, nearest, smooth, ticks } from "./series.js";
import { on } from "./signals.js";
import { showTip } from "./tip.js";
import { view } from "./view.js";

const PAD = { left: 46, right: 10, top: 14, bottom: 20 };
const HEIGHT = 190;

let inks = {};
const readInks = () => {
  const style = getComputedStyle(document.body);
  const probe = h("i", { hidden: true });
  document.body.append(probe);
  const ink = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  inks = Object.fromEntries(["grid", "faint", "soft", "card", "accent", "ink", "mark", ...[0, 1, 2, 3, 4, 5, 6, 7].map((n) => `c${n}`)].map((name) => [name, ink(name)]));
  inks.font = `11px ${style.fontFamily || "sans-serif"}`;
  probe.remove();
};
on("theme", readInks);

const DASHES = [[], [6, 4], [2, 3], [8, 3, 2, 3]];

export class Plot {
  /**
   * `source` is called at every drawing and returns `{ lines, marks, span }`: lines are `{ label, colour, dash, steps,
   * values, points }`, where `points` means dots, for evaluations; marks are `{ step, text }`; `span` is the number of
   * steps to smooth over.
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

  /** Draws at the next frame, or when the plot becomes visible. */
  redraw() {
    this.stale = true;
    if (!this.visible || this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.draw();
    });
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

  draw() {
    if (!inks.font) readInks();
    this.stale = false;
    const width = this.frame.clientWidth;
    if (!width) return;
    const { lines, marks, span } = this.source();
    const [from, to] = view.range;
    for (const line of lines) {
      line.first = Math.max(0, lowerBound(line.steps, from) - 1);
      line.end = Math.min(line.steps.length, lowerBound(line.steps, to + 1e-9) + 1);
      line.main = line.points ? line.values : smooth(line.steps, line.values, span);
    }
    const spread = lines.map((line) => extremes(line.main, line.first, line.end)).filter(Boolean);
    let low = Math.min(...spread.map(([least]) => least));
    let high = Math.max(...spread.map(([, most]) => most));
    if (!spread.length) [low, high] = [0, 1];
    const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 0.5;
    [low, high] = [low >= 0 && low - room < 0 ? 0 : low - room, high + room];
    const right = width - PAD.right;
    const bottom = HEIGHT - PAD.bottom;
    this.drawn = {
      lines, marks, from, to, left: PAD.left, right, bottom,
      x: (step) => PAD.left + ((step - from) / (to - from)) * (right - PAD.left),
      y: (value) => bottom - ((value - low) / (high - low)) * (bottom - PAD.top),
      step: (x) => from + ((x - PAD.left) / (right - PAD.left)) * (to - from),
    };
    const pen = this.size(this.canvas);
    this.drawAxes(pen, low, high);
    pen.save();
    pen.beginPath();
    pen.rect(PAD.left, 0, right - PAD.left, bottom + 2);
    pen.clip();
    // The unsmoothed values behind the smoothed ones, if there are few lines.
    const raw = span > 1 && lines.filter((line) => !line.points).length <= 4;
    for (const line of lines) if (raw && !line.points) this.drawLine(pen, line, line.values, 0.22, 1);
    for (const line of lines) if (!line.points) this.drawLine(pen, line, line.main, 1, 1.8);
    for (const line of lines) if (line.points) this.drawPoints(pen, line);
    pen.restore();
    this.drawMarks(pen);
    this.drawCursor();
    this.describe();
  }

  drawAxes(pen, low, high) {
    const { x, y, from, to, right, bottom } = this.drawn;
    pen.lineWidth = 1;
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    for (const mark of ticks(low, high, 4)) {
      pen.strokeStyle = inks.grid;
      pen.beginPath();
      pen.moveTo(PAD.left, y(mark));
      pen.lineTo(right, y(mark));
      pen.stroke();
      pen.fillStyle = inks.soft;
      pen.fillText(short(mark), PAD.left - 6, y(mark));
    }
    pen.textBaseline = "top";
    pen.textAlign = "center";
    for (const mark of ticks(from, to, Math.max(2, (right - PAD.left) / 90))) {
      const at = Math.min(Math.max(x(mark), PAD.left + 8), right - 12);
      pen.fillText(count(mark), at, bottom + 6);
    }
  }

  pen(pen, line, alpha, width) {
    pen.strokeStyle = inks[line.colour];
    pen.fillStyle = inks[line.colour];
    pen.globalAlpha = alpha;
    pen.lineWidth = width;
    pen.lineJoin = "round";
    pen.setLineDash(alpha === 1 ? DASHES[line.dash % DASHES.length] : []);
  }

  /** Draws a line. Where several points share a pixel, it covers their whole range. */
  drawLine(pen, line, values, alpha, width) {
    const { x, y } = this.drawn;
    this.pen(pen, line, alpha, width);
    pen.beginPath();
    let open = false;
    for (let at = line.first; at < line.end; ) {
      const pixel = Math.round(x(line.steps[at]));
      let [least, most, first, last] = [Infinity, -Infinity, NaN, NaN];
      for (; at < line.end && Math.round(x(line.steps[at])) === pixel; at++) {
        const value = values[at];
        if (Number.isNaN(value)) continue;
        if (Number.isNaN(first)) first = value;
        last = value;
        if (value < least) least = value;
        if (value > most) most = value;
      }
      if (Number.isNaN(first)) {
        open = false;
        continue;
      }
      if (open) pen.lineTo(pixel, y(first));
      else pen.moveTo(pixel, y(first));
      if (least < most) {
        pen.lineTo(pixel, y(least));
        pen.lineTo(pixel, y(most));
        pen.lineTo(pixel, y(last));
      } else if (!open) pen.lineTo(pixel + 0.5, y(first));
      open = true;
    }
    pen.stroke();
    pen.globalAlpha = 1;
    pen.setLineDash([]);
  }

  drawPoints(pen, line) {
    const { x, y } = this.drawn;
    this.pen(pen, line, 0.45, 1);
    pen.beginPath();
    for (let at = line.first; at < line.end; at++) pen.lineTo(x(line.steps[at]), y(line.values[at]));
    pen.stroke();
    pen.globalAlpha = 1;
    for (let at = line.first; at < line.end; at++) {
      pen.beginPath();
      pen.arc(x(line.steps[at]), y(line.values[at]), 3.6, 0, 7);
      pen.fill();
      pen.strokeStyle = inks.card;
      pen.lineWidth = 1.4;
      pen.stroke();
    }
  }

  drawMarks(pen) {
    const { marks, x, from, to, bottom } = this.drawn;
    pen.strokeStyle = inks.mark;
    pen.fillStyle = inks.mark;
    pen.lineWidth = 1;
    for (const mark of marks) {
      if (mark.step < from || mark.step > to) continue;
      const at = Math.round(x(mark.step)) + 0.5;
      pen.globalAlpha = 0.5;
      pen.beginPath();
      pen.moveTo(at, 8);
      pen.lineTo(at, bottom);
      pen.stroke();
      pen.globalAlpha = 1;
      pen.beginPath();
      pen.moveTo(at - 4, 2);
      pen.lineTo(at + 4, 2);
      pen.lineTo(at, 9);
      pen.fill();
    }
  }

  /** The values at the cursor, largest first. */
  readings() {
    const { lines, from, to } = this.drawn;
    return lines
      .map((line) => {
        const at = nearest(line.steps, view.cursor);
        const step = line.steps[at];
        const reach = Math.max(line.points ? (to - from) / 40 : 0, 2 * ((line.steps[at] ?? 0) - (line.steps[at - 1] ?? 0)), 1);
        return { line, step, value: line.main[at], raw: line.values[at], near: Math.abs(step - view.cursor) <= reach };
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
    for (const { line, step, value } of this.readings()) {
      pen.beginPath();
      pen.arc(x(step), y(value), 3.4, 0, 7);
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
    const values = this.readings().map(({ line, value }) => ({ label: line.label, colour: line.colour, dot: line.points, value }));
    showTip({ step: view.cursor, values, notes: marks.filter((mark) => Math.abs(x(mark.step) - at) < 6).map(({ text }) => text) }, clientX, clientY);
  }

  describe() {
    const ends = this.drawn.lines
      .filter((line) => line.end > line.first)
      .map((line) => `${line.label} ${number(line.main[Math.min(line.end, line.main.length) - 1])}`);
    this.over.setAttribute("aria-label", `${this.title}, steps ${count(this.drawn.from)} to ${count(this.drawn.to)}: ${ends.slice(0, 12).join(", ") || "no values"}`);
  }
}

const short = (value) => {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(0).replace("-", "−").replace("e+", "e");
  return String(Number(value.toPrecision(3))).replace("-", "−");
};
