// Makes the groups and rows of the table of variables from /debug/vars. The program's own variables come first.

import { BUILT_IN, ELSEWHERE, TITLES, isGroup, isHistogram } from "./names.js";

const MANY = 40;
const KEYS_SHOWN = 20;
const SUMMARY = {
  http: ["requests", "errors"],
  asyncio: ["tasks", "lag_seconds"],
  process: ["rss_bytes", "open_fds"],
  memstats: ["HeapAlloc", "HeapIdle", "Sys"],
  gc: ["gen2.collections"],
  threads: ["count"],
  "pyvars.workers": ["live", "retired"],
};
const HTTP = ["by_method", "first_byte_seconds", "seconds", "in_flight", "bytes_out", "errors", "requests"]; // in reverse order: unknown keys come last
const TEXTS = { python: ["version", "implementation"] };

// Returns groups {key, title, own, count, summary, texts, rows}; a row is {name, label, kind, value, depth, error}.
export function groups(page, track, view) {
  const errors = isGroup(page["pyvars.errors"]) ? page["pyvars.errors"] : {};
  const own = Object.keys(page).filter((name) => !BUILT_IN.includes(name) && !ELSEWHERE.has(name));
  const found = [];
  for (const [key, names] of byPrefix(own)) {
    const rows = [];
    for (const name of names) add(rows, name, name, page[name], 0, { errors, track, view, nested: true });
    found.push({ key, title: key || "Your variables", own: true, count: names.length, rows });
  }
  for (const name of BUILT_IN) {
    if (!(name in page)) continue;
    const rows = [];
    if (isGroup(page[name]) && !(name in errors)) {
      const keys = Object.keys(page[name]);
      if (name === "http") keys.sort((one, other) => HTTP.indexOf(other) - HTTP.indexOf(one));
      for (const key of keys) add(rows, `${name}.${key}`, key, page[name][key], 0, { errors, track, view, nested: name === "http", builtIn: true });
    } else add(rows, name, name, page[name], 0, { errors, track, view });
    if (name === "asyncio" && page.asyncio_lag_seconds) add(rows, "asyncio_lag_seconds", "lag, each half second", page.asyncio_lag_seconds, 0, { errors, track, view, builtIn: true });
    const texts = (TEXTS[name] || []).map((key) => page[name]?.[key]).filter(Boolean);
    found.push({ key: name, title: TITLES[name] || name, own: false, count: rows.length, summary: (SUMMARY[name] || []).map((key) => [key, `${name}.${key}`]), texts, rows });
  }
  return found;
}

// Up to MANY variables are one group; more are grouped by the first word of their names.
function byPrefix(names) {
  if (names.length <= MANY) return names.length ? [["", names]] : [];
  const words = new Map();
  for (const name of names) {
    const word = /^[^._/:-]+(?=[._/:-])/.exec(name)?.[0] ?? "";
    if (!words.has(word)) words.set(word, []);
    words.get(word).push(name);
  }
  const rest = [];
  const found = [];
  for (const [word, members] of words) {
    if (word && members.length >= 4) found.push([word, members]);
    else rest.push(...members);
  }
  return rest.length ? [["", rest], ...found] : found;
}

function add(rows, name, label, value, depth, about) {
  const error = Object.hasOwn(about.errors, name) ? about.errors[name] : null;
  if (error || value === null || typeof value !== "object") {
    const kind = typeof value === "number" && name !== "process.pid" ? "number" : "text";
    rows.push({ name, label, depth, kind, value, error, builtIn: about.builtIn });
  } else if (isHistogram(value)) {
    rows.push({ name, label, depth, kind: "histogram", value, error, builtIn: about.builtIn });
  } else if (Array.isArray(value)) {
    if (!about.builtIn || value.length < 20) rows.push({ name, label, depth, kind: "text", value: JSON.stringify(value), error });
  } else if (about.nested) {
    // A Map of the program is open until the user closes it; a built-in one is closed until the user opens it.
    const fold = about.builtIn ? name : `-${name}`;
    const isOpen = about.view.filter !== "" || about.view.open.has(fold) === Boolean(about.builtIn);
    rows.push({ name, label, depth, kind: "map", value: Object.keys(value).length, error, fold, isOpen });
    if (isOpen) addKeys(rows, name, value, depth + 1, about);
  } else {
    for (const key in value) add(rows, `${name}.${key}`, `${label}.${key}`, value[key], depth, about);
  }
}

// Adds rows for the busiest keys of a Map, or for all keys once the user has asked for more.
function addKeys(rows, name, value, depth, about) {
  let keys = Object.keys(value);
  const left = keys.length - KEYS_SHOWN;
  if (left > 0) {
    const busy = (key) => about.track.speed(`${name}.${key}`, 60) || 0;
    const size = (key) => (typeof value[key] === "number" ? value[key] : 0);
    const speeds = new Map(keys.map((key) => [key, busy(key)]));
    keys.sort((one, other) => speeds.get(other) - speeds.get(one) || size(other) - size(one));
    if (!about.view.more.has(name)) keys = keys.slice(0, KEYS_SHOWN);
  }
  for (const key of keys) add(rows, `${name}.${key}`, key, value[key], depth, about);
  if (left > 0) rows.push({ name: `${name} …`, of: name, label: about.view.more.has(name) ? "show fewer" : `show ${left} more`, depth, kind: "more" });
}
