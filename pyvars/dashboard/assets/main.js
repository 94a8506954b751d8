// The main module: handles the user's actions, draws, and shows the state of the service.

import { read, view, write } from "./address.js";
import * as charts from "./charts.js";
import { $, mark, say, el } from "./dom.js";
import { Feed } from "./feed.js";
import * as format from "./format.js";
import { onZoom, redraw } from "./plot.js";
import { Routes } from "./routes.js";
import * as side from "./side.js";
import { forgetColors, forgetSizes } from "./sparkline.js";
import * as tiles from "./tiles.js";
import { Variables } from "./variables.js";

const { at, memoryLimit } = document.documentElement.dataset;
const LIMIT = Number(memoryLimit) < 2 ** 50 ? Number(memoryLimit) : 0;

read();
const feed = new Feed(at, view, () => draw("answer"));
const variables = new Variables($("variables"), feed, view, changed);
const routes = new Routes($("routes"));
let laid = null;
let spokenAt = 0;
let counting = 0;
let drawingFailed = "";

function span() {
  const track = feed.track();
  if (view.zoom) return view.zoom;
  // If the history is shorter than the range, it fills the whole width.
  const since = Math.min(track.now - 60, (track.t[0] ?? 0) - 1);
  return [Math.max(track.now - view.range, since), track.now];
}

const words = (range) => (range === 7200 ? "2 h" : `${range / 60} min`);

// An error in drawing is caught here and reported apart, so that it does not look like a service that is gone.
function draw(why) {
  const began = performance.now();
  try {
    paint(why);
    drawingFailed = "";
  } catch (error) {
    drawingFailed = String(error);
    console.error(error);
  }
  status();
  if (why === "answer" && feed.vars && feed.track().t.length) performance.measure("pyvars-tick", { start: began, end: performance.now() });
}

function paint(why) {
  const track = feed.track();
  if (!feed.vars) return;
  const [from, to] = span();
  if (laid !== feed.vars || why === "layout") {
    laid = feed.vars;
    variables.lay();
  }
  const headline = feed.headline(), live = headline === track ? feed.current : headline;
  const [since, now] = headline === track ? [from, to] : [headline.now - (to - from), headline.now];
  tiles.update($("tiles"), headline, live, since, now, view.worker ? 0 : LIMIT);
  variables.update(from, to);
  say(variables.trend, `Trend, ${to - from < view.range * 0.9 ? format.ago(to - from) : words(view.range)}`);
  if (feed.workers) side.workers(feed.workers, choose, view.worker);
  side.memory(headline, live, since, now, view.worker ? 0 : LIMIT);
  side.moved(track, from, to, show);
  side.events(track, zoom);
  routes.update(feed.vars.http, headline, live, since, now);
  charts.update(feed, headline, since, now);
  header();
  document.documentElement.dataset.ready = "";
}

function header() {
  const { vars, workers } = feed;
  const process = vars.process || {};
  const name = Array.isArray(vars.cmdline) && vars.cmdline.length ? String(vars.cmdline[0]) : "pyvars";
  say($("program"), name.slice(0, 80));
  const stuck = side.stuckOf(workers).length;
  const title = `${stuck ? `(${stuck} stuck) ` : ""}${name} – pyvars`;
  if (document.title !== title) document.title = title;
  const live = workers?.live ?? vars["pyvars.workers"]?.live;
  const facts = [];
  if (view.worker) facts.push(`worker ${view.worker} alone`);
  else if (live > 1) facts.push(`${live} workers`);
  else if (process.pid) facts.push(`pid ${process.pid}`);
  if (vars.python?.version) facts.push(`Python ${vars.python.version}`);
  facts.push(location.host);
  if (typeof process.uptime_seconds === "number") facts.push(`up ${format.seconds(process.uptime_seconds)}`);
  say($("facts"), facts.join(" · "));
  say($("version"), vars.python?.pyvars ? `pyvars ${vars.python.pyvars}` : "pyvars");
  say($("curl"), `curl ${new URL(`${at}vars`, location.href).href.replace(/[#?].*$/, "")}`);
  chooser((workers?.workers || []).map((each) => String(each.pid)));
  const kept = feed.samples.about;
  const tired = kept.period_seconds > 1.5 ? `; a sample every ${kept.period_seconds} s, so that samples take at most 1 % of a core` : "";
  say($("source"), view.worker ? `Numbers that this page has read from worker ${view.worker} since you chose it.`
    : feed.mode === "local" ? `The service keeps no history${feed.why ? ` (${feed.why})` : ""}: these are the numbers that this page has read since you opened it.`
    : `History of the service${kept.left_out ? `; it has no room for ${kept.left_out} numbers` : ""}${tired}.`);
}

let offered = "";

function chooser(pids) {
  if (view.worker && !pids.includes(view.worker)) pids.push(view.worker);
  const signature = pids.join();
  $("chooser").hidden = pids.length < 2 && !view.worker;
  if (signature !== offered) {
    offered = signature;
    $("worker").replaceChildren(el("option", { value: "" }, "all workers"), ...pids.map((pid) => el("option", { value: pid }, `worker ${pid}`)));
  }
  if ($("worker").value !== view.worker) $("worker").value = view.worker;
}

// Shows the state of the service: in the dot beside its name, in the banner, and in a line for screen readers.
function status() {
  clearTimeout(counting);
  const banner = $("banner");
  const stuck = side.stuckOf(feed.workers);
  let word = "live", text = "", bad = true, act = null;
  if (feed.denied) {
    [word, text] = ["not allowed", "Not allowed – sign in again. The page has stopped asking."];
    act = ["Try again", () => feed.again()];
  } else if (view.paused) word = "paused";
  else if (feed.failing) {
    word = "no answer";
    text = `No answer for ${format.ago((Date.now() - feed.lastGood) / 1000)} – ${feed.vars ? "last data kept, " : ""}retrying.`;
    counting = setTimeout(() => { if (!document.hidden) status(); }, 1000);
  } else if (!feed.vars) word = "connecting";
  else if (feed.gone) {
    text = `Worker ${view.worker} is gone.`;
    act = ["Show all workers", () => choose("")];
  } else if (drawingFailed) text = `This page failed to draw: ${drawingFailed}. The service answers; the link to JSON below has its numbers.`;
  else if (stuck.length) {
    text = stuck.slice(0, 3).map((each) => `Worker ${each.pid} is ${each.state}: ${WHYS(each)}.`).join(" ");
    word = `${stuck.length} stuck`;
    const first = stuck[0];
    if (view.worker !== String(first.pid)) act = [`Show ${first.pid}`, () => choose(String(first.pid))];
  } else bad = false;
  const state = $("state");
  say(state.lastChild, word);
  mark(state, "bad", (bad || stuck.length) && word !== "paused");
  mark(state, "wait", word === "paused" || word === "connecting");
  mark(document.body, "stale", feed.failing && Boolean(feed.vars) && !view.paused);
  const signature = `${text}|${act?.[0] ?? ""}`;
  if (banner.dataset.said !== signature) {
    banner.dataset.said = signature;
    banner.replaceChildren(...(text ? [el("span", {}, text), ...(act ? [el("button", { type: "button", onclick: act[1] }, act[0])] : [])] : []));
  }
  if (feed.vars && Date.now() - spokenAt > 15000) {
    spokenAt = Date.now();
    say($("spoken"), `${word}. ${[...document.querySelectorAll(".tile")].slice(0, 6).map((tile) => `${tile.querySelector("h3").textContent} ${tile.querySelector("strong").textContent}`).join(", ")}.`);
  }
}

function WHYS(worker) {
  const oldest = worker.oldest_seconds >= 1 ? `, its oldest request waits for ${format.seconds(worker.oldest_seconds)}` : "";
  return side.WHY[worker.state] + oldest;
}

// ---- what the user does

function changed(what) {
  if (what === "clear") {
    view.filter = $("filter").value = "";
    what = "layout";
  }
  write();
  draw(what);
}

function choose(worker) {
  view.worker = worker;
  view.zoom = null;
  laid = null;
  controls();
  write();
  feed.chosen();
}

function zoom(range) {
  view.zoom = range;
  controls();
  changed("values");
}

function ranged(range) {
  view.range = range;
  view.zoom = null;
  controls();
  changed("layout");
  feed.read.spans = 0;
  if (view.paused && range === 7200) feed.load(); // a pause stops only the reading
  else feed.wake();
}

// Opens the row of a variable in any group.
function show(name) {
  const found = variables.found.find((group) => group.rows.some((row) => row.name === name || name.startsWith(`${row.name}.`)));
  const row = found?.rows.find((each) => each.name === name) ?? found?.rows.find((each) => name.startsWith(`${each.name}.`) && each.kind === "histogram");
  if (!row) {
    view.filter = $("filter").value = name;
    return changed("layout");
  }
  if (found.own) view.open.delete(`-${found.key}`);
  else view.open.add(found.key);
  if (view.filter && !row.name.toLowerCase().includes(view.filter.toLowerCase())) view.filter = $("filter").value = "";
  view.rows.add(row.name);
  changed("layout");
  variables.rows.get(row.name)?.element.scrollIntoView({ block: "center" });
}

function pause() {
  view.paused = !view.paused;
  controls();
  if (!view.paused) feed.lastGood = Date.now();
  status();
  feed.wake();
}

function baseline() {
  const track = feed.current;
  view.base = view.base ? null : { time: track.now, values: new Map([...track.values.keys()].map((name) => [name, track.last(name)])) };
  controls();
  changed("layout");
}

function controls() {
  for (const button of $("ranges").children) button.setAttribute("aria-pressed", String(!view.zoom && Number(button.dataset.range) === view.range));
  const paused = $("pause");
  say(paused, view.paused ? "Resume" : "Pause");
  paused.setAttribute("aria-pressed", String(view.paused));
  $("baseline").setAttribute("aria-pressed", String(view.base !== null));
  $("zoomed").hidden = !view.zoom;
  if (view.zoom) say($("zoomed"), `${format.clock(view.zoom[0])} – ${format.clock(view.zoom[1])} ×`);
  if ($("filter").value !== view.filter) $("filter").value = view.filter;
}

const help = $("help");
const KEYS = {
  "/": () => $("filter").focus(),
  p: pause,
  r: () => { view.raw = !view.raw; changed("values"); },
  b: baseline,
  1: () => ranged(60),
  2: () => ranged(300),
  3: () => ranged(600),
  4: () => ranged(7200),
  0: () => zoom(null),
  "?": () => (help.open ? help.close() : help.showModal()),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "Escape" && typing === $("filter")) {
    changed("clear");
    typing.blur();
  } else if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey && Object.hasOwn(KEYS, event.key) && (!help.open || event.key === "?")) {
    event.preventDefault();
    KEYS[event.key]();
  }
});
$("filter").addEventListener("input", () => { view.filter = $("filter").value; changed("layout"); });
$("ranges").addEventListener("click", (event) => { if (event.target.dataset.range) ranged(Number(event.target.dataset.range)); });
$("worker").addEventListener("change", () => choose($("worker").value));
$("pause").addEventListener("click", pause);
$("baseline").addEventListener("click", baseline);
$("zoomed").addEventListener("click", () => zoom(null));
$("keys").addEventListener("click", KEYS["?"]);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  feed.lastGood = Date.now();
  feed.wake();
});
window.addEventListener("hashchange", () => { read(); controls(); feed.chosen(); draw("layout"); });
window.addEventListener("resize", () => { forgetSizes(); draw("values"); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { forgetColors(); redraw(); draw("values"); });
onZoom(zoom);

controls();
feed.chosen();
