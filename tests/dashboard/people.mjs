// The dashboard for those who use no mouse, and in both colour schemes; prints what it saw as JSON.
//
//     node people.mjs PLAYWRIGHT CHROMIUM URL TOKEN

import { open } from "./browser.mjs";

const [playwright, chromium, url, token] = process.argv.slice(2);
const { browser, page, complaints, strays } = await open(playwright, chromium, url);
const seen = { contrasts: {} };

await page.goto(url);
await page.locator("#plugins tbody tr").first().waitFor();

// ---- by the keyboard alone ----

/** Tabs until something with this text has the focus; tells whether that can be seen. */
async function tabTo(text) {
  for (let pressed = 0; pressed < 60; pressed += 1) {
    await page.keyboard.press("Tab");
    const focus = await page.evaluate(() => {
      const style = getComputedStyle(document.activeElement);
      return { text: document.activeElement.innerText ?? "", outline: style.outlineStyle !== "none" && style.outlineWidth !== "0px" };
    });
    if (focus.text.includes(text)) return focus.outline;
  }
  throw new Error(`nothing with \`${text}\` can be tabbed to`);
}
seen.outlined = [await tabTo("Sign in")];
await page.keyboard.press("Enter");
await page.locator("dialog[open]").waitFor();
await page.keyboard.press("Escape");
await page.locator("dialog[open]").waitFor({ state: "detached" });
seen.focusAfterEscape = await page.evaluate(() => document.activeElement.innerText);
await page.keyboard.press("Enter");
await page.locator("dialog input").waitFor();
await page.keyboard.type(token);
await page.keyboard.press("Enter");
await page.locator("#sign-in", { hasText: "Signed in" }).waitFor();
seen.outlined.push(await tabTo("all"));
await page.keyboard.press("Enter");
await page.locator("#pipeline .stage").first().waitFor();
seen.outlined.push(await tabTo("Swap"));
await page.keyboard.press("Enter");
await page.locator("dialog input[name=source]").waitFor();
await page.keyboard.press("Escape");

// ---- colours (WCAG 2.2, 1.4.3) ----

const contrasts = () =>
  page.evaluate(() => {
    const probe = document.createElement("i");
    document.body.append(probe);
    const colour = (name) => {
      probe.style.color = `var(--${name})`;
      return getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
    };
    const luminance = (rgb) => {
      const [r, g, b] = rgb.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ratio = (one, other) => {
      const [high, low] = [luminance(colour(one)), luminance(colour(other))].sort((a, b) => b - a);
      return (high + 0.05) / (low + 0.05);
    };
    const pairs = ["page", "card"].flatMap((ground) =>
      ["text", "soft", "accent", "good", "warn", "bad"].map((name) => [`${name} on ${ground}`, ratio(name, ground)]),
    );
    probe.remove();
    return Object.fromEntries(pairs);
  });
for (const colorScheme of ["light", "dark"]) {
  await page.emulateMedia({ colorScheme });
  seen.contrasts[colorScheme] = await contrasts();
  seen[colorScheme] = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
}
seen.unlabelled = await page.evaluate(
  () => [...document.querySelectorAll("button, input, section, svg")].filter((one) => !(one.innerText || one.ariaLabel || one.labels?.length || one.getAttribute("aria-label") || one.getAttribute("aria-labelledby"))).length,
);
await browser.close();
console.log(JSON.stringify({ ...seen, complaints, strays }));
