// Numbers as horizontal bars, and a sum with its terms.

import { exact, h, number } from "./dom.js";

/** A row of a `dl.bars`: a bar whose length is the share of `value` in `most`. */
export const bar = (text, value, most, attributes = {}) => {
  const share = value === null || Number.isNaN(value) ? 0 : Math.min(1, Math.abs(value) / most);
  return h("div", attributes,
    h("dt", {}, text),
    h("dd", {}, h("span", { class: "track" }, h("i", { class: value < 0 ? "negative" : "", vars: { "--share": share } })), h("b", { title: exact(value) }, number(value))));
};

/** The largest magnitude of some values, to scale bars by. */
export const largest = (values) => Math.max(1e-9, ...values.map((value) => Math.abs(value ?? 0)));

/** The contributions of a formula's terms and their sum. */
export const sumBars = (terms, name, total) => {
  const most = largest([...terms.map(({ value }) => value), total]);
  const several = terms.length > 1;
  return h("dl", { class: "bars" },
    several && terms.map(({ term, subtracted, value }) => bar(h("code", {}, subtracted ? `− ${term}` : term), value, most)),
    bar(h("b", {}, several ? `= ${name}` : name), total, most, { class: "whole" }));
};
