// Metrics by step, in columns, and the arithmetic of plots. No DOM.

/** The fields of a line; those of a group are named with a dot, as in the server's tables. */
export const flatten = (line, prefix = "", into = {}) => {
  for (const [name, value] of Object.entries(line)) {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) flatten(value, `${prefix}${name}.`, into);
    else into[prefix + name] = value;
  }
  return into;
};

const asNumber = (value) => (typeof value === "number" ? value : NaN);

/** The metrics of an arm: one array per field, each as long as `steps`; NaN where a value is missing. */
export class Track {
  constructor() {
    this.steps = [];
    this.columns = new Map();
    this.stride = 1;
  }

  /** From the answer to `…/metrics`. */
  static from({ columns, rows, stride }) {
    const track = new Track();
    track.stride = stride;
    const at = columns.indexOf("step");
    track.steps = rows.map((row) => row[at]);
    columns.forEach((name, column) => {
      if (column !== at) track.columns.set(name, rows.map((row) => asNumber(row[column])));
    });
    return track;
  }

  get length() {
    return this.steps.length;
  }

  get last() {
    return this.steps[this.steps.length - 1];
  }

  /** Adds a line, unless its step is there already. */
  append(line) {
    if (this.length && line.step <= this.last) return;
    for (const name of Object.keys(line)) {
      if (name !== "step" && !this.columns.has(name)) this.columns.set(name, new Array(this.length).fill(NaN));
    }
    this.steps.push(line.step);
    for (const [name, values] of this.columns) values.push(asNumber(line[name]));
  }

  has(name) {
    return this.columns.get(name)?.some((value) => !Number.isNaN(value)) ?? false;
  }

  /** The newest value of a field. */
  latest(name) {
    const values = this.columns.get(name);
    return values?.length ? values[values.length - 1] : NaN;
  }
}

/** The index of the first of the increasing `steps` that is at least `step`. */
export const lowerBound = (steps, step) => {
  let low = 0;
  let high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] < step) low = middle + 1;
    else high = middle;
  }
  return low;
};

/** The index of the step nearest to `step`; -1 if there is none. */
export const nearest = (steps, step) => {
  const at = lowerBound(steps, step);
  if (at === steps.length) return at - 1;
  return at > 0 && step - steps[at - 1] < steps[at] - step ? at - 1 : at;
};

/**
 * An exponential mean over about `span` steps, corrected for its start. A gap between thinned steps counts as the steps
 * that were left out. NaN stays NaN and does not count.
 */
export const smooth = (steps, values, span) => {
  if (span <= 1) return values;
  const keep = 1 - 1 / span;
  const smoothed = new Array(values.length);
  let sum = 0;
  let weight = 0;
  for (let at = 0; at < values.length; at++) {
    const faded = keep ** (at ? steps[at] - steps[at - 1] : 1);
    sum *= faded;
    weight *= faded;
    if (Number.isNaN(values[at])) {
      smoothed[at] = NaN;
      continue;
    }
    sum += (1 - faded) * values[at];
    weight += 1 - faded;
    smoothed[at] = sum / weight;
  }
  return smoothed;
};

/** The least and the largest of `values[from..to]`; null if all are NaN. */
export const extremes = (values, from, to) => {
  let low = Infinity;
  let high = -Infinity;
  for (let at = from; at < to; at++) {
    const value = values[at];
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : null;
};

/** About `number` round values between `low` and `high`, for the marks of an axis. */
export const ticks = (low, high, number) => {
  const rough = (high - low) / number;
  if (!(rough > 0) || !Number.isFinite(rough)) return [low];
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * unit >= rough) * unit;
  const marks = [];
  const first = Math.ceil(low / step - 1e-9);
  // Between huge values that lie close together, adding 1 to `first` may not change it: the number of marks is the bound.
  for (let at = 0; at <= 2 * number + 2; at++) {
    const mark = (first + at) * step;
    if (!(mark <= high + step * 1e-9)) break;
    if (mark !== marks[marks.length - 1]) marks.push(mark);
  }
  return marks;
};
