// The gateway's endpoints. The key is sent in a header and kept in this tab only.

const KEY = "farthing.key";
const SILENCE_MS = 40_000; // the gateway's heartbeat comes every 15 s
const BACK_OFF_MS = [500, 15_000];

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Call an endpoint (POST if there is a body) and return its JSON. Throws ApiError. */
export async function call(path, { body, secret = key.get() } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method: body ? "POST" : "GET",
      headers: { authorization: `Bearer ${secret}`, ...(body && { "content-type": "application/json" }) },
      body: body && JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
    });
  } catch {
    throw new ApiError(0, "The gateway cannot be reached.");
  }
  const data = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(response.status, data?.error?.message ?? `The gateway answered ${response.status}.`);
  return data;
}

/**
 * Follow a stream of server-sent events until `signal` ends it, coming back with growing pauses.
 * `onEvent(name, data)`; `onState("live" | "trouble" | "away")`; a refused key ends it with `onRefused(error)`.
 */
export async function follow(path, { onEvent, onState, onRefused, signal }) {
  let pause = BACK_OFF_MS[0];
  while (!signal.aborted) {
    try {
      await readStream(path, signal, (name, data) => {
        pause = BACK_OFF_MS[0];
        onState(name === "trouble" ? "trouble" : "live");
        try {
          onEvent(name, data);
        } catch (error) {
          reportError(error); // a mistake of the page, none of the connection
        }
      });
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401 || error.status === 403) return onRefused(error);
      onState("away");
    }
    if (signal.aborted) return;
    await sleep(pause * (0.75 + Math.random() / 2), signal);
    pause = Math.min(pause * 2, BACK_OFF_MS[1]);
  }
}

async function readStream(path, signal, onEvent) {
  const silence = new AbortController();
  const stop = () => silence.abort();
  signal.addEventListener("abort", stop);
  let watch = setTimeout(stop, SILENCE_MS);
  try {
    const response = await fetch(path, {
      headers: { authorization: `Bearer ${key.get()}`, accept: "text/event-stream" },
      cache: "no-store",
      credentials: "omit",
      signal: silence.signal,
    });
    if (!response.ok) throw new ApiError(response.status, (await response.json().catch(() => null))?.error?.message ?? "");
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let pending = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(watch);
      watch = setTimeout(stop, SILENCE_MS);
      const blocks = (pending + value).split(/\r?\n\r?\n/);
      pending = blocks.pop();
      for (const block of blocks) parse(block, onEvent);
    }
  } finally {
    clearTimeout(watch);
    signal.removeEventListener("abort", stop);
  }
}

function parse(block, onEvent) {
  const fields = { event: "message", data: "" };
  for (const line of block.split(/\r?\n/)) {
    const [, name, value] = /^(event|data): ?(.*)$/.exec(line) ?? [];
    if (name === "data") fields.data += value;
    else if (name) fields.event = value;
  }
  if (fields.data) onEvent(fields.event, JSON.parse(fields.data));
}

function sleep(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      for (const [target, name] of ends) target.removeEventListener(name, done);
      resolve();
    };
    const ends = [[signal, "abort"], [window, "online"]];
    const timer = setTimeout(done, ms);
    for (const [target, name] of ends) target.addEventListener(name, done);
  });
}
