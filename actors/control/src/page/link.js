// The link to what the page shows: each part writes what was chosen in it into the part of the address behind `#`, and reads
// it from there. A link that is copied has no token.

import { tokenIn } from "./api.js";

const parts = [];
let restored = false;
let timer = 0;

/** `write(params)` adds what is chosen in a part to a link, `read(params)` chooses it again. */
export const linked = (write, read) => parts.push({ write, read });

/** What the page shows, as the text of a link. */
export const current = () => {
  const params = new URLSearchParams();
  for (const { write } of parts) write(params);
  return params.toString();
};

/** Shows what a link's text says. */
export const apply = (text) => {
  const params = new URLSearchParams(text);
  for (const { read } of parts) read(params);
  touched();
};

/** The text of the link in the page's own address: what follows the token, or all if there is none. */
const inAddress = () => location.hash.replace(/^#/, "").split("&").filter((part) => part && !/^[0-9a-f]{64}$/.test(part)).join("&");

/** Notes that something else is shown. The address follows, and keeps its token if it has one. */
export const touched = () => {
  if (!restored) return;
  clearTimeout(timer);
  timer = setTimeout(() => {
    const hash = [tokenIn(location.hash), current()].filter(Boolean).join("&");
    if (`#${hash}` !== location.hash) history.replaceState(null, "", hash ? `#${hash}` : location.pathname);
  }, 300);
};

/** Shows what the address says, once the arms are known. */
export const restore = () => {
  if (restored) return;
  restored = true;
  const text = inAddress();
  if (text) apply(text);
};

/** The link without the token. */
export const address = () => `${location.origin}${location.pathname}#${current()}`;

/** Writes a choice into a link unless it is the usual one. */
export const put = (params, name, value, usual = "") => {
  if (String(value ?? "") !== String(usual)) params.set(name, value);
};
