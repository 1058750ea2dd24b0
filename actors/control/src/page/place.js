// Where the user looks: an arm, a step, and perhaps a completion. A bookmark, a fork and a question about weights begin there.

import { firstArm, idOf, store } from "./store.js";

const eyes = [];

/** `look()` returns `{ id, step, line }` if the user looks at this part of the page, else null. The first that does counts. */
export const looking = (look) => eyes.push(look);

/** The place where the user looks; without one, the newest step of the selected arm. Null without arms. */
export const place = () => {
  for (const look of eyes) {
    const found = look();
    if (found) return found;
  }
  const arm = (store.scope && store.arms.get(store.scope)) || firstArm();
  return arm ? { id: idOf(arm), step: arm.step, line: null } : null;
};
