// Making elements, and writing numbers the same way everywhere.

/**
 * An element. Attributes go in as they are, except `on` (listeners by event), `vars` (CSS variables) and
 * anything null, undefined or false, which is left out. Children are nodes or text; text is never HTML.
 */
export const h = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (name === "vars") for (const [key, text] of Object.entries(value)) node.style.setProperty(key, text);
    else if (name === "value" || name === "checked" || name === "selected") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
};

/** The element with this id; it is in index.html. */
export const byId = (id) => document.getElementById(id);

/** Puts children in the place of what is there, unless it would read the same. */
export const fill = (node, ...children) => {
  node.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
};

/** Sets text only where it differs, so that a live page does not disturb a selection. */
export const setText = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

/** A number as a person reads it: about four digits, a true minus, a dash for none. */
export const number = (value) => {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  const text =
    size >= 1e6 || size < 1e-3 ? value.toExponential(2)
    : size >= 1000 ? Math.round(value).toLocaleString("en-US")
    : size >= 100 ? value.toFixed(1)
    : size >= 10 ? value.toFixed(2)
    : value.toFixed(3);
  return text.replace("-", "−");
};

/** A whole number with thousands separated. */
export const count = (value) => (value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en-US"));

/** A share as per cent. */
export const percent = (value) => (value === null || value === undefined || Number.isNaN(value) ? "–" : `${(100 * value).toFixed(1)} %`);

/** A weight or any other number exactly as it is kept, shortest form. */
export const exact = (value) => (value === null || value === undefined ? "–" : String(value).replace("-", "−"));

/** The time of day of an RFC 3339 time. */
export const clock = (time) => {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? String(time) : date.toLocaleTimeString();
};

/** `count` things, in words. */
export const plural = (amount, one, many = `${one}s`) => `${count(amount)} ${amount === 1 ? one : many}`;

/** Calls `action` once, `delay` ms after the last call. */
export const debounce = (delay, action) => {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...given), delay);
  };
};

/** Calls `action` at most once a frame, however often it is asked for. */
export const onceAFrame = (action) => {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      action();
    });
  };
};

/** Says something to screen readers, once. */
export const announce = (text) => setText(byId("announcer"), text);
