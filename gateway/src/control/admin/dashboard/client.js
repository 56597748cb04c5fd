// The admin API, as this page asks it: with the token of whoever signed in, which stays in this tab.

const TOKEN = "witgate-token";

export const token = {
  get: () => sessionStorage.getItem(TOKEN) ?? "",
  set: (secret) => (secret ? sessionStorage.setItem(TOKEN, secret) : sessionStorage.removeItem(TOKEN)),
};

/** What the API refuses, in its own words (RFC 9457). */
export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token.get()) headers.authorization = `Bearer ${token.get()}`;
  const response = await fetch(path, { cache: "no-store", ...options, headers });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Refusal(response.status, problem.detail ?? `${response.status} ${response.statusText}`);
}

export const read = async (path) => (await ask(path)).json();
export const readText = async (path) => (await ask(path)).text();
export const post = async (path) => (await ask(path, { method: "POST" })).json();
export const put = async (path, body) =>
  (await ask(path, { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })).json();

/** Calls `heard` with each event, for ever. Not an `EventSource`, because that sends no token. */
export async function listen(heard) {
  for (;;) {
    try {
      const stream = (await ask("api/events")).body.pipeThrough(new TextDecoderStream());
      let rest = "";
      for await (const piece of pieces(stream)) {
        const events = (rest + piece).split("\n\n");
        rest = events.pop();
        events.flatMap(data).forEach(heard);
      }
    } catch {
      // The other readings of this page tell that the gateway is gone.
    }
    await new Promise((again) => setTimeout(again, 2000));
  }
}

async function* pieces(stream) {
  const reader = stream.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
}

function data(event) {
  const line = event.split("\n").find((one) => one.startsWith("data: "));
  return line ? [JSON.parse(line.slice(6))] : [];
}
