// Which plots there are, and which lines each has: a plot for each metric with a line for each arm, or, if only one arm is
// shown, with a line for each component; or a plot for each arm with one metric.

import { colourOf, partColour } from "./colours.js";
import { curves } from "./lines.js";
import { marksOf } from "./marks.js";
import { spreadOf } from "./plot.js";
import { GROUPS, PLOTS } from "./plots.js";
import { shown } from "./shown.js";
import { idOf, label, store } from "./store.js";
import { view } from "./view.js";

/** The most lines of a plot that have a band. */
const BANDED = 6;

const order = (name) => ["easy", "medium", "hard"].indexOf(name);

/** The parts of a group of metrics that have values. */
export const partsOf = (plot) => {
  const prefix = `${plot.many}.`;
  const names = curves.fields.filter(({ name, positive }) => name.startsWith(prefix) && (!plot.nonzero || positive)).map(({ name }) => name.slice(prefix.length));
  return names.sort((a, b) => order(a) - order(b) || a.localeCompare(b));
};

/** The metrics that can be shown for each arm: `[field, title]`. */
export const metricsShown = () => {
  const there = new Set(curves.fields.map(({ name }) => name));
  const all = PLOTS.flatMap((plot) => (plot.many ? partsOf(plot).map((name) => [`${plot.many}.${name}`, plot.each(name)]) : [[plot.field, plot.title]]));
  return all.filter(([field]) => there.has(field));
};

const linesShown = () => [...curves.lines.values()].filter((line) => !shown.arms.has(line.arm) && store.arms.has(idOf({ arm: line.arm, seed: line.seeds[0].seed })));
const idsOf = (lines) => new Set(lines.flatMap(({ arm, seeds }) => seeds.map(({ seed }) => idOf({ arm, seed }))));

/** The name of a line. */
const named = (line) => (shown.seeds === "apart" ? label({ arm: line.arm, seed: line.seeds[0].seed }) : line.arm);

/** The eight colours repeat; dashes tell the arms, or the seeds of an arm, apart. */
const dashOf = (line) => {
  const names = [...new Set([...store.arms.values()].map(({ arm }) => arm))];
  const seeds = [...store.arms.values()].filter(({ arm }) => arm === line.arm).map(({ seed }) => seed);
  return shown.seeds === "apart" && seeds.length > 1 ? seeds.indexOf(line.seeds[0].seed) : Math.floor(names.indexOf(line.arm) / 8);
};

const trained = (line, field, text, colour, band) => {
  const found = line.values.get(field);
  return found && { label: text, colour, dash: dashOf(line), xs: line.xs, values: found.mean, low: band ? found.low : undefined, high: band ? found.high : undefined };
};

const evaluated = (line, field, text, colour) => {
  const values = line.heldOut?.values.get(field);
  return values && { label: `${text}, held out`, colour, dash: 0, dots: true, xs: line.heldOut.xs, values };
};

const both = (line, field, text, colour, band) => [trained(line, field, text, colour, band), evaluated(line, field, text, colour)];

/** What all plots are drawn with. */
const drawing = (lines, marks, spread) => ({ lines: lines.filter(Boolean), marks, span: (shown.smoothing / 100) * (view.range[1] - view.range[0]), width: curves.width, spread });

/** A plot for each metric. */
const byMetric = () => {
  const lines = linesShown();
  const alone = new Set(lines.map(({ arm }) => arm)).size === 1;
  const there = new Set(curves.fields.map(({ name }) => name));
  const marks = marksOf(idsOf(lines));
  const banded = lines.length <= BANDED;
  const plotOf = (field, group, title, hint) => {
    if (!there.has(field)) return [];
    return [{ key: field, group, title, hint, source: () => drawing(lines.flatMap((line) => both(line, field, named(line), colourOf(line), banded)), marks) }];
  };
  return PLOTS.flatMap((plot) => {
    if (!plot.many) return plotOf(plot.field, plot.title, plot.title, plot.hint);
    const all = partsOf(plot);
    const parts = all.filter((name) => !shown.parts.has(name));
    if (!alone) return parts.flatMap((name) => plotOf(`${plot.many}.${name}`, plot.title, plot.each(name), plot.hint));
    const text = (line, name) => (lines.length > 1 ? `${name}, seed ${line.seeds[0].seed}` : name);
    const source = () => drawing(lines.flatMap((line) => parts.flatMap((name) => both(line, `${plot.many}.${name}`, text(line, name), partColour(name, all), false))), marks);
    return parts.length ? [{ key: plot.many, group: plot.title, title: plot.title, hint: plot.hint, source, parts: parts.map((name) => [name, partColour(name, all)]) }] : [];
  });
};

/** A plot for each line, all with the same scale, with one arm behind them to compare with. */
const byArm = () => {
  const lines = linesShown();
  const [, title] = metricsShown().find(([field]) => field === shown.metric) ?? [];
  const against = [...curves.lines.values()].find((line) => line.arm === shown.against);
  const of = (line) => both(line, shown.metric, title, colourOf(line), true).filter(Boolean).map((one) => ({ ...one, dash: 0 }));
  // All plots are drawn in one frame, so that they share one computation of the scale.
  let spread = null;
  const shared = () => {
    spread ??= spreadOf(lines.flatMap(of), ...view.range);
    queueMicrotask(() => (spread = null));
    return spread;
  };
  return lines.filter((line) => of(line).length).map((line) => {
    const behind = against && against !== line && { ...trained(against, shown.metric, against.arm, "faint", false), behind: true };
    const hint = `${title}${behind ? `, beside ${against.arm}` : ""}${line.seeds.length > 1 ? ` · ${line.seeds.length} seeds` : ""}`;
    const source = () => drawing([behind?.xs && behind, ...of(line)], marksOf(idsOf([line])), shared());
    return { key: `arm ${named(line)}`, title: named(line), hint, source, arm: { arm: line.arm, seed: line.seeds[0].seed } };
  });
};

/** The plots that have values: `{ key, title, hint, source, parts, arm }`. */
export const plotsShown = () => {
  if (shown.layout === "arm") return byArm();
  return byMetric().filter(({ group }) => GROUPS[shown.group]?.includes(group) ?? true);
};

/** The curves that these plots need. */
export const wantedCurves = () => {
  const inGroup = PLOTS.filter(({ title }) => GROUPS[shown.group]?.includes(title) ?? true);
  const fields = shown.layout === "arm" ? [shown.metric] : inGroup.map((plot) => plot.many ?? plot.field);
  const names = new Set([...store.arms.values()].filter(({ arm }) => !shown.arms.has(arm)).map((arm) => (shown.seeds === "apart" ? idOf(arm) : arm.arm)));
  return { fields, axis: view.axis, seeds: shown.seeds, band: shown.layout === "arm" || names.size <= BANDED, ...rangeWanted() };
};

/** The range that is loaded in more points than the whole has. That of the newest steps moves in strides, not at every step. */
const rangeWanted = () => {
  if (view.zoomed) return { from: view.range[0], to: view.range[1] };
  if (!view.choice) return {};
  const stride = view.choice.last / 4;
  return { from: Math.max(0, (Math.floor((curves.to - view.choice.last) / stride) - 1) * stride) };
};
