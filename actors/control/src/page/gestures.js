// Pointer, wheel and keyboard on a plot: moving the cursor, and zooming and moving the part that all plots show.

import { hideTip } from "./tip.js";
import { view } from "./view.js";

/** A drag of fewer pixels is a click. */
const SHORTEST_DRAG = 6;

const leave = () => {
  hideTip();
  view.setCursor(null);
};

const listenToPointer = (plot) => {
  const { over } = plot;
  const place = (event) => event.clientX - over.getBoundingClientRect().left;
  let moving = null;
  over.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !plot.drawn) return;
    over.setPointerCapture(event.pointerId);
    const start = place(event);
    if (event.shiftKey) moving = { start, range: view.range };
    else plot.drag = { start, now: start };
  });
  over.addEventListener("pointermove", (event) => {
    if (!plot.drawn) return;
    const now = place(event);
    const { left, right, from, to } = plot.drawn;
    if (moving) {
      const by = ((moving.start - now) / (right - left)) * (moving.range[1] - moving.range[0]);
      return view.show(moving.range[0] + by, moving.range[1] + by);
    }
    if (plot.drag) plot.drag.now = Math.min(Math.max(now, left), right);
    const place = plot.drawn.place(now);
    const beyond = (to - from) / 100;
    if (place < from - beyond || place > to + beyond) return leave();
    view.setCursor(place);
    plot.drawCursor();
    plot.showTip(event.clientX, event.clientY);
  });
  const release = () => {
    const { drag } = plot;
    moving = plot.drag = null;
    if (drag && Math.abs(drag.now - drag.start) > SHORTEST_DRAG) {
      const ends = [plot.drawn.place(drag.start), plot.drawn.place(drag.now)].sort((a, b) => a - b);
      view.show(...(view.axis === "step" ? [Math.floor(ends[0]), Math.ceil(ends[1])] : ends));
    }
    plot.drawCursor();
  };
  over.addEventListener("pointerup", release);
  over.addEventListener("pointercancel", release);
  over.addEventListener("pointerleave", () => !plot.drag && !moving && leave());
  over.addEventListener("dblclick", () => view.all());
  over.addEventListener("blur", leave);
  over.addEventListener("wheel", (event) => {
    if (!plot.drawn) return;
    const zooms = event.ctrlKey || event.metaKey || document.activeElement === over;
    if (!zooms && Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return;
    event.preventDefault();
    if (zooms && Math.abs(event.deltaY) >= Math.abs(event.deltaX)) view.zoom(Math.exp(event.deltaY / 400), plot.drawn.place(place(event)));
    else view.pan(event.deltaX / 800);
  }, { passive: false });
};

const moveCursor = (plot, direction) => {
  const [from, to] = view.range;
  const stride = view.axis === "step" ? Math.max(1, Math.round((to - from) / 100)) : (to - from) / 100;
  const next = (view.cursor ?? (direction > 0 ? from : to)) + direction * stride;
  view.setCursor(Math.min(Math.max(next, from), to));
  plot.drawCursor();
  const box = plot.over.getBoundingClientRect();
  plot.showTip(box.left + plot.drawn.x(view.cursor), box.top + 20);
};

const listenToKeys = (plot) => {
  const move = (direction, event) => (event.shiftKey ? view.pan(direction * 0.25) : moveCursor(plot, direction));
  const actions = {
    ArrowLeft: (event) => move(-1, event),
    ArrowRight: (event) => move(1, event),
    "+": () => view.zoom(0.6, view.cursor),
    "=": () => view.zoom(0.6, view.cursor),
    "-": () => view.zoom(1 / 0.6, view.cursor),
    0: () => view.all(),
    Escape: leave,
  };
  plot.over.addEventListener("keydown", (event) => {
    if (!plot.drawn || event.ctrlKey || event.metaKey || event.altKey || !actions[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    actions[event.key](event);
  });
};

export const listen = (plot) => {
  listenToPointer(plot);
  listenToKeys(plot);
};
