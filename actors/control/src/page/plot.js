// One plot: lines by step on a canvas, the journal's changes as marks, and the values under the pointer. Zooming
// and moving go to the shared view. A second canvas above holds the cursor, so that hovering redraws no line.

import { count, h, number } from "./dom.js";
import { extremes, lowerBound, nearest, smooth, ticks } from "./series.js";
import { on } from "./store.js";
import { view } from "./view.js";

const PAD = { left: 46, right: 10, top: 14, bottom: 20 };
const HEIGHT = 190;

const tip = h("div", { id: "tip", hidden: true });
document.body.append(tip);

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
   * `source` gives, at every drawing, `{ lines, marks, span }`: lines are `{ label, colour, dash, steps, values,
   * points }` (`points`: drawn as dots, for evaluations), marks `{ step, text }`.
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
    this.listen();
  }

  /** Draws at the next frame, or when it comes into sight. */
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
      lines, marks, from, to, right, bottom,
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
    // What was measured, behind its mean, as long as there are few enough lines to see it.
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

  /** A line; where several points share a pixel, from the least to the most of them. */
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

  /** What stands at the cursor, largest first. */
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

  showTip(clientX, clientY) {
    const { marks, x } = this.drawn;
    const at = x(view.cursor);
    const near = marks.filter((mark) => Math.abs(x(mark.step) - at) < 6);
    const rows = this.readings().map(({ line, value }) =>
      h("div", {}, h("span", {}, h("i", { class: `swatch ${line.colour}${line.points ? " round" : ""}` }), line.label), h("b", {}, number(value))));
    const notes = near.slice(-4).map((mark) => h("p", {}, `▾ ${mark.text}`));
    if (near.length > 4) notes.unshift(h("p", {}, `${near.length - 4} earlier changes here`));
    tip.replaceChildren(h("div", { class: "at" }, `step ${count(Math.max(0, view.cursor))}`), ...rows.slice(0, 14), ...notes);
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = clientX + 16 + width < innerWidth ? clientX + 16 : clientX - 16 - width;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, Math.min(clientY + 14, innerHeight - height - 4))}px`;
  }

  describe() {
    const ends = this.drawn.lines
      .filter((line) => line.end > line.first)
      .map((line) => `${line.label} ${number(line.main[Math.min(line.end, line.main.length) - 1])}`);
    this.over.setAttribute("aria-label", `${this.title}, steps ${count(this.drawn.from)} to ${count(this.drawn.to)}: ${ends.slice(0, 12).join(", ") || "nothing yet"}`);
  }

  leave() {
    tip.hidden = true;
    view.setCursor(null);
  }

  listen() {
    const { over } = this;
    const place = (event) => event.clientX - over.getBoundingClientRect().left;
    over.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.drawn) return;
      over.setPointerCapture(event.pointerId);
      const start = place(event);
      if (event.shiftKey) this.moving = { start, range: view.range };
      else this.drag = { start, now: start };
    });
    over.addEventListener("pointermove", (event) => {
      if (!this.drawn) return;
      const now = place(event);
      if (this.moving) {
        const [from, to] = this.moving.range;
        const by = ((this.moving.start - now) / (this.drawn.right - PAD.left)) * (to - from);
        view.show(from + by, to + by);
        return;
      }
      if (this.drag) this.drag.now = Math.min(Math.max(now, PAD.left), this.drawn.right);
      const step = Math.round(this.drawn.step(now));
      if (step < this.drawn.from - 1 || step > this.drawn.to + 1) return this.leave();
      view.setCursor(step);
      this.drawCursor();
      this.showTip(event.clientX, event.clientY);
    });
    const release = () => {
      const { drag } = this;
      this.moving = this.drag = null;
      if (drag && Math.abs(drag.now - drag.start) > 6) {
        const ends = [this.drawn.step(drag.start), this.drawn.step(drag.now)].sort((a, b) => a - b);
        view.show(Math.floor(ends[0]), Math.ceil(ends[1]));
      }
      this.drawCursor();
    };
    over.addEventListener("pointerup", release);
    over.addEventListener("pointercancel", release);
    over.addEventListener("pointerleave", () => !this.drag && !this.moving && this.leave());
    over.addEventListener("dblclick", () => view.all());
    over.addEventListener("blur", () => this.leave());
    over.addEventListener("wheel", (event) => {
      if (!this.drawn) return;
      const zooms = event.ctrlKey || event.metaKey || document.activeElement === over;
      if (!zooms && Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return;
      event.preventDefault();
      if (zooms && Math.abs(event.deltaY) >= Math.abs(event.deltaX)) view.zoom(Math.exp(event.deltaY / 400), this.drawn.step(place(event)));
      else view.pan(event.deltaX / 800);
    }, { passive: false });
    over.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    if (!this.drawn || event.ctrlKey || event.metaKey || event.altKey) return;
    const [from, to] = view.range;
    const move = (direction) => {
      if (event.shiftKey) return view.pan(direction * 0.25);
      const steps = Math.max(1, Math.round((to - from) / 100));
      const step = Math.min(Math.max((view.cursor ?? (direction > 0 ? from : to)) + direction * steps, from), to);
      view.setCursor(Math.round(step));
      this.drawCursor();
      const box = this.over.getBoundingClientRect();
      this.showTip(box.left + this.drawn.x(view.cursor), box.top + 20);
    };
    const actions = {
      ArrowLeft: () => move(-1),
      ArrowRight: () => move(1),
      "+": () => view.zoom(0.6, view.cursor),
      "=": () => view.zoom(0.6, view.cursor),
      "-": () => view.zoom(1 / 0.6, view.cursor),
      0: () => view.all(),
      Escape: () => this.leave(),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    actions[event.key]();
  }
}

const short = (value) => {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(0).replace("-", "−").replace("e+", "e");
  return String(Number(value.toPrecision(3))).replace("-", "−");
};
