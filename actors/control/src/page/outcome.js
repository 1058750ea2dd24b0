// The outcome of a change in words.

import { plural } from "./dom.js";
import { label } from "./store.js";

/** One line about the results that `change` returns, and whether it was refused in any arm: `{ bad, text }`. */
export const outcome = (results) => {
  const refused = results.filter((result) => result.error);
  if (refused.length === results.length && refused.length) return { bad: true, text: refused[0].error };
  const applied = results.filter((result) => result.applied).map((result) => result.applied);
  const steps = applied.map(({ step }) => step);
  const [first, last] = [Math.min(...steps), Math.max(...steps)];
  const versions = [...new Set(applied.map(({ version }) => version))];
  const where = applied.length > 1 ? ` in ${plural(applied.length, "arm")}` : "";
  const text = `in force${where} from step ${first}${last > first ? ` to ${last}` : ""}${versions.length === 1 ? `, version ${versions[0]}` : ""}`;
  return refused.length ? { bad: true, text: `${text}; ${label(refused[0])}: ${refused[0].error}` } : { bad: false, text };
};
