// Draws the panels of a dashboard for Grafana with what Prometheus answered to their queries, without Grafana.
//
//     node panels.mjs PLAYWRIGHT CHROMIUM PANELS.json PICTURE.png

import { readFileSync } from "node:fs";
import { open } from "./browser.mjs";

const [playwright, chromium, file, picture] = process.argv.slice(2);
const { browser, page } = await open(playwright, chromium, "http://127.0.0.1/", { viewport: { width: 1500, height: 600 }, colorScheme: "dark" });
const COLOURS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#37872d", "#8ab8ff"];

await page.setContent(`<style>
  body { margin: 0; padding: 12px; background: #111217; color: #ccccdc; font: 13px system-ui, sans-serif; display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 10px; width: 1476px; }
  figure { margin: 0; padding: 8px 10px; background: #181b1f; border: 1px solid #2c3235; border-radius: 3px; }
  figcaption { font-weight: 500; margin-bottom: 4px; }
  text { fill: #9fa7b3; font-size: 10px; }
  p { margin: 2px 0 0; font-size: 11px; color: #9fa7b3; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  b { display: inline-block; width: 10px; height: 3px; margin: 0 4px 3px 8px; }
</style>`);
await page.evaluate(
  ([panels, colours]) => {
    const units = { s: 1, percentunit: 1 };
    const shown = (value, unit) => {
      if (unit === "s") return value < 1e-3 ? `${(value * 1e6).toFixed(0)} µs` : value < 1 ? `${(value * 1e3).toFixed(1)} ms` : `${value.toFixed(1)} s`;
      if (unit === "percentunit") return `${(value * 100).toFixed(0)} %`;
      return value >= 100 ? value.toFixed(0) : String(Number(value.toFixed(2)));
    };
    for (const panel of panels) {
      const unit = panel.fieldConfig?.defaults?.unit ?? (units[panel.unit] ? panel.unit : "");
      const lines = panel.targets.flatMap(({ found, legendFormat }) =>
        found.map(({ metric, values }) => ({
          name: legendFormat.replace(/{{(\w+)}}/g, (_, label) => metric[label] ?? ""),
          points: values.map(([at, value]) => [at, Number(value)]).filter(([, value]) => Number.isFinite(value)),
        })),
      );
      const all = lines.flatMap(({ points }) => points);
      const [from, to] = [Math.min(...all.map(([at]) => at)), Math.max(...all.map(([at]) => at))];
      const most = Math.max(...all.map(([, value]) => value), 1e-9) * 1.08;
      const place = ([at, value]) => `${(44 + (400 * (at - from)) / Math.max(to - from, 1)).toFixed(1)} ${(120 - (112 * value) / most).toFixed(1)}`;
      const grid = [0, 0.5, 1].map((part) => {
        const y = 120 - 112 * part;
        return `<path d="M44 ${y}H444" stroke="#2c3235"/><text x="40" y="${y + 3}" text-anchor="end">${shown((most * part) / 1.0, unit)}</text>`;
      });
      const drawn = lines.map(({ points }, at) => `<path d="M${points.map(place).join("L")}" fill="none" stroke="${colours[at % colours.length]}" stroke-width="1.5"/>`);
      const figure = document.createElement("figure");
      const title = document.createElement("figcaption");
      title.textContent = panel.title;
      const picture = document.createElement("div");
      picture.innerHTML = `<svg viewBox="0 0 450 126" width="100%">${grid.join("")}${drawn.join("")}</svg>`;
      const legend = document.createElement("p");
      lines.slice(0, 6).forEach(({ name }, at) => {
        const mark = document.createElement("b");
        mark.style.background = colours[at % colours.length];
        legend.append(mark, name);
      });
      figure.append(title, picture, legend);
      document.body.append(figure);
    }
  },
  [JSON.parse(readFileSync(file, "utf8")), COLOURS],
);
await page.screenshot({ path: picture, fullPage: true });
await browser.close();
