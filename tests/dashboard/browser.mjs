// Headless Chromium, and a page in it that has nowhere to go but the gateway.

import { createRequire } from "node:module";

/** The page; `complaints` of its scripts and policy, and `strays`: requests to anywhere else, which get no answer. */
export async function open(playwright, executablePath, url, options = {}) {
  const { chromium } = createRequire(import.meta.url)(playwright);
  const browser = await chromium.launch({
    executablePath,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  const page = await browser.newPage({ viewport: { width: 1280, height: 1250 }, colorScheme: "light", ...options });
  page.setDefaultTimeout(60_000);
  const [complaints, strays, home] = [[], [], new URL(url).origin];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await page.route(
    (asked) => asked.origin !== home,
    (route) => {
      strays.push(route.request().url());
      return route.abort();
    },
  );
  return { browser, page, complaints, strays };
}
