// The page: reads the gateway every two seconds, shows it, and passes on what its buttons ask for.

import * as actions from "./actions.js";
import { listen, read, readText, token } from "./client.js";
import { visible } from "./dom.js";
import { History, parse } from "./metrics.js";
import * as views from "./views.js";

const state = { history: new History(16), selected: undefined, signedIn: Boolean(token.get()) };
const stateLine = document.getElementById("state");
const notice = document.getElementById("notice");

async function look() {
  try {
    const [status, routes, plugins, upstreams, metrics] = await Promise.all([
      read("api/status"),
      read("api/routes"),
      read("api/plugins"),
      read("api/upstreams"),
      readText("metrics"),
    ]);
    state.history.add(performance.now(), parse(metrics));
    Object.assign(state, { status, routes, plugins, upstreams });
    stateLine.textContent = visible(`${status.ready ? "serving" : "not ready"} · version ${status.version} · ${status.workers} workers`);
    stateLine.className = `state ${status.ready ? "good" : "warn"}`;
    draw();
  } catch (error) {
    stateLine.textContent = error.status === 401 ? "sign in to see this gateway" : `no answer: ${error.message}`;
    stateLine.className = "state bad";
  }
}

function draw() {
  if (!state.status) return;
  views.tiles(state);
  views.routes(state, select);
  views.pipeline(state);
  views.plugins(state, act);
  views.upstreams(state);
  views.lastReload(state);
  for (const button of document.querySelectorAll(".needs-token")) button.disabled = !state.signedIn;
  document.getElementById("sign-in").textContent = state.signedIn ? "Signed in" : "Sign in";
}

function select(route) {
  state.selected = state.selected === route ? undefined : route;
  draw();
}

function tell(text, kind) {
  notice.textContent = visible(text);
  notice.className = `notice ${kind}`;
  notice.hidden = false;
}

/** Does it, and tells how it went. */
async function carryOut(what, work) {
  try {
    const done = await work();
    if (done) tell(`${what}: ${done.state ?? `generation ${done.generation}`}`, "good");
  } catch (error) {
    tell(`${what}: ${error.message}`, "bad");
  }
  await look();
}

function act(action, plugin) {
  return carryOut(`${action} ${plugin.name}`, () => actions.act(action, plugin));
}

document.getElementById("reload").addEventListener("click", () => carryOut("reload", actions.reload));
document.getElementById("sign-in").addEventListener("click", async () => {
  await actions.signIn();
  state.signedIn = Boolean(token.get());
  await look();
});
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
});

listen((event) => views.event(document.getElementById("events"), event));
// One reading after the other: a gateway that answers slowly is not asked more often for it.
for (;;) {
  await look();
  await new Promise((next) => setTimeout(next, 2000));
}
