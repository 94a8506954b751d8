// The choices of the user. They are kept in the fragment of the URL, so that a link shows somebody else the same view.

export const view = {
  range: 600,
  filter: "",
  worker: "",
  raw: false,
  paused: false,
  zoom: null,
  open: new Set(["http", "asyncio", "process"]),
  rows: new Set(),
  more: new Set(),
  base: null,
};

const OPEN = "http,asyncio,process";
const RANGES = [60, 300, 600, 7200];

export function read() {
  const from = new URLSearchParams(location.hash.slice(1));
  const range = Number(from.get("r"));
  view.range = RANGES.includes(range) ? range : 600;
  view.filter = from.get("q") || "";
  view.worker = /^\d{1,10}$/.test(from.get("w") || "") ? from.get("w") : "";
  view.raw = from.get("raw") === "1";
  const zoom = (from.get("z") || "").split("-").map(Number);
  view.zoom = zoom.length === 2 && zoom[0] > 0 && zoom[1] > zoom[0] ? zoom : null;
  view.open = new Set((from.get("open") ?? OPEN).split(",").filter(Boolean));
  view.rows = new Set(from.getAll("row"));
}

export function write() {
  const to = new URLSearchParams();
  if (view.range !== 600) to.set("r", view.range);
  if (view.filter) to.set("q", view.filter);
  if (view.worker) to.set("w", view.worker);
  if (view.raw) to.set("raw", "1");
  if (view.zoom) to.set("z", view.zoom.map((time) => time.toFixed(1)).join("-"));
  const open = [...view.open].join(",");
  if (open !== OPEN) to.set("open", open);
  for (const name of view.rows) to.append("row", name);
  const hash = to.toString();
  if (hash !== location.hash.slice(1)) history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}
