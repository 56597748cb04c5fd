// Visits the dashboard in headless Chromium as an operator would, and prints what it saw as JSON.
//
//     node visit.mjs PLAYWRIGHT CHROMIUM URL TOKEN SOURCE [PICTURES]
//
// PLAYWRIGHT is the folder of playwright-core; SOURCE that of another version of the plugin; PICTURES one that gets screenshots.

import { join } from "node:path";
import { open } from "./browser.mjs";

const [playwright, chromium, url, token, source, pictures] = process.argv.slice(2);
const { browser, page, complaints, strays } = await open(playwright, chromium, url);

const text = (selector) => page.locator(selector).allInnerTexts();
const row = (section, name) => page.locator(`#${section} tr`, { hasText: name });
const picture = (name) => pictures && page.screenshot({ path: join(pictures, name) });

await page.goto(url);
await row("routes", "all").waitFor();
// Rates take two readings.
await page.waitForFunction(() => {
  const cells = [...document.querySelectorAll("#routes tr")].find((line) => line.innerText.includes("all"))?.cells;
  return cells && Number(cells[3].innerText) > 0 && cells[7].innerText !== "–";
});
const seen = { routes: await text("#routes tbody tr"), state: await text("#state") };

const button = row("routes", "all").locator("button");
await button.focus();
await page.keyboard.press("Enter");
await page.locator("#pipeline .stage").first().waitFor();
seen.stages = await text("#pipeline .stage");
seen.tiles = await text("#tiles .tile");
seen.plugins = await text("#plugins tbody tr");
seen.reload = await text("#last-reload");
seen.upstreams = await text("#upstreams tbody tr");
seen.lockedBefore = await page.locator("#plugins button:disabled").count();

await page.click("#sign-in");
await page.fill("dialog input", token);
await page.click("dialog button[value=yes]");
await row("plugins", "stamp").locator("button", { hasText: "Swap" }).and(page.locator(":enabled")).waitFor();
await row("plugins", "stamp").locator("button", { hasText: "Swap" }).click();
await page.fill("dialog input[name=source]", source);
await page.fill("dialog input[name=reason]", "<img src=x onerror=alert(1)>");
await page.click("dialog button[value=yes]");
await page.locator("#notice", { hasText: "swap stamp: serving" }).waitFor();
await row("plugins", "stamp").locator(".tag.warn", { hasText: "override" }).waitFor();
await page.locator("#events li", { hasText: "swap" }).first().waitFor();
seen.swapped = await text("#plugins tbody tr");
seen.held = [await row("plugins", "stamp").locator(".tag.warn").first().getAttribute("title")];
seen.events = await text("#events li");
await picture("dashboard-light.png");

await page.click("#theme");
seen.dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
await picture("dashboard-dark.png");

await row("plugins", "stamp").locator("button", { hasText: "Roll back" }).click();
await page.click("dialog button[value=yes]");
await page.locator("#notice", { hasText: "rollback stamp: serving" }).waitFor();
seen.injected = await page.locator("main img, main script, main b").count();

await page.click("#sign-in");
await page.fill("dialog input", "wrong-token-0123456789");
await page.click("dialog button[value=yes]");
await page.locator("#state", { hasText: "sign in" }).waitFor();

await browser.close();
console.log(JSON.stringify({ ...seen, complaints, strays }));
