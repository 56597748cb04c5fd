// Shows the dashboard a gateway in which everything that has a name is called by its worst enemy, and prints what became of it as JSON.
//
//     node hostile.mjs PLAYWRIGHT CHROMIUM URL TOKEN
//
// A configuration has rules for most names, so that the API is made to lie here: what counts is that the page believes none of it.

import { open } from "./browser.mjs";

const [playwright, chromium, url, token] = process.argv.slice(2);
const { browser, page, complaints, strays } = await open(playwright, chromium, url);

const NAMES = [
  `<img src=x onerror="window.ran='img'">`,
  `"><script>window.ran='script'</script>`,
  `'"\`</strong></td><svg onload=window.ran='svg'>`,
  `<style>*{display:none!important}</style>`,
  `<a href="javascript:window.ran='link'">click</a>`,
  `\u202egnp.exe\u202c \u2066isolate \u200f`,
  `nul\u0000 esc\u001b[31m bell\u0007 del\u007f c1\u0085 \r\n line`,
  `\${7*7} {{7*7}} __proto__ constructor`,
  `long ${"x".repeat(10_000)} end`,
];
const KINDS = ["route", "plugin", "upstream"];
const name = (kind, number) => `${kind}-${number} ${NAMES[number]}`;
const each = (make) => NAMES.map((_, number) => make(number));
const escaped = (text) => text.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n");

let readings = 0;
const answers = {
  "/api/status": (real) => ({
    ...real,
    version: NAMES[0],
    config_source: NAMES[1],
    last_reload_error: NAMES.join("\n"),
  }),
  "/api/routes": () =>
    each((number) => ({
      name: name("route", number),
      filters: each((other) => name("plugin", other)),
      upstreams: [name("upstream", number)],
      timeout_s: 1,
    })),
  "/api/plugins": () =>
    each((number) => ({
      name: name("plugin", number),
      source: NAMES[number],
      sha256: NAMES[number],
      decided_by: "override",
      override: { actor: NAMES[number], since: NAMES[number], reason: NAMES[number], sha256: NAMES[number] },
      previous_sha256: NAMES[number],
      hooks: [NAMES[number]],
      imports: [`witgate:plugin/${NAMES[number]}`],
      rollout: { mode: NAMES[number], sha256: NAMES[number], evidence: { text: NAMES[number] } },
    })),
  "/api/upstreams": () =>
    each((number) => ({
      name: name("upstream", number),
      balance: NAMES[number],
      panicking: number % 2 === 0,
      endpoints: [{ address: NAMES[number], weight: 1, in_flight: 0, latency_ms: null, ejected: false, fails_checks: false }],
    })),
};
for (const [path, make] of Object.entries(answers)) {
  await page.route(`**${path}`, async (route) => {
    const answer = await route.fetch();
    return route.fulfill({ response: answer, json: make(await answer.json()) });
  });
}
await page.route("**/metrics", (route) => {
  readings += 1;
  const lines = each((number) => {
    const labels = `route="${escaped(name("route", number))}",code="200",listener="${escaped(NAMES[number])}",method="GET"`;
    const state = `witgate_circuit_state{route="${escaped(name("route", number))}",state="${escaped(NAMES[number])}"} 1`;
    return `witgate_http_requests_total{${labels}} ${readings * 10}\n${state}`;
  });
  return route.fulfill({ contentType: "text/plain", body: `${lines.join("\n")}\n` });
});
await page.route("**/api/events", (route) => {
  const event = (number) => ({ kind: NAMES[number], time: "2026-01-01T00:00:00Z", error: NAMES[number], plugin: NAMES[number] });
  const body = each((number) => `event: swap\ndata: ${JSON.stringify(event(number))}\n\n`).join("");
  return route.fulfill({ contentType: "text/event-stream", body });
});
await page.route("**/api/plugins/*", (route) =>
  route.fulfill({ status: 422, contentType: "application/problem+json", body: JSON.stringify({ detail: NAMES.join(" ") }) }),
);
await page.addInitScript(() => {
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
});

await page.goto(url);
await page.locator("#routes tbody tr").nth(NAMES.length - 1).waitFor();
await page.locator("#events li").nth(NAMES.length - 1).waitFor();
for (const number of NAMES.keys()) {
  await page.locator("#routes tbody tr").nth(number).locator("button").click();
  await page.locator("#pipeline .stage").nth(NAMES.length - 1).waitFor();
}
// What the page says and asks about a plugin holds its name, too.
await page.click("#sign-in");
await page.fill("dialog input", token);
await page.click("dialog button[value=yes]");
const swap = page.locator("#plugins tbody tr").first().locator("button", { hasText: "Swap" });
await swap.and(page.locator(":enabled")).click();
const dialog = await page.locator("dialog").innerText();
await page.fill("dialog input[name=source]", "builtin:jwt");
await page.click("dialog button[value=yes]");
await page.locator("#notice.bad").waitFor();

const seen = await page.evaluate(() => ({
  ran: window.ran ?? null,
  violations: window.violations,
  // All that the page itself never makes.
  foreign: [...document.querySelectorAll("main *, dialog *, #notice *, #state *")]
    .map((one) => one.localName)
    .filter((name) => ["img", "script", "style", "a", "iframe", "object", "link", "base", "form"].includes(name)),
  handlers: [...document.querySelectorAll("*")].flatMap((one) => [...one.attributes]).filter(({ name }) => name.startsWith("on")).length,
  wide: document.documentElement.scrollWidth > window.innerWidth,
  routes: document.querySelector("#routes").innerText,
  plugins: document.querySelector("#plugins").innerText,
  upstreams: document.querySelector("#upstreams").innerText,
  events: document.querySelector("#events").innerText,
  reload: document.querySelector("#last-reload").innerText,
  notice: document.querySelector("#notice").innerText,
  tallest: Math.max(...[...document.querySelectorAll("tr, li")].map((one) => one.offsetHeight)),
}));
const all = [seen.routes, seen.plugins, seen.upstreams, seen.events, seen.reload, seen.notice, dialog].join("");
// Characters that would be seen as others, or turn what stands after them around.
const invisible = [...all].filter((char) => /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/.test(char));
// The page asks again all the time: an answer that is being made must not find the browser gone.
await page.unrouteAll({ behavior: "wait" });
await browser.close();
console.log(JSON.stringify({ ...seen, dialog, invisible: invisible.length, complaints, strays, kinds: KINDS }));
