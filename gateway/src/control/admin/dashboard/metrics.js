// Metrics: the text that `/metrics` gives (Prometheus's format 0.0.4), and what becomes of it between two readings.

/** Samples by metric: `Map` of name to `[{ labels, value }]`. */
export function parse(text) {
  const families = new Map();
  for (const line of text.split("\n")) {
    const sample = line && line[0] !== "#" ? parseSample(line) : undefined;
    if (!sample) continue;
    if (!families.has(sample.name)) families.set(sample.name, []);
    families.get(sample.name).push(sample);
  }
  return families;
}

function parseSample(line) {
  const found = /^([A-Za-z_:][\w:]*)(\{.*\})?\s+(\S+)/.exec(line);
  if (!found) return undefined;
  const labels = {};
  for (const [, name, value] of (found[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
    labels[name] = value.replace(/\\(.)/g, (_, escaped) => (escaped === "n" ? "\n" : escaped));
  }
  return { name: found[1], labels, value: Number(found[3].replace("Inf", "Infinity")), key: `${found[1]}${found[2] ?? ""}` };
}

/** The last readings, as far back as rates look. */
export class History {
  #readings = [];

  constructor(kept) {
    this.kept = kept;
  }

  add(at, families) {
    const values = new Map();
    for (const sample of [...families.values()].flat()) values.set(sample.key, sample.value);
    this.#readings.push({ at, families, values });
    if (this.#readings.length > this.kept) this.#readings.shift();
  }

  /** Samples of the newest reading whose labels are these. */
  now(name, labels = {}) {
    const samples = this.#readings.at(-1)?.families.get(name) ?? [];
    return samples.filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value));
  }

  sum(name, labels = {}) {
    return this.now(name, labels).reduce((sum, sample) => sum + sample.value, 0);
  }

  /** How much these counters grew over all readings that are kept; a counter that fell began anew. */
  #growth(samples, first, last) {
    let growth = 0;
    for (const { key } of samples) {
      const [before, after] = [first.values.get(key) ?? 0, last.values.get(key) ?? 0];
      growth += after >= before ? after - before : after;
    }
    return growth;
  }

  /** Growth a second. */
  rate(name, labels = {}, keep = () => true) {
    const [first, last] = [this.#readings[0], this.#readings.at(-1)];
    if (!first || first === last) return 0;
    return this.#growth(this.now(name, labels).filter(keep), first, last) / ((last.at - first.at) / 1000);
  }

  /** Rates from each reading to the next. */
  rates(name, labels = {}) {
    const samples = this.now(name, labels);
    return this.#readings.slice(1).map((reading, at) => {
      const before = this.#readings[at];
      return this.#growth(samples, before, reading) / ((reading.at - before.at) / 1000);
    });
  }

  /** The mean of a histogram or summary since the oldest reading, in its unit; `undefined` when nothing was counted. */
  mean(name, labels = {}) {
    const count = this.rate(`${name}_count`, labels);
    return count > 0 ? this.rate(`${name}_sum`, labels) / count : undefined;
  }

  /** A quantile of a histogram since the oldest reading, by Prometheus's rule: linear within a bucket. */
  quantile(share, name, labels = {}) {
    const [first, last] = [this.#readings[0], this.#readings.at(-1)];
    if (!first || first === last) return undefined;
    const byBound = new Map();
    for (const sample of this.now(`${name}_bucket`, labels)) {
      const bound = Number(sample.labels.le.replace("+Inf", "Infinity"));
      byBound.set(bound, (byBound.get(bound) ?? 0) + this.#growth([sample], first, last));
    }
    const buckets = [...byBound].sort(([one], [other]) => one - other);
    const all = buckets.at(-1)?.[1] ?? 0;
    if (all === 0) return undefined;
    const at = buckets.findIndex(([, count]) => count >= share * all);
    const [below, counted] = at > 0 ? buckets[at - 1] : [0, 0];
    const [bound, count] = buckets[at];
    if (bound === Infinity) return below;
    return below + ((bound - below) * (share * all - counted)) / Math.max(count - counted, 1e-9);
  }
}

/** `0.00012` is `120 µs`. */
export function time(seconds) {
  if (seconds === undefined || Number.isNaN(seconds)) return "–";
  if (seconds < 1e-3) return `${(seconds * 1e6).toFixed(seconds < 1e-5 ? 1 : 0)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 1e-2 ? 1 : 0)} ms`;
  return `${seconds.toFixed(1)} s`;
}

export function count(number) {
  if (number >= 1e6) return `${(number / 1e6).toFixed(1)} M`;
  if (number >= 1e4) return `${(number / 1e3).toFixed(1)} k`;
  return number >= 100 || Number.isInteger(number) ? number.toFixed(0) : number.toFixed(1);
}

export function share(part, whole) {
  return whole > 0 ? `${((100 * part) / whole).toFixed(part > 0 && part / whole < 0.01 ? 2 : 1)} %` : "–";
}
