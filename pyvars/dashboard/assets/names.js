// Kind, unit and group of numbers by their names, for numbers that the history does not describe.

export const BUILT_IN = ["http", "asyncio", "process", "memstats", "gc", "threads", "python", "pyvars.workers"];
export const TITLES = { asyncio: "event loop", "pyvars.workers": "workers" };
export const ELSEWHERE = new Set(["asyncio_lag_seconds", "cmdline", "pyvars.errors"]);

const COUNTERS = new RegExp(
  "^(memstats\\.(TotalAlloc|Lookups|Mallocs|Frees|NumGC|NumForcedGC|PauseTotalNs)" +
  "|gc\\.gen\\d\\.(collections|collected|uncollectable|pause_total_ns)" +
  "|process\\.(cpu_\\w+_seconds|context_switches_\\w+)|pyvars\\.workers\\.retired" +
  "|http\\.(requests|errors|bytes_out|by_\\w+\\..*|.*\\.(count|sum)|websockets\\.messages_\\w+)" +
  "|asyncio_lag_seconds\\.(count|sum))$",
);
const BUILT_IN_NUMBER = /^(memstats|gc|process|threads|asyncio|asyncio_lag_seconds|http|pyvars\.workers|python)(\.|$)/;
const UNITS = [
  [/^process\.start_time_seconds$|^memstats\.LastGC$/, "timestamp"],
  [/_seconds(\.|$)|^http\..*seconds/, "seconds"],
  [/_ns$|^memstats\.PauseTotalNs$/, "nanoseconds"],
  [/_bytes$|^http\.bytes_out$|^memstats\.(Alloc|TotalAlloc|HeapAlloc|HeapIdle|HeapReleased|\w*(Inuse|Sys))$/, "bytes"],
  [/^memstats\.GCCPUFraction$/, "ratio"],
];

// Numbers that "What moved" leaves out: they change all the time, or their changes mean nothing.
export const RESTLESS = /^(threads\.(native|daemon)|memstats\.(LastGC|Mallocs|Frees|Lookups|Alloc|TotalAlloc|HeapSys|HeapInuse|PauseTotalNs|GCCPUFraction|NumGC)|process\.(uptime|start|pid|context|peak|max)|gc\.|asyncio_lag_seconds\.(count|sum|p50|p90|min)|.*\.(sum|min|max|p50|p90)$|http\.(first_byte_seconds|streams|websockets|seconds_by_route|by_method))/;

export function isHistogram(found) {
  return typeof found === "object" && found !== null && !Array.isArray(found) && "p99" in found && "count" in found && "sum" in found;
}

export function isGroup(found) {
  return typeof found === "object" && found !== null && !Array.isArray(found);
}

// Returns {kind, unit, help, guessed}, from the history or the name. For any other name the kind is
// guessed: a number that has only risen so far is a counter.
export function describe(name, track) {
  const meta = track.meta[name];
  const known = UNITS.find(([pattern]) => pattern.test(name));
  if (meta) return { kind: COUNTERS.test(name) ? "counter" : meta.kind, unit: name.endsWith(".count") ? "" : known?.[1] === "timestamp" ? "timestamp" : meta.unit || known?.[1] || "", help: meta.help || "" };
  const unit = known ? known[1] : "";
  if (BUILT_IN_NUMBER.test(name) || /\.(count|sum)$/.test(name)) return { kind: COUNTERS.test(name) || /\.(count|sum)$/.test(name) ? "counter" : "gauge", unit, help: "" };
  return { kind: track.onlyRises(name) ? "counter" : "gauge", unit, help: "", guessed: true };
}
