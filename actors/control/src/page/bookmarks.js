// Bookmarks: places of the run with a note. They are kept in the run; the list shows them, and curves mark them.

import { post, put, remove } from "./api.js";
import { announce, byId, clock, count, fill, h, onceAFrame, setText } from "./dom.js";
import { apply, current, linked, put as putIn, touched } from "./link.js";
import { place } from "./place.js";
import { on } from "./signals.js";
import { label, store } from "./store.js";

/** What the dialog is about: a place that is marked, or a bookmark whose note is changed. */
let marked = null;
let changed = null;
/** The number of the bookmark whose view is shown, as text; empty without one. */
let shown = "";

const say = (kind, text) => {
  byId("bookmarks-note").className = `note ${kind}`;
  setText(byId("bookmarks-note"), text);
  announce(text);
};

const where = ({ arm, seed, step, completion }) => `${label({ arm, seed })}, step ${count(step)}${completion ? `, completion ${completion.index} to ${completion.question}` : ""}`;

/** A place as the server wants it, with what the page shows. */
const bodyOf = ({ id, step, line }) => {
  const { arm, seed } = store.arms.get(id);
  const completion = line && { phase: line.phase, suite: line.suite ?? null, group: line.group, index: line.index, question: line.id };
  return { arm, seed, step, completion, view: current().replace(/(^|&)bookmark=\d*/, "") };
};

/** Marks the place where the user looks, without a note. */
export const bookmark = async (at = place()) => {
  if (!at) return;
  try {
    const made = await post("/api/bookmarks", bodyOf(at));
    say("good", `bookmark ${made.number}: ${where(made)}`);
  } catch (problem) {
    say("bad", problem.message);
  }
};

/** Opens the dialog for a note about the place where the user looks. */
export const openNote = (at = place()) => {
  if (!at) return;
  [marked, changed] = [bodyOf(at), null];
  open(where(marked), "");
};

const edit = (bookmark) => {
  [marked, changed] = [null, bookmark.number];
  open(where(bookmark), bookmark.note);
};

const open = (about, note) => {
  setText(byId("note-about"), about);
  byId("note-text").value = note;
  setText(byId("note-problem"), "");
  byId("note-dialog").showModal();
};

const save = async (event) => {
  event.preventDefault();
  const note = byId("note-text").value;
  try {
    const made = changed === null ? await post("/api/bookmarks", { ...marked, note }) : await put(`/api/bookmarks/${changed}`, { note });
    byId("note-dialog").close();
    say("good", `bookmark ${made.number}: ${where(made)}`);
  } catch (problem) {
    setText(byId("note-problem"), problem.message);
  }
};

const takeAway = async ({ number }) => {
  try {
    await remove(`/api/bookmarks/${number}`);
    say("good", `bookmark ${number} is removed`);
  } catch (problem) {
    say("bad", problem.message);
  }
};

/** What the page shows for a bookmark that was not made on it: its arm and its step. */
const viewOf = ({ arm, seed, step, completion }) => new URLSearchParams({ arm: `${arm}/${seed}`, step, ...(completion ? { phase: completion.phase } : {}) }).toString();

/** Shows what the page showed when a bookmark was made. */
const show = (bookmark) => {
  apply(bookmark.view || viewOf(bookmark));
  shown = String(bookmark.number);
  render();
  touched();
};

const item = (bookmark) => h("li", { "data-number": bookmark.number },
  h("button", { type: "button", class: "link", "aria-current": String(bookmark.number) === shown ? "true" : null, on: { click: () => show(bookmark) } }, `step ${count(bookmark.step)}`),
  h("span", { class: "who" }, `${where(bookmark)} · ${bookmark.by} · ${clock(bookmark.time)}`),
  h("span", { class: "what" }, bookmark.note || h("span", { class: "none" }, "no note")),
  h("span", { class: "row" },
    h("button", { type: "button", class: "tiny", "aria-label": `Note of bookmark ${bookmark.number}`, on: { click: () => edit(bookmark) } }, "Note…"),
    h("button", { type: "button", class: "tiny", "aria-label": `Remove bookmark ${bookmark.number}`, on: { click: () => takeAway(bookmark) } }, "Remove")));

const render = onceAFrame(() => {
  byId("no-bookmarks").hidden = store.bookmarks.length > 0;
  fill(byId("bookmark-list"), [...store.bookmarks].reverse().map(item));
});

export const startBookmarks = () => {
  linked((params) => putIn(params, "bookmark", shown), (params) => {
    shown = params.get("bookmark") ?? "";
    render();
  });
  byId("note-form").addEventListener("submit", save);
  byId("note-text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("note-form").requestSubmit();
  });
  byId("bookmark-here").addEventListener("click", () => openNote());
  on("bookmarks arms", render);
};
