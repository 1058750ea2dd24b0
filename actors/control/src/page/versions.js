// The versions of the arms' conditions from which the user makes a change. They are sent with it, so that the run refuses
// a change that was made without knowing of somebody else's.

import { idOf, store } from "./store.js";

/** The versions that the page shows at the moment: a map from the id of an arm. */
export const versionsNow = () => new Map([...store.arms].filter(([, arm]) => arm.conditions).map(([id, arm]) => [id, arm.conditions.version]));

/** The versions that this page's own changes made, as `id:version`. The user knows of these. */
const own = new Set();

export const noteOwn = (results) => {
  for (const result of results) if (result.applied) own.add(`${idOf(result)}:${result.applied.version}`);
};

const isOwn = (id, version) => own.has(`${id}:${version}`);

/** The versions as `If-Match` has them: those of all arms, in the order of the state. */
export const tagOf = (since) => {
  const known = ([id, arm]) => {
    if (!arm.conditions || !since.has(id)) return "-";
    let version = since.get(id);
    while (isOwn(id, version + 1)) version += 1;
    return version;
  };
  return `"${[...store.arms].map(known).join(".")}"`;
};

/** The versions after the changes of a refusal, which the user has seen by then. */
export const afterRefusal = (since, { stale }) => new Map([...since, ...stale.map((arm) => [idOf(arm), arm.version])]);

/** The changes of others in a refusal, as `{ arm, change }`. */
export const othersIn = ({ stale }) => stale.flatMap((arm) => arm.changes.filter(({ version }) => !isOwn(idOf(arm), version)).map((change) => ({ arm, change })));

let last = Promise.resolve();
/** Carries out one change after the other, because the version that a change makes is known when it is in force. */
export const inTurn = (make) => {
  const made = last.then(make);
  last = made.catch(() => {});
  return made;
};
