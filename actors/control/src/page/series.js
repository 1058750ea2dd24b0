// The arithmetic of curves. No DOM.

/** The fields of a line; those of a group are named with a dot, as in the server's tables. */
export const flatten = (line, prefix = "", into = {}) => {
  for (const [name, value] of Object.entries(line)) {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) flatten(value, `${prefix}${name}.`, into);
    else into[prefix + name] = value;
  }
  return into;
};

/** The index of the first of the increasing numbers that is at least `wanted`. */
export const lowerBound = (numbers, wanted) => {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
};

/** The index of the number nearest to `wanted`; -1 if there is none. */
export const nearest = (numbers, wanted) => {
  const at = lowerBound(numbers, wanted);
  if (at === numbers.length) return at - 1;
  return at > 0 && wanted - numbers[at - 1] < numbers[at] - wanted ? at - 1 : at;
};

/**
 * An exponential mean over about `span` of the axis, corrected for its start; `width` is what a point covers. NaN stays NaN
 * and does not count.
 */
export const smooth = (xs, values, span, width) => {
  if (span <= width) return values;
  const keep = 1 - width / span;
  const smoothed = new Array(values.length);
  let sum = 0;
  let weight = 0;
  for (let at = 0; at < values.length; at++) {
    const faded = keep ** (at ? Math.max(0, xs[at] - xs[at - 1]) / width : 1);
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
