// Creates elements, and formats numbers the same way everywhere.

/**
 * Creates an element. Attributes are set as given, except `on`, which holds listeners by event, and `vars`, which holds
 * CSS variables; those that are null, undefined or false are left out. Children are nodes or text; text is never HTML.
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

export const byId = (id) => document.getElementById(id);

/** Replaces the children of an element. */
export const fill = (node, ...children) => {
  node.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
};

/** Sets the text of an element only if it differs, so that an update keeps a selection in it. */
export const setText = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

// Made once: `toLocaleString` makes a formatter at every call, which costs more than the formatting.
const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** A number with about four digits; `–` for a missing one. */
export const number = (value) => {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  const text =
    size >= 1e6 || size < 1e-3 ? value.toExponential(2)
    : size >= 1000 ? WHOLE.format(Math.round(value))
    : size >= 100 ? value.toFixed(1)
    : size >= 10 ? value.toFixed(2)
    : value.toFixed(3);
  return text.replace("-", "−");
};

/** A whole number with thousands separators. */
export const count = (value) => (value === null || value === undefined ? "–" : WHOLE.format(Math.round(value)));

/** A share in per cent. */
export const percent = (value) => (value === null || value === undefined || Number.isNaN(value) ? "–" : `${(100 * value).toFixed(1)} %`);

/** A number with all of its digits. */
export const exact = (value) => (value === null || value === undefined ? "–" : String(value).replace("-", "−"));

/** The time of day of an RFC 3339 time. */
export const clock = (time) => {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? String(time) : date.toLocaleTimeString();
};

/** An amount with its noun in the singular or plural. */
export const plural = (amount, one, many = `${one}s`) => `${count(amount)} ${amount === 1 ? one : many}`;

/** Calls `action` once, `delay` ms after the last call. */
export const debounce = (delay, action) => {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...given), delay);
  };
};

/** Calls `action` at once, but not again within `pause` ms; then once, however often it is requested. */
export const atMostEvery = (pause, action) => {
  let due = -Infinity;
  let timer = 0;
  const act = () => {
    timer = 0;
    due = performance.now() + pause;
    action();
  };
  return () => {
    if (timer) return;
    const left = due - performance.now();
    if (left <= 0) act();
    else timer = setTimeout(act, left);
  };
};

/** Calls `action` at the next frame, once however often it is requested. */
export const onceAFrame = (action) => {
  let requested = false;
  return () => {
    if (requested) return;
    requested = true;
    requestAnimationFrame(() => {
      requested = false;
      action();
    });
  };
};

/** Has screen readers announce a text. */
export const announce = (text) => setText(byId("announcer"), text);
