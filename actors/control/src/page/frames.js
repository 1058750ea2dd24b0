// Spreads drawing over frames, so that no frame is blocked for long by many plots.

/** The time that drawing may take in a frame, in ms; at least one drawing is done. */
const BUDGET = 8;

const waiting = new Set();
let requested = false;

const frame = () => {
  requested = false;
  const began = performance.now();
  for (const draw of waiting) {
    waiting.delete(draw);
    draw();
    if (performance.now() - began > BUDGET) break;
  }
  if (waiting.size) request();
};

const request = () => {
  if (requested) return;
  requested = true;
  requestAnimationFrame(frame);
};

/** Calls `draw` in one of the next frames, once however often it is requested. */
export const inAFrame = (draw) => {
  waiting.add(draw);
  request();
};
