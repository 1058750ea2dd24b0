// Starts the page: the token, the panels, the stream of events, theme and shortcuts.

import { follow, hasToken, Refused, tokenIn, useToken } from "./api.js";
import { startActors } from "./actors.js";
import { startCompletions } from "./completions.js";
import { startControls, togglePause } from "./controls.js";
import { startCurves } from "./curves.js";
import { byId, setText } from "./dom.js";
import { startEditor } from "./editor.js";
import { startJournal } from "./journal.js";
import { startRewards } from "./rewards.js";
import { emit, hasEnded, loadConditions, loadCurves, loadState, on, setConnection, store, takeEvent } from "./store.js";
import { view } from "./view.js";
import { startWeights } from "./weights.js";

let stream = null;

const askForToken = (problem) => {
  byId("door").hidden = false;
  byId("page").hidden = true;
  setText(byId("door-problem"), problem ?? "");
  byId("door-token").focus();
};

const connect = () => {
  byId("door").hidden = true;
  byId("page").hidden = false;
  let ended = false;
  stream = follow({
    onOpen: async () => {
      await loadConditions();
      setText(byId("run-name"), store.run.name);
      setText(byId("run-dir"), store.run.dir ?? "");
      setConnection("live");
      await loadCurves();
    },
    onEvent: (name, data) => {
      takeEvent(name, data);
      // The end of one arm is a state of it; that of the run ends the stream.
      if (name !== "end" || data?.arm !== undefined) return;
      ended = true;
      stream.stop();
      // What the last steps brought, while the run still answers.
      loadState().catch(() => {}).then(() => setConnection("ended"));
    },
    onLost: (problem, seconds) => {
      if (ended) return;
      if (problem instanceof Refused && problem.status === 401) {
        stream.stop();
        return askForToken(problem.message);
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
const showConnection = (detail) => {
  clearInterval(countdown);
  const banner = byId("banner");
  const said = { ended: "This run has ended. What it did stays on this page until you close it; its report is in the run directory.", live: "", connecting: "" };
  banner.hidden = ["live", "connecting"].includes(store.connection);
  banner.className = store.connection;
  byId("retry").hidden = store.connection !== "lost";
  document.body.dataset.connection = store.connection;
  if (store.connection !== "lost") return setText(byId("banner-text"), said[store.connection] ?? "");
  let left = detail.seconds;
  const tell = () => setText(byId("banner-text"), `Connection lost: ${detail.problem.message}. ${left > 0 ? `Trying again in ${left} s.` : "Trying…"}`);
  tell();
  countdown = setInterval(() => {
    left -= 1;
    tell();
    if (left <= 0) clearInterval(countdown);
  }, 1000);
};

const startTheme = () => {
  const KEY = "sandbox-theme";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const chosen = localStorage.getItem(KEY);
    if (chosen) document.documentElement.dataset.theme = chosen;
    else delete document.documentElement.dataset.theme;
    const isDark = chosen ? chosen === "dark" : dark.matches;
    setText(byId("theme"), isDark ? "☀" : "☾");
    byId("theme").setAttribute("aria-label", isDark ? "Light colours" : "Dark colours");
    emit("theme");
  };
  const flip = () => {
    const isDark = (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
    localStorage.setItem(KEY, isDark ? "light" : "dark");
    show();
  };
  byId("theme").addEventListener("click", flip);
  dark.addEventListener("change", show);
  show();
  return flip;
};

const goTo = (id) => {
  const section = byId(id);
  section.scrollIntoView();
  section.querySelector("h2").focus({ preventScroll: true });
};

const startShortcuts = (flipTheme) => {
  const actions = {
    1: () => goTo("curves"), 2: () => goTo("steer"), 3: () => goTo("rewards"), 4: () => goTo("actors"), 5: () => goTo("completions"), 6: () => goTo("journal"),
    w: () => document.querySelector("#weights input")?.focus(),
    f: () => byId("formula").focus(),
    p: togglePause,
    t: flipTheme,
    0: () => view.all(),
    "/": () => byId("rollouts-q").focus(),
    "?": () => byId("help").showModal(),
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("page").hidden) return;
    if (event.target.closest("input, textarea, select, dialog") || !actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  });
  for (const link of document.querySelectorAll("[data-go]")) link.addEventListener("click", () => goTo(link.dataset.go));
  byId("show-help").addEventListener("click", () => byId("help").showModal());
  for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
};

on("connection", showConnection);
const flipTheme = startTheme();
startShortcuts(flipTheme);
startCurves();
startWeights(() => emit("scope"));
startEditor();
startControls();
startRewards();
startActors();
startCompletions();
startJournal();
byId("retry").addEventListener("click", () => stream.now());
byId("door-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = tokenIn(byId("door-token").value);
  if (!token) return askForToken("there is no token in this; it is 64 digits and letters, from 0 to 9 and from a to f");
  useToken(token);
  connect();
});
// Another token in the address, as when the address of a newer run is pasted over this one.
addEventListener("hashchange", () => location.hash.length > 1 && location.reload());
if (hasToken()) connect();
else askForToken();
