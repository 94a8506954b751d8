// The panels beside the variables: what moved, workers, memory, events.

import { $, el, mark, say } from "./dom.js";
import * as format from "./format.js";
import { describe, RESTLESS } from "./names.js";
import { colored } from "./charts.js";
import { draw, POINTS } from "./sparkline.js";

export const WHY = {
  blocked: "its event loop, or a request, has not gone on",
  stopped: "a signal or a debugger has stopped it",
  silent: "it does not answer",
};

export function stuckOf(workers) {
  return (workers?.workers || []).filter((each) => each.stuck);
}

// ---- workers

const rows = new Map();
let before = new Map();
let shown = null;

export function workers(found, choose, chosen) {
  const section = $("workers");
  const all = found?.workers || [];
  section.hidden = all.length === 0;
  if (!all.length) return;
  const body = section.querySelector(".body");
  if (!body.firstChild) {
    const head = ["Worker", "State", "Req/s", "Busy", "Lag", "CPU", "Live", "RSS"].map((text, place) => el("th", { scope: "col", className: place > 1 ? "number" : "" }, text));
    body.append(el("table", {}, el("caption", { className: "hide" }, "The worker processes"), el("thead", {}, el("tr", {}, ...head)), el("tbody")));
  }
  for (const [pid, row] of rows) mark(row.element, "chosen", chosen === String(pid));
  if (found === shown) return; // the workers are read less often than drawn
  shown = found;
  const table = body.querySelector("tbody");
  const now = performance.now() / 1000;
  const seen = new Map();
  for (const worker of all) {
    let row = rows.get(worker.pid);
    if (!row) {
      const button = el("button", { type: "button", className: "name", title: "Show the figures of this worker alone", onclick: () => choose(String(worker.pid)) }, String(worker.pid));
      const cells = Array.from({ length: 7 }, (_, place) => el("td", { className: place ? "number" : "" }));
      row = { element: el("tr", {}, el("th", { scope: "row" }, button), ...cells), cells, button };
      rows.set(worker.pid, row);
      table.append(row.element);
    }
    const last = before.get(worker.pid);
    const speed = (key) => (last ? Math.max(0, (worker[key] - last[key]) / (now - last.at)) : null);
    const { stuck } = worker;
    const figures = [
      stuck ? worker.state.toUpperCase() : worker.state,
      speed("requests") === null ? "–" : speed("requests").toFixed(1),
      worker.in_flight === null ? "–" : worker.in_flight + (worker.oldest_seconds >= 1 ? ` · ${format.seconds(worker.oldest_seconds)}` : ""),
      worker.lag_seconds === null ? "–" : format.seconds(worker.lag_seconds),
      speed("cpu_seconds") === null ? "–" : format.percent(speed("cpu_seconds")),
      worker.HeapAlloc === null ? "–" : format.bytes(worker.HeapAlloc),
      worker.rss_bytes === null ? "–" : format.bytes(worker.rss_bytes),
    ];
    figures.forEach((text, place) => say(row.cells[place], text));
    row.element.title = `${worker.threads} threads, ${format.count(worker.requests)} requests in all${worker.answered ? "" : "; it has not answered the last question"}`;
    mark(row.element, "stuck", stuck);
    mark(row.element, "chosen", chosen === String(worker.pid));
    mark(row.element, "unanswered", !worker.answered && !stuck);
    seen.set(worker.pid, { at: now, requests: worker.requests, cpu_seconds: worker.cpu_seconds });
  }
  for (const [pid, row] of rows) if (!seen.has(pid)) { row.element.remove(); rows.delete(pid); }
  before = seen;
  const stuck = stuckOf(found);
  const note = section.querySelector(".title span");
  say(note, stuck.length ? `${stuck.length} of ${all.length} stuck` : `${all.length} live${found.retired ? ` · ${format.count(found.retired)} ended` : ""}${found.shared ? "" : " · the numbers are those of one worker"}`);
  mark(note, "bad", stuck.length > 0);
}

// ---- memory

export function memory(track, live, from, to, limit) {
  const section = $("memory");
  const [all, used, free] = ["Sys", "HeapAlloc", "HeapIdle"].map((key) => live.last(`memstats.${key}`));
  section.hidden = all === null || used === null || free === null;
  if (section.hidden) return;
  const body = section.querySelector(".body");
  if (!body.firstChild) {
    const part = (label, color, help) => el("div", { title: help }, el("dt", {}, el("i", { className: `swatch ${color}` }), label), el("dd"), el("dd", { className: "of" }));
    body.append(
      el("div", { className: "split", role: "img", "aria-label": "Memory: live, held free and other; the figures are below" }, el("i", { className: "live" }), el("i", { className: "free" }), el("i", { className: "other" })),
      el("dl", {}, part("live", "live", "HeapAlloc: what the program uses"), part("held free", "free", "HeapIdle: not returned to the system, free for the next allocation"), part("other", "other", "code, libraries, stacks and fragmentation")),
      el("p", { className: "verdict" }),
    );
  }
  const other = Math.max(0, all - used - free);
  const whole = Math.max(limit || 0, all);
  const [bar, list, verdict] = body.children;
  [used, free, other].forEach((number, place) => {
    bar.children[place].style.width = `${(number / whole) * 100}%`;
    const [, figure, of] = list.children[place].children;
    say(figure, format.bytes(number));
    say(of, format.percent(number / all));
  });
  say(section.querySelector(".title span"), limit ? `${format.bytes(all)} of ${format.bytes(limit)}, the limit of the cgroup` : `${format.bytes(all)} resident, no limit`);
  const [text, bad] = judge(track, from, to, all, free);
  say(verdict, text);
  mark(verdict, "bad", bad);
}

// Whether live memory grows: compares the mean of the last fifth of the span with that of the first fifth.
function judge(track, from, to, all, free) {
  const { t, v } = track.points("memstats.HeapAlloc", from, to, false, 100);
  const known = v.map((number, row) => [t[row], number]).filter(([, number]) => number !== null);
  const span = known.length > 9 ? known[known.length - 1][0] - known[0][0] : 0;
  if (span < 120) return ["Collecting data: two minutes are needed to tell whether live memory grows.", false];
  const fifth = Math.ceil(known.length / 5);
  const mean = (part) => part.reduce((total, [, number]) => total + number, 0) / part.length;
  const late = mean(known.slice(-fifth)), middle = mean(known.slice(2 * fifth, 3 * fifth));
  const grown = late - mean(known.slice(0, fifth));
  const over = `in ${format.ago(span)}`;
  const held = free > all * 0.25 ? ` ${format.bytes(free)} is held free: the program has used it, and the next allocations will use it again. This is not a leak.` : "";
  const much = Math.max(4 * 1024 * 1024, mean(known) * 0.05);
  if (grown > much && late - middle < grown / 4) return [`Live memory grew by ${format.bytes(grown)} ${over}, but no longer grows.${held}`, false];
  if (grown > much) return [`Live memory grew by ${format.bytes(grown)} ${over}. If this goes on, the program keeps objects that it no longer needs.`, true];
  if (grown < -much) return [`Live memory fell by ${format.bytes(-grown)} ${over}.${held}`, false];
  return [`Live memory is level ${over}.${held}`, false];
}

// ---- what moved

const SHOWN = 6;
let looked = 0;

export function moved(track, from, to, open) {
  if (performance.now() - looked < 4000) return;
  looked = performance.now();
  const found = [];
  const recent = Math.max(15, Math.min(60, (to - from) / 4));
  for (const name of track.values.keys()) {
    if (RESTLESS.test(name)) continue;
    const facts = describe(name, track);
    const { t, v } = track.points(name, from, to, facts.kind === "counter");
    let n = 0, total = 0, squares = 0, m = 0, late = 0;
    for (let row = 0; row < t.length; row++) {
      const number = v[row];
      if (number === null || t[row] < from) continue;
      if (t[row] > to - recent) { m += 1; late += number; } else { n += 1; total += number; squares += number * number; }
    }
    if (n < 5 || m < 2) continue;
    const was = total / n, is = late / m;
    const deviation = Math.sqrt(Math.max(0, squares / n - was * was));
    const change = Math.abs(is - was);
    const score = change / (deviation + 0.05 * Math.abs(was) + 1e-9);
    if (score > 2 && change > 0.1 * Math.abs(was)) found.push({ name, facts, was, is, score: Math.min(score, 1000) * (name.includes("error") ? 2 : 1) });
  }
  found.sort((one, other) => other.score - one.score);
  const section = $("moved");
  const top = found.slice(0, SHOWN);
  section.hidden = track.now - (track.t[0] ?? track.now) < 120;
  say(section.querySelector(".title span"), `last ${format.ago(recent)} vs. earlier`);
  const body = section.querySelector(".body");
  if (!top.length) {
    body.replaceChildren(el("p", { className: "note" }, "Nothing moved: all numbers are about as before."));
    return;
  }
  body.replaceChildren(el("ul", {}, ...top.map(({ name, facts, was, is }) => {
    const text = (number) => (facts.kind === "counter" ? format.rate(number, facts.unit) : format.value(number, facts.unit));
    const canvas = el("canvas", { "aria-hidden": "true" });
    const bad = /error|fail|refus|5xx|timeout|drop/i.test(name) && is > was;
    const item = el("li", {}, el("button", { type: "button", className: "name", title: name.slice(0, 400), onclick: () => open(name) }, name.length > 80 ? `${name.slice(0, 80)}…` : name),
      canvas, el("span", { className: bad ? "bad" : "" }, is > was ? "▲ " : "▼ ", text(was), " → ", el("b", {}, text(is))));
    requestAnimationFrame(() => draw(canvas, track.points(name, from, to, facts.kind === "counter", POINTS), from, to, { zero: facts.kind === "counter", bad }));
    return item;
  })));
}

// ---- events

let told = "";

export function events(track, zoom) {
  const section = $("events");
  const marks = [];
  for (const each of colored(track.marks).reverse()) {
    const last = marks[marks.length - 1];
    if (each.kind === "gc" && last?.kind === "gc") last.more = (last.more || 0) + 1; // joined, or they would hide other events
    else marks.push({ ...each });
    if (marks.length > SHOWN) break;
  }
  marks.splice(SHOWN);
  section.hidden = marks.length === 0;
  const signature = JSON.stringify(marks.map(({ time, more }) => [time, more]));
  if (signature === told) return;
  told = signature;
  section.querySelector(".body").replaceChildren(el("ul", {}, ...marks.map((each) => {
    const swatch = el("i", { className: "swatch" });
    swatch.style.background = `var(${each.color})`;
    return el("li", {}, swatch, el("button", { type: "button", className: "name", title: "Zoom to this moment", onclick: () => zoom([each.time - 60, each.time + 60]) }, format.clock(each.time)), el("span", { title: String(each.text).slice(0, 400) }, `${each.more ? `and ${each.more} more · ` : ""}${String(each.text).slice(0, 200)}`));
  })));
}
