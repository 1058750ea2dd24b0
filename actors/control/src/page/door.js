// The form that asks for the token of the run.

import { tokenIn, useToken } from "./api.js";
import { byId, setText } from "./dom.js";

/** Shows the form in place of the page, with the problem of the last token if there is one. */
export const showDoor = (problem = "") => {
  byId("door").hidden = false;
  byId("page").hidden = true;
  setText(byId("door-problem"), problem);
  byId("door-token").focus();
};

export const hideDoor = () => {
  byId("door").hidden = true;
  byId("page").hidden = false;
};

/** Calls `onToken` when a token has been entered. */
export const startDoor = (onToken) => {
  byId("door-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const token = tokenIn(byId("door-token").value);
    if (!token) return showDoor("this contains no token; a token has 64 digits and letters from a to f");
    useToken(token);
    onToken();
  });
  // The address of another run was pasted over this one.
  addEventListener("hashchange", () => location.hash.length > 1 && location.reload());
};
