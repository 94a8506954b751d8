// The charts of the runtime. They share a cursor and a zoom.

import { el, $ } from "./dom.js";
import * as format from "./format.js";
import { Plot } from "./plot.js";

const line = (label, name, color, more = {}) => ({ label, name, color: `--c${color}`, ...more });
const share = (number) => format.percent(number);
const ofNanoseconds = (number) => format.percent(number / 1e9);
const each = (number) => format.rate(number, "");

const CHARTS = [
  { title: "Requests", text: each, counts: true, lines: [line("requests", "http.requests", 1, { fill: "--accent-soft" }), line("errors", "http.errors", 5)] },
  { title: "Latency", text: format.seconds, lines: [line("p50", "http.seconds.p50", 1), line("p90", "http.seconds.p90", 3, { dash: [6, 3] }), line("p99", "http.seconds.p99", 2)] },
  { title: "CPU, of a core", text: share, counts: true, lines: [line("user", "process.cpu_user_seconds", 1, { fill: "--accent-soft" }), line("system", "process.cpu_system_seconds", 2)] },
  { title: "Memory", text: format.bytes, lines: [line("RSS", "memstats.Sys", 4), line("live", "memstats.HeapAlloc", 1, { fill: "--accent-soft" }), line("free", "memstats.HeapIdle", 3, { dash: [6, 3] })] },
  { title: "Objects", text: format.count, lines: [line("blocks in use", "memstats.HeapObjects", 1)] },
  { title: "Event loop", text: format.seconds, lines: [line("lag", "asyncio.lag_seconds", 2)] },
  { title: "GC runs", text: each, counts: true, lines: [line("gen 0", "gc.gen0.collections", 4, { dash: [2, 3] }), line("gen 1", "gc.gen1.collections", 3, { dash: [6, 3] }), line("gen 2", "gc.gen2.collections", 1)] },
  { title: "GC time", text: ofNanoseconds, counts: true, lines: [line("gen 0", "gc.gen0.pause_total_ns", 4, { dash: [2, 3] }), line("gen 1", "gc.gen1.pause_total_ns", 3, { dash: [6, 3] }), line("gen 2", "gc.gen2.pause_total_ns", 1)] },
  { title: "Threads, tasks", text: format.count, lines: [line("threads", "threads.count", 1), line("tasks", "asyncio.tasks", 2), line("in flight", "http.in_flight", 3, { dash: [6, 3] })] },
];

const made = new Map();
const seen = new Set(); // cards in sight: only these are drawn
let again = () => {};
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) isIntersecting ? seen.add(target) : seen.delete(target);
  again();
}, { rootMargin: "200px" });
const KINDS = { start: "--c1", worker: "--c2", gc: "--c4", loop: "--bad", died: "--bad" };

export function colored(marks) {
  return marks.map((mark) => ({ ...mark, color: /has ended/.test(mark.text) ? "--bad" : KINDS[mark.kind] || "--muted" }));
}

let fine = null;
let asked = "";

// Reads the series of the charts with more points once charts are in sight, and again for another span or worker.
function ask(feed, act) {
  const wanted = `${feed.mode} ${feed.current.id} ${feed.track().step}`;
  if (!seen.size || asked === wanted) return;
  asked = wanted;
  feed.details(CHARTS.flatMap((chart) => chart.lines.map((one) => one.name)), 150).then((track) => { fine = track; act(); }, () => {});
}

export function update(feed, track, from, to) {
  again = () => update(feed, track, from, to);
  ask(feed, again);
  const box = $("charts");
  const marks = colored(track.marks);
  let any = false;
  for (const chart of CHARTS) {
    const lines = chart.lines.filter((one) => track.last(one.name) !== null || made.get(chart.title)?.has(one.label));
    if (!lines.length || (chart.title === "Requests" && !track.last("http.requests"))) continue;
    any = true;
    $("runtime").hidden = false;
    let card = made.get(chart.title);
    if (!card) {
      const legend = el("div", { className: "legend" });
      const article = el("article", { className: "panel card" }, el("div", { className: "title" }, el("h3", {}, chart.title), legend));
      box.append(article);
      watcher.observe(article);
      const plot = new Plot(article, lines, chart.text, { legend, label: `${chart.title} over time: ${lines.map((one) => one.label).join(", ")}; the same numbers are in the table of variables` });
      card = { plot, article, has: (label) => lines.some((one) => one.label === label), lines };
      made.set(chart.title, card);
    }
    if (!seen.has(card.article)) continue;
    const all = card.lines.map((one) => track.finer(fine, one.name, from, to, Boolean(chart.counts), 150));
    card.plot.set(all, from, to, marks);
  }
  $("runtime").hidden = !any;
}

