// What the page shows, from what the API and the metrics tell.

import { element, show, sparkline, table } from "./dom.js";
import { count, share, time } from "./metrics.js";

const REQUESTS = "witgate_http_requests_total";
const DURATION = "witgate_http_request_duration_seconds";
const isFailure = (sample) => sample.labels.code.startsWith("5");

export function tiles({ status, history }) {
  const requests = history.rate(REQUESTS);
  const failures = history.rate(REQUESTS, {}, isFailure);
  const facts = [
    ["Requests a second", count(requests)],
    ["5xx", share(failures, requests), failures > 0 ? "bad" : undefined],
    ["p99", time(history.quantile(0.99, DURATION))],
    ["In flight", count(history.sum("witgate_http_requests_in_flight"))],
    ["Connections", count(history.sum("witgate_connections"))],
    ["Memory", `${(history.sum("process_resident_memory_bytes") / 2 ** 20).toFixed(0)} MiB`],
    ["Generation", status.generation],
    ["Up for", age(status.uptime_s)],
  ];
  const tile = ([name, value, kind]) =>
    element("div", { class: "tile" }, element("span", {}, name), element("strong", { class: kind }, value));
  show("tiles", ...facts.map(tile));
}

export function routes({ routes, history, selected }, select) {
  const columns = [
    ["Route", (route) => name(route, selected, select)],
    ["Filters", (route) => route.filters.map((filter) => filter.name ?? filter).join(" → ") || "–"],
    ["Upstreams", (route) => route.upstreams.join(", ") || "answers itself"],
    ["Requests/s", (route) => count(history.rate(REQUESTS, { route: route.name })), "number"],
    ["", (route) => sparkline(history.rates(REQUESTS, { route: route.name }), `Requests a second of ${route.name}`)],
    ["5xx", (route) => errors(history, route.name), "number"],
    ["p50", (route) => time(history.quantile(0.5, DURATION, { route: route.name })), "number"],
    ["p99", (route) => time(history.quantile(0.99, DURATION, { route: route.name })), "number"],
    ["Own time, p99", (route) => time(history.quantile(0.99, "witgate_overhead_seconds", { route: route.name })), "number"],
  ];
  const attributes = (route) => ({ "aria-selected": String(route.name === selected) });
  show("routes", table(columns, routes.slice(0, ROUTES_SHOWN), { empty: "There is no route.", attributes }));
}

function name(route, selected, select) {
  const open = { class: "plain", type: "button", "data-key": route.name, onclick: () => select(route.name) };
  return element("button", { ...open, "aria-expanded": String(route.name === selected) }, route.name);
}

function errors(history, route) {
  const failures = history.rate(REQUESTS, { route }, isFailure);
  const text = share(failures, history.rate(REQUESTS, { route }));
  return element("span", { class: failures > 0 ? "bad" : undefined }, text);
}

/** The chain of the chosen route: each stage with the time that it takes. */
export function pipeline({ routes, plugins, history, selected }) {
  const route = routes.find((one) => one.name === selected);
  if (!route) return show("pipeline");
  const stages = route.filters.map((filter) => stage(filter.name ?? filter, route, plugins, history));
  const beyond = route.upstreams.map((upstream) => {
    const taken = history.mean("witgate_upstream_request_duration_seconds", { upstream });
    return { kind: "upstream", name: upstream, what: "upstream", taken, p99: undefined };
  });
  const all = [...stages, ...(beyond.length > 0 ? beyond : [{ kind: "", name: "answer", what: "the route's own" }])];
  const most = Math.max(...all.map(({ taken }) => taken ?? 0), 1e-9);
  show(
    "pipeline",
    element(
      "div",
      { class: "pipeline" },
      element("h3", {}, `How ${route.name} passes`),
      element("ol", {}, all.map((one) => element("li", {}, box(one, most)))),
    ),
  );
}

function stage(filter, route, plugins, history) {
  const own = history.mean("witgate_filter_duration_seconds", { route: route.name, filter });
  const plugin = plugins.find((one) => one.name === filter);
  if (!plugin) return { kind: "", name: filter, what: "native", taken: own };
  const labels = { plugin: filter };
  const taken = own ?? history.mean("witgate_plugin_duration_seconds", labels);
  const p99 = history.quantile(0.99, "witgate_plugin_duration_seconds", labels);
  return { kind: "plugin", name: filter, what: `plugin · ${plugin.hooks.join(", ")}`, taken, p99 };
}

function box({ kind, name, what, taken, p99 }, most) {
  const bar = element("span", { class: "time", "aria-hidden": "true" });
  bar.style.width = `${Math.round((100 * (taken ?? 0)) / most)}%`;
  const none = what === "native" ? "times: telemetry.metrics.filter_histograms" : "no calls";
  const times = taken === undefined ? none : `mean ${time(taken)}${p99 === undefined ? "" : ` · p99 ${time(p99)}`}`;
  return element("div", { class: `stage ${kind}` }, element("strong", {}, name), element("small", {}, what), element("small", {}, times), bar);
}

export function plugins({ plugins, history, signedIn }, act) {
  const calls = (plugin, outcomes) =>
    history.rate("witgate_plugin_calls_total", { plugin: plugin.name }, (sample) => outcomes(sample.labels.outcome));
  const FAILED = new Set(["error", "trap", "deadline", "memory"]);
  const columns = [
    ["Plugin", (plugin) => element("strong", {}, plugin.name)],
    ["Source", (plugin) => element("span", { title: plugin.source }, plugin.source), "short"],
    ["Version", (plugin) => element("code", { title: plugin.sha256 }, plugin.sha256.slice(0, 12))],
    ["Decided by", (plugin) => decided(plugin)],
    ["May use", (plugin) => rights(plugin), "wrap"],
    ["Calls/s", (plugin) => count(calls(plugin, () => true)), "number"],
    ["Failures", (plugin) => failures(calls(plugin, (outcome) => FAILED.has(outcome)), calls(plugin, () => true)), "number"],
    ["p99", (plugin) => time(history.quantile(0.99, "witgate_plugin_duration_seconds", { plugin: plugin.name })), "number"],
    ["On trial", (plugin) => trial(plugin.rollout)],
    ["", (plugin) => actions(plugin, signedIn, act), "whole"],
  ];
  show("plugins", table(columns, plugins, { empty: "No plugin is declared." }));
}

function decided(plugin) {
  const held = plugin.override;
  if (plugin.decided_by !== "override") return element("span", { class: "tag" }, "configuration");
  const why = held ? `${held.actor}, ${held.since}${held.reason ? `: ${held.reason}` : ""}` : "";
  return element("span", { class: "tag warn", title: why }, "override");
}

function rights(plugin) {
  const names = plugin.imports.filter((one) => one.startsWith("witgate:")).map((one) => one.replace(/^.*\/|@.*$/g, ""));
  return names.map((one) => element("span", { class: "tag" }, one));
}

function failures(failed, all) {
  return element("span", { class: failed > 0 ? "bad" : undefined }, share(failed, all));
}

function trial(rollout) {
  if (!rollout) return "–";
  const how = rollout.mode === "canary" ? `canary, ${rollout.percent} %` : rollout.mode;
  return element("span", { class: "tag warn", title: JSON.stringify(rollout.evidence) }, `${how}: ${rollout.sha256.slice(0, 12)}`);
}

function actions(plugin, signedIn, act) {
  const button = (action, title, enabled) =>
    element(
      "button",
      { type: "button", "data-key": `${plugin.name}/${action}`, disabled: !(signedIn && enabled), onclick: () => act(action, plugin) },
      title,
    );
  return [
    button("swap", "Swap …", true),
    " ",
    button("promote", "Promote", Boolean(plugin.rollout)),
    " ",
    button("rollback", "Roll back", Boolean(plugin.rollout ?? plugin.previous_sha256)),
    " ",
    button("reset", "Reset", plugin.decided_by === "override"),
  ];
}

export function upstreams({ upstreams, history }) {
  const rows = upstreams.flatMap((upstream) => upstream.endpoints.map((endpoint) => ({ upstream, endpoint })));
  const columns = [
    ["Upstream", ({ upstream }) => element("strong", {}, upstream.name)],
    ["Endpoint", ({ endpoint }) => element("code", {}, endpoint.address)],
    ["Health", ({ upstream, endpoint }) => health(upstream, endpoint)],
    ["Weight", ({ endpoint }) => endpoint.weight, "number"],
    ["In flight", ({ endpoint }) => count(endpoint.in_flight), "number"],
    ["Latency", ({ endpoint }) => time(endpoint.latency_ms === null ? undefined : endpoint.latency_ms / 1e3), "number"],
    ["Balancing", ({ upstream }) => upstream.balance],
  ];
  const open = history.now("witgate_circuit_state").filter((sample) => sample.labels.state !== "closed" && sample.value > 0);
  const circuits = open.map(({ labels }) =>
    element("p", { class: "empty warn" }, `The circuit breaker of route ${labels.route} is ${labels.state}.`),
  );
  show("upstreams", table(columns, rows, { empty: "No upstream has endpoints." }), ...circuits);
}

function health(upstream, endpoint) {
  if (endpoint.ejected) return element("span", { class: "bad" }, "ejected");
  if (endpoint.fails_checks) return element("span", { class: "bad" }, "fails its checks");
  return element("span", { class: upstream.panicking ? "warn" : "good" }, upstream.panicking ? "healthy, others are not" : "healthy");
}

export function lastReload({ status }) {
  const error = status.last_reload_error;
  const told = error
    ? [element("p", { class: "bad" }, "The last reload failed; what served before serves on."), element("pre", {}, error)]
    : [element("p", {}, `Generation ${status.generation} serves, from ${status.config_source}.`)];
  show("last-reload", element("div", { class: "diagnostics" }, told));
}

export function event(list, happened) {
  const { kind, time: at, ...detail } = happened;
  const line = element(
    "li",
    {},
    element("time", { datetime: at }, at.slice(11, 19)),
    element("span", { class: "tag" }, kind),
    element("code", {}, JSON.stringify(detail)),
  );
  list.prepend(line);
  while (list.children.length > EVENTS_SHOWN) list.lastChild.remove();
}

function age(seconds) {
  if (seconds < 120) return `${seconds.toFixed(0)} s`;
  if (seconds < 7200) return `${(seconds / 60).toFixed(0)} min`;
  return seconds < 172800 ? `${(seconds / 3600).toFixed(0)} h` : `${(seconds / 86400).toFixed(0)} d`;
}

const EVENTS_SHOWN = 200;
/** A page of thousands of rows helps nobody; the rest is in the metrics. */
const ROUTES_SHOWN = 500;
