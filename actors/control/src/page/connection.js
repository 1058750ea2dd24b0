// The connection to the run, and the banner that tells when it is lost or the run has ended.

import { follow, Refused } from "./api.js";
import { byId, setText } from "./dom.js";
import { hideDoor, showDoor } from "./door.js";
import { restore } from "./link.js";
import { on } from "./signals.js";
import { hasEnded, store } from "./store.js";
import { loadConditions, loadState, setConnection, takeEvent } from "./sync.js";

let stream = null;

export const connect = () => {
  hideDoor();
  let ended = false;
  stream = follow({
    onOpen: async () => {
      await loadConditions();
      setText(byId("run-name"), store.run.name);
      setText(byId("run-dir"), store.run.dir ?? "");
      setConnection("live");
      restore();
    },
    onEvent: (name, data) => {
      takeEvent(name, data);
      // An arm that ends has an event of this name too; only the run's own ends the stream.
      if (name !== "end" || data?.arm !== undefined) return;
      ended = true;
      stream.stop();
      // The server still answers for a moment: get the final state.
      loadState().catch(() => {}).then(() => setConnection("ended"));
    },
    onLost: (problem, seconds) => {
      if (ended) return;
      if (problem instanceof Refused && problem.status === 401) {
        stream.stop();
        return showDoor(problem.message);
      }
      if (store.arms.size && [...store.arms.values()].every(hasEnded)) {
        stream.stop();
        return setConnection("ended");
      }
      setConnection("lost", { problem, seconds });
    },
  });
};

let countdown = 0;
const showBanner = (detail) => {
  clearInterval(countdown);
  const lost = store.connection === "lost";
  const ended = store.connection === "ended";
  byId("banner").hidden = !lost && !ended;
  byId("banner").className = store.connection;
  byId("retry").hidden = !lost;
  document.body.dataset.connection = store.connection;
  if (!lost) return setText(byId("banner-text"), ended ? "This run has ended. The page keeps what it shows until you close it; the report is in the run directory." : "");
  let left = detail.seconds;
  const show = () => setText(byId("banner-text"), `Connection lost: ${detail.problem.message}. ${left > 0 ? `Reconnecting in ${left} s.` : "Reconnecting…"}`);
  show();
  countdown = setInterval(() => {
    left -= 1;
    show();
    if (left <= 0) clearInterval(countdown);
  }, 1000);
};

export const startConnection = () => {
  on("connection", showBanner);
  byId("retry").addEventListener("click", () => stream.now());
};
