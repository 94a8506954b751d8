// The table of requests by route: their rate, their latency, and the rates of statuses.

import { el, say, mark } from "./dom.js";
import * as format from "./format.js";
import { draw, POINTS } from "./sparkline.js";

const SHOWN = 12;

export class Routes {
  constructor(section) {
    this.section = section;
    this.note = section.querySelector(".title span");
    this.body = el("tbody");
    this.rest = el("p", { className: "note", hidden: true });
    this.rows = new Map();
    const head = ["Route", "Requests", "Count", "p50", "p99", "Trend"].map((text, place) => el("th", { scope: "col", className: place && place < 5 ? "number" : "" }, text));
    section.querySelector(".body").append(el("table", {}, el("caption", { className: "hide" }, "Requests by route"), el("thead", {}, el("tr", {}, ...head)), this.body), this.rest);
  }

  update(http, track, live, from, to) {
    const routes = http?.by_route || {};
    const all = Object.keys(routes);
    this.section.hidden = all.length === 0;
    if (!all.length) return;
    const speed = new Map(all.map((route) => [route, live.speed(`http.by_route.${route}`) ?? 0]));
    const shown = [...all].sort((one, other) => routes[other] - routes[one]).slice(0, SHOWN);
    for (const [route, row] of this.rows) if (!shown.includes(route)) { row.element.remove(); this.rows.delete(route); }
    shown.forEach((route, place) => {
      const row = this.rows.get(route) || this._row(route);
      if (this.body.children[place] !== row.element) this.body.insertBefore(row.element, this.body.children[place] || null);
      const took = (key) => live.last(`http.seconds_by_route.${route}.${key}`) ?? http.seconds_by_route?.[route]?.[key];
      say(row.rate, format.rate(speed.get(route), ""));
      mark(row.rate, "idle", speed.get(route) === 0);
      say(row.count, format.count(live.last(`http.by_route.${route}`) ?? routes[route]));
      say(row.p50, format.value(took("p50"), "seconds"));
      say(row.p99, format.value(took("p99"), "seconds"));
      draw(row.canvas, track.points(`http.by_route.${route}`, from, to, true, POINTS), from, to, { zero: true });
    });
    this.rest.hidden = all.length <= SHOWN;
    say(this.rest, `${all.length - SHOWN} more routes are among the variables, below http.`);
    const ended = Object.keys(http.by_status || {}).sort().map((status) => {
      const rate = live.speed(`http.by_status.${status}`);
      return `${status} ${rate === null ? format.count(http.by_status[status]) : format.rate(rate, "")}`;
    });
    const errors = live.speed("http.errors");
    say(this.note, `${ended.join(" · ")}${errors ? ` · errors ${format.rate(errors, "")}` : ""}`);
    mark(this.note, "bad", errors > 0.05 * (live.speed("http.requests") ?? Infinity));
  }

  _row(route) {
    const cell = () => el("td", { className: "number" });
    const row = { rate: cell(), count: cell(), p50: cell(), p99: cell(), canvas: el("canvas", { "aria-hidden": "true" }) };
    const name = el("th", { scope: "row", title: route.slice(0, 400) }, route.length > 200 ? `${route.slice(0, 200)}…` : route);
    row.element = el("tr", {}, name, row.rate, row.count, row.p50, row.p99, el("td", { className: "trend" }, row.canvas));
    this.rows.set(route, row);
    return row;
  }
}
