// What the page knows of the run, and how to look it up. `sync.js` keeps it up to date.

export const store = {
  run: null,
  /** The state of each arm, by id. */
  arms: new Map(),
  /** The metrics of the newest step of each arm, by id; those of a group are named with a dot. */
  latest: new Map(),
  journal: [],
  /** The bookmarks, by their numbers. */
  bookmarks: [],
  /** The actors of each arm, by id. */
  actors: new Map(),
  /** Warnings since the page was opened: `{ arm, seed, message, time }`. */
  warnings: [],
  /** `connecting`, `live`, `lost` or `ended`. */
  connection: "connecting",
  /** The id of the selected arm, or null for all GRPO arms that have not ended. */
  scope: null,
};

/** The id of an arm under a seed. */
export const idOf = ({ arm, seed }) => `${arm}/${seed}`;

export const hasEnded = (arm) => ["done", "failed", "stopped"].includes(arm.status);

/** An arm's name, with its seed if the run has several. */
export const label = (arm) => {
  const seeds = new Set([...store.arms.values()].map((other) => other.seed));
  return seeds.size > 1 ? `${arm.arm} · seed ${arm.seed}` : arm.arm;
};

/** The GRPO arms that a change applies to. */
export const selectedArms = () => {
  const arms = [...store.arms.values()].filter((arm) => arm.method === "grpo" && arm.conditions);
  if (store.scope) return arms.filter((arm) => idOf(arm) === store.scope);
  const live = arms.filter((arm) => !hasEnded(arm));
  return live.length ? live : arms;
};

/** The arm to show if none was chosen: preferably one that is running or paused, and among those a selected one. */
export const firstArm = () => {
  const arms = [...store.arms.values()];
  const live = (arm) => ["running", "paused"].includes(arm.status);
  return selectedArms().find(live) ?? arms.find(live) ?? arms.find((arm) => arm.step > 0) ?? arms[0];
};

/** The actor of a reward in an arm. */
export const rewardActor = (id, name) => {
  const search = (actors) => {
    for (const actor of actors ?? []) {
      if (actor.name === `reward/${name}`) return actor;
      const below = search(actor.children);
      if (below) return below;
    }
    return null;
  };
  return search(store.actors.get(id));
};
