// The selection of the arm that changes and commands apply to.

import { byId, fill, h } from "./dom.js";
import { emit, on } from "./signals.js";
import { idOf, label, store } from "./store.js";

const update = () => {
  const arms = [...store.arms.values()].filter((arm) => arm.method === "grpo");
  const select = byId("scope");
  const ids = ["", ...arms.map(idOf)];
  if (ids.join() !== [...select.options].map((option) => option.value).join()) {
    fill(select,
      h("option", { value: "" }, arms.length > 1 ? "all GRPO arms" : "the GRPO arm"),
      arms.map((arm) => h("option", { value: idOf(arm) }, label(arm))));
  }
  select.value = store.scope ?? "";
};

export const startScope = () => {
  byId("scope").addEventListener("change", (event) => {
    store.scope = event.target.value || null;
    emit("scope");
  });
  on("arms scope", update);
};
