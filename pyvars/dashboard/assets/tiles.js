// The headline figures, in a fixed order. A figure without numbers is not shown.

import { el, mark, say } from "./dom.js";
import * as format from "./format.js";
import { draw, forgetSizes, POINTS } from "./sparkline.js";

const sum = (track, names, read) => {
  const found = names.map(read).filter((each) => each !== null);
  return found.length ? found.reduce((one, other) => one + other, 0) : null;
};
const CPU = ["process.cpu_user_seconds", "process.cpu_system_seconds"];

// Each tile: its series, whether these are counters, the text of its figure, its limit, and when it is a warning.
const TILES = [
  { name: "Requests", series: ["http.requests"], counts: true, text: (v) => format.rate(v, "") },
  { name: "Errors", series: ["http.errors"], counts: true, text: (v) => format.rate(v, ""), of: "http.requests", warn: (v, limit) => v > 0 && v > limit * 0.05 },
  { name: "Latency p99", series: ["http.seconds.p99"], text: (v) => format.seconds(v) },
  { name: "In flight", series: ["http.in_flight"], text: (v) => format.count(v) },
  { name: "CPU", series: CPU, counts: true, text: (v) => format.percent(v), note: "of a core" },
  { name: "Memory", series: ["memstats.Sys"], text: (v) => format.bytes(v), limit: "memory", warn: (v, limit) => limit && v > limit * 0.8 },
  { name: "Loop lag", series: ["asyncio.lag_seconds"], text: (v) => format.seconds(v), warn: (v) => v > 0.1 },
  { name: "GC time", series: ["memstats.PauseTotalNs"], counts: true, text: (v) => format.percent(v / 1e9), warn: (v) => v > 1e8 },
  { name: "Threads", series: ["threads.count"], text: (v) => format.count(v) },
  { name: "Open files", series: ["process.open_fds"], text: (v) => format.count(v), limit: "process.max_fds", warn: (v, limit) => limit && v > limit * 0.8 },
];

const made = new Map();

function make(tile, box) {
  const figure = el("strong"), note = el("span", { className: "of" });
  const canvas = el("canvas", { "aria-hidden": "true" });
  const bar = el("div", { className: "bar" }, el("i"));
  const item = el("div", { className: "tile" }, el("h3", {}, tile.name), el("p", {}, figure, " ", note), canvas, bar);
  box.append(item);
  forgetSizes();
  const parts = { item, figure, note, canvas, bar };
  made.set(tile.name, parts);
  return parts;
}

export function update(box, track, live, from, to, memoryLimit) {
  for (const tile of TILES) {
    if (!tile.series.some((name) => live.last(name) !== null)) {
      if (made.has(tile.name)) {
        made.get(tile.name).item.remove();
        made.delete(tile.name);
        forgetSizes();
      }
      continue;
    }
    const parts = made.get(tile.name) || make(tile, box);
    const shown = sum(track, tile.series, (name) => (tile.counts ? live.speed(name) : live.last(name)));
    const limit = tile.limit === "memory" ? memoryLimit : tile.limit ? live.last(tile.limit) : tile.of ? live.speed(tile.of) : 0;
    say(parts.figure, shown === null ? "…" : tile.text(shown));
    const warns = shown !== null && tile.warn && Boolean(tile.warn(shown, limit));
    mark(parts.item, "bad", warns);
    const whole = tile.of ? "all" : tile.limit === "memory" ? format.bytes(limit) : format.count(limit ?? 0);
    const of = limit ? `${format.percent(shown / limit)} of ${whole}` : tile.note || "";
    say(parts.note, warns ? `warning${limit ? ` · ${of}` : ""}` : of);
    parts.bar.hidden = !limit || Boolean(tile.of);
    if (limit) parts.bar.firstChild.style.width = `${Math.min(100, (shown / limit) * 100)}%`;
    const all = tile.series.map((name) => track.points(name, from, to, Boolean(tile.counts), POINTS));
    const points = { ...all[0], v: all[0].v.map((each, row) => all.reduce((total, one) => (total === null || (one.v[row] ?? null) === null ? null : total + one.v[row]), 0)) };
    draw(parts.canvas, points, from, to, { zero: tile.counts || !limit, bad: warns });
  }
  const order = TILES.map((tile) => made.get(tile.name)?.item).filter(Boolean);
  order.forEach((item, place) => { if (box.children[place] !== item) box.insertBefore(item, box.children[place] || null); });
}

