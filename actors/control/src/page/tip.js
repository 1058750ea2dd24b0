// The box beside the pointer with the values at a place.

import { h, number } from "./dom.js";

const VALUES = 14;
const NOTES = 4;

const box = h("div", { id: "tip", hidden: true });
document.body.append(box);

/** Shows `{ title, values, notes }` beside a point of the window; a value is `{ label, colour, dot, value }`. */
export const showTip = ({ title, values, notes }, clientX, clientY) => {
  const rows = values.map(({ label, colour, dot, value }) =>
    h("div", {}, h("span", {}, h("i", { class: `swatch ${colour}${dot ? " round" : ""}` }), label), h("b", {}, number(value))));
  const texts = notes.slice(-NOTES).map((text) => h("p", {}, text));
  if (notes.length > NOTES) texts.unshift(h("p", {}, `${notes.length - NOTES} more marks here`));
  box.replaceChildren(h("div", { class: "at" }, title), ...rows.slice(0, VALUES), ...texts);
  box.hidden = false;
  const { width, height } = box.getBoundingClientRect();
  const left = clientX + 16 + width < innerWidth ? clientX + 16 : clientX - 16 - width;
  box.style.left = `${Math.max(4, left)}px`;
  box.style.top = `${Math.max(4, Math.min(clientY + 14, innerHeight - height - 4))}px`;
};

export const hideTip = () => {
  box.hidden = true;
};
