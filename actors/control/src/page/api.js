// The control channel: requests that carry the token, and the stream of events.

const KEY = "sandbox-token";

/**
 * The token in a text such as the page's address or the content of control.json; null if there is none. In an address it is
 * the part behind `#` without a name: the others say what the page shows, and may look like a token.
 */
export const tokenIn = (text) => {
  const behind = text.match(/#(.*)/s)?.[1];
  const part = behind === undefined ? text : (behind.split("&").find((part) => !part.includes("=")) ?? "");
  return part.match(/[0-9a-f]{64}(?![0-9a-f])/)?.[0] ?? null;
};

/** The token in the address, or the one this tab used before; null if there is none. */
const findToken = () => {
  const given = tokenIn(location.hash);
  if (given) sessionStorage.setItem(KEY, given);
  return given ?? sessionStorage.getItem(KEY);
};

let token = findToken();

export const hasToken = () => Boolean(token);

export const useToken = (given) => {
  token = given;
  sessionStorage.setItem(KEY, given);
  // So that reloading the page uses this token and not an earlier one. What the address says of the view stays.
  const view = location.hash.slice(1).split("&").filter((part) => part.includes("=")).join("&");
  history.replaceState(null, "", `#${[given, view].filter(Boolean).join("&")}`);
};

/**
 * A refused request: the reason, the status, the place in the formula or the line in the reward, and in `stale` the arms
 * that have changed since the page read them, each with its changes.
 */
export class Refused extends Error {
  constructor(message, status, { place = null, line = null, stale = [] } = {}) {
    super(message);
    this.status = status;
    this.place = place;
    this.line = line;
    this.stale = stale;
  }
}

/** The run can't be reached: it has ended, or the connection is lost. */
class Unreachable extends Error {}

const request = async (method, path, body, signal, more = {}) => {
  const headers = { authorization: `Bearer ${token}`, ...more };
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal, cache: "no-store" });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Unreachable("the run does not answer");
  }
  if (response.ok) return response;
  let refusal = {};
  try {
    refusal = await response.json();
  } catch {
    // Not an answer of the control channel; the message is made from the status.
  }
  throw new Refused(refusal.error ?? `the run answered ${response.status}`, response.status, refusal);
};

const json = async (response) => {
  const text = await response.text();
  return text ? JSON.parse(text) : {};
};

export const get = async (path, signal) => json(await request("GET", path, undefined, signal));
export const post = async (path, body = {}, headers = {}) => json(await request("POST", path, body, undefined, headers));
export const put = async (path, body) => json(await request("PUT", path, body));
export const remove = async (path) => json(await request("DELETE", path));

/** The path of a resource of an arm. */
export const armPath = (arm, rest = "") => `/api/arms/${encodeURIComponent(arm.arm)}/${arm.seed}${rest}`;

const blob = async (path) => (await request("GET", path)).blob();

/** The object URL of a clip's file, for an audio element. */
export const clip = async (id) => URL.createObjectURL(await blob(`/api/audio/${encodeURIComponent(id)}`));

/** The object URL of what the model hears of a clip, for an audio element. */
export const heardClip = async (id) => URL.createObjectURL(await blob(`/api/clips/${encodeURIComponent(id)}/heard.wav`));

/** The spectrogram of what the model hears of a clip, as a bitmap. */
export const spectrogram = async (id) => createImageBitmap(await blob(`/api/clips/${encodeURIComponent(id)}/mel.png`));

/** Reads server-sent events from a response until it ends. */
const readEvents = async (response, onEvent) => {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).replaceAll("\r", "").split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      let name = "message";
      const data = [];
      for (const line of part.split("\n")) {
        if (line.startsWith("event:")) name = line.slice(6).trim();
        else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
      }
      if (data.length || name !== "message") onEvent(name, data.length ? JSON.parse(data.join("\n")) : null);
    }
  }
};

/**
 * Follows the run's events, and reconnects until it is stopped. `onOpen` is called at every connection, `onEvent` for
 * every event, and `onLost(problem, seconds)` when a connection breaks, with the time until the next attempt. Returns
 * `{ now, stop }`: `now` reconnects at once, `stop` ends it.
 */
export const follow = ({ onOpen, onEvent, onLost }) => {
  let stopped = false;
  let wake = () => {};
  const controller = new AbortController();
  const run = async () => {
    for (let tries = 0; !stopped; ) {
      try {
        const response = await request("GET", "/api/events", undefined, controller.signal);
        const opened = onOpen();
        tries = 0;
        await Promise.all([opened, readEvents(response, onEvent)]);
        if (!stopped) throw new Unreachable("the run closed the connection");
      } catch (problem) {
        if (stopped) return;
        const seconds = Math.min(15, 2 ** tries++);
        onLost(problem, seconds);
        await new Promise((resolve) => {
          wake = resolve;
          setTimeout(resolve, seconds * 1000);
        });
      }
    }
  };
  run();
  return {
    now: () => wake(),
    stop: () => {
      stopped = true;
      controller.abort();
      wake();
    },
  };
};
