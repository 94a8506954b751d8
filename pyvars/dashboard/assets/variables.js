// The table of variables: name and help, value, rate, trend. Only the rows in sight are updated.

import { $, copy, el, mark, say } from "./dom.js";
import * as format from "./format.js";
import { describe } from "./names.js";
import { Plot } from "./plot.js";
import { colored } from "./charts.js";
import { groups } from "./rows.js";
import { draw, POINTS } from "./sparkline.js";

const SNIPPET = 'from pyvars import Int, publish\n\norders = publish("orders", Int(), help="Orders accepted")\norders.add()';

export class Variables {
  constructor(box, feed, view, changed) {
    this.feed = feed;
    this.view = view;
    this.changed = changed;
    this.rows = new Map();
    this.bodies = new Map();
    this.seen = new Set();
    this.found = [];
    this.watcher = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const row = this.rows.get(entry.target.dataset.name);
        if (!row) continue;
        if (entry.isIntersecting) {
          this.seen.add(row);
          if (this.window) this._show(row);
        } else this.seen.delete(row);
      }
    }, { rootMargin: "80px" });
    this.delta = el("th", { scope: "col", className: "number", hidden: true });
    this.trend = el("th", { scope: "col" }, "Trend");
    this.table = el("table", {}, el("caption", { className: "hide" }, "Variables: value, rate and trend"),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Name"), el("th", { scope: "col", className: "number" }, "Value"),
        el("th", { scope: "col", className: "number" }, "Rate"), this.delta, this.trend)));
    this.none = el("p", { className: "note", hidden: true });
    this.snippet = this._snippet();
    this.rest = el("p", { className: "note", hidden: true });
    box.append(this.snippet, this.table, this.none, this.rest);
  }

  _snippet() {
    const button = el("button", { type: "button", onclick: () => copy(SNIPPET, button) }, "copy");
    return el("div", { className: "snippet", hidden: true }, el("p", {}, "The program publishes no variable of its own yet. Three lines are enough:"), el("pre", {}, SNIPPET), button);
  }

  isOpen(group) {
    return this.view.filter !== "" || (group.own ? !this.view.open.has(`-${group.key}`) : this.view.open.has(group.key));
  }

  // Make the rows and their order from a new answer of /debug/vars.
  lay() {
    const { feed, view } = this;
    this.track = feed.track();
    this.live = feed.current;
    this.found = groups(feed.vars, this.track, view);
    const wanted = view.filter.toLowerCase();
    const fits = (row) => !wanted || row.name.toLowerCase().includes(wanted) || describe(row.name, this.track).help.toLowerCase().includes(wanted);
    let shown = 0, all = 0;
    const kept = new Set();
    const bodies = [];
    for (const group of this.found) {
      const fitting = wanted ? group.rows.filter((row) => row.kind !== "more" && fits(row)) : group.rows;
      all += group.count;
      if (wanted && !fitting.length) continue;
      const body = this._body(group);
      bodies.push(body.element);
      const elements = [body.head];
      if (this.isOpen(group)) {
        for (const about of fitting) {
          const row = this._row(about);
          kept.add(about.name);
          shown += 1;
          elements.push(row.element);
          if (view.rows.has(about.name)) elements.push(this._detail(row));
        }
      }
      place(body.element, elements);
    }
    for (const cell of this.table.querySelectorAll("[colspan='4'], [colspan='5']")) cell.colSpan = view.base ? 5 : 4;
    place(this.table, [this.table.caption, this.table.tHead, ...bodies]);
    for (const [name, row] of this.rows) if (!kept.has(name)) this._drop(name, row);
    const own = this.found.some((group) => group.own);
    this.snippet.hidden = own || wanted !== "";
    this.none.hidden = !wanted || shown > 0;
    if (!this.none.hidden && !this.none.childElementCount) {
      this.none.append("No variable matches. ", el("button", { type: "button", className: "link", onclick: () => this.changed("clear") }, "Clear filter"));
    }
    say($("variables-count"), wanted ? `${shown} match` : `${all} in ${this.found.length} groups`);
    const about = this.track.about;
    const left = (about.left_out || 0) + (about.not_shown || 0);
    this.rest.hidden = left === 0;
    say(this.rest, left ? `${left} more numbers have a value here, but no trend: the history keeps and sends a limited number of series.` : "");
  }

  _drop(name, row) {
    this.watcher.unobserve(row.element);
    this.seen.delete(row);
    row.plot?.destroy();
    this.rows.delete(name);
  }

  _body(group) {
    let body = this.bodies.get(group.key);
    if (!body) {
      const button = el("button", { type: "button", className: "fold" });
      const counted = el("span", { className: "count" }), figures = el("span", { className: "figures" });
      const cell = el("th", { colspan: "4", scope: "rowgroup" }, button, " ", counted, " ", figures);
      body = { element: el("tbody"), head: el("tr", { className: "group" }, cell), button, counted, figures };
      button.onclick = () => {
        const key = body.group.own ? `-${group.key}` : group.key;
        if (!this.view.open.delete(key)) this.view.open.add(key);
        this.changed("layout");
      };
      this.bodies.set(group.key, body);
    }
    body.group = group;
    say(body.button, group.title);
    body.button.setAttribute("aria-expanded", String(this.isOpen(group)));
    say(body.counted, String(group.count));
    return body;
  }

  _row(about) {
    let row = this.rows.get(about.name);
    if (row && row.kind !== about.kind) {
      row.element.remove();
      this._drop(about.name, row);
      row = undefined;
    }
    if (!row) {
      row = { name: about.name, kind: about.kind, element: el("tr", { className: `row ${about.kind} depth${Math.min(about.depth, 3)}` }) };
      row.element.dataset.name = about.name;
      row.button = el("button", { type: "button", className: "name" });
      row.help = el("span", { className: "help" });
      row.value = el("td", { className: "number value" });
      row.rate = el("td", { className: "number rate" });
      row.delta = el("td", { className: "number delta", hidden: true });
      row.canvas = el("canvas", { "aria-hidden": "true" });
      if (about.kind === "more") {
        row.element.append(el("th", { colspan: "4", scope: "row" }, row.button));
        row.button.onclick = () => {
          if (!this.view.more.delete(about.of)) this.view.more.add(about.of);
          this.changed("layout");
        };
      } else {
        const has = about.kind === "number" || about.kind === "histogram";
        row.element.append(el("th", { scope: "row" }, row.button, row.help), row.value, row.rate, row.delta, el("td", { className: "trend" }, row.canvas));
        row.canvas.hidden = !has;
        if (has) row.button.onclick = () => {
          if (!this.view.rows.delete(about.name)) this.view.rows.add(about.name);
          this.changed("layout");
        };
        else if (about.kind === "map") row.button.onclick = () => {
          if (!this.view.open.delete(row.about.fold)) this.view.open.add(row.about.fold);
          this.changed("layout");
        };
        else row.button.disabled = true;
      }
      this.rows.set(about.name, row);
      this.watcher.observe(row.element);
    }
    row.about = about;
    say(row.button, about.label.length > 200 ? `${about.label.slice(0, 200)}…` : about.label);
    if (row.button.onclick && about.kind !== "more") row.button.setAttribute("aria-expanded", String(about.kind === "map" ? about.isOpen : this.view.rows.has(about.name)));
    mark(row.element, "failed", about.error && about.error.type !== "stale");
    return row;
  }

  // Update the rows in sight.
  update(from, to) {
    this.window = [from, to];
    this.track = this.feed.track();
    this.live = this.feed.current; // spans of 10 s are for lines, not for current values
    const { base } = this.view;
    this.delta.hidden = !base;
    if (base) say(this.delta, `Δ since ${format.clock(base.time)}`);
    for (const row of this.seen) this._show(row);
    for (const body of this.bodies.values()) {
      const texts = [...(body.group.texts || [])];
      for (const [label, name] of body.group.summary || []) {
        const number = this.live.last(name);
        if (number !== null) texts.push(`${label} ${format.value(number, describe(name, this.track).unit)}`);
      }
      say(body.figures, texts.join(" · "));
    }
  }

  _show(row) {
    const { about, name, kind } = row;
    if (kind === "more") return;
    const [from, to] = this.window;
    const { track, live } = this;
    const series = kind === "histogram" ? `${name}.count` : name;
    const facts = describe(series, track);
    say(row.help, about.depth || about.builtIn ? "" : facts.help); // the row of the whole variable shows the help
    const stale = about.error?.type === "stale";
    if (about.error && !(stale && about.error.age_seconds < 5)) {
      const { type, time, age_seconds: age } = about.error;
      say(row.value, `${about.value === null ? "" : `${about.value} · `}${type}${age !== undefined ? ` for ${format.seconds(age)}` : time ? ` at ${format.clock(Date.parse(time) / 1000)}` : ""}`);
      return;
    }
    if (kind === "text") {
      const text = about.value === null ? "null" : String(about.value);
      say(row.value, text.length > 160 ? `${text.slice(0, 160)}…` : text);
      row.value.title = text.slice(0, 400);
      const long = text.length > 22;
      if (row.value.classList.contains("long") !== long) {
        mark(row.value, "long", long);
        row.value.colSpan = long ? 3 : 1;
        row.rate.hidden = row.canvas.parentNode.hidden = long;
      }
      return;
    }
    if (kind === "map") {
      say(row.value, `${about.value} ${about.value === 1 ? "key" : "keys"}`);
      return;
    }
    const counts = facts.kind === "counter";
    const last = live.last(series);
    if (kind === "histogram") {
      const unit = describe(`${name}.p99`, track).unit;
      const quantile = (key) => {
        const number = live.last(`${name}.${key}`) ?? about.value[key];
        return format.value(number && Number(number.toPrecision(2)), unit); // short, since two stand side by side
      };
      say(row.value, about.value.count ? `p50 ${quantile("p50")} · p99 ${quantile("p99")}` : "none yet");
    } else {
      const number = last ?? about.value;
      say(row.value, format.value(number, facts.unit));
      row.value.title = String(number);
    }
    const speed = counts ? live.speed(series) : null;
    say(row.rate, counts ? (speed === null ? (live.has(series) ? "…" : "") : `${facts.guessed ? "~" : ""}${format.rate(speed, facts.unit)}`) : "");
    mark(row.rate, "idle", speed === 0);
    this._delta(row, series, facts);
    const asRate = counts && !this.view.raw;
    const points = kind === "histogram" ? track.points(`${name}.p99`, from, to, false, POINTS) : track.points(series, from, to, asRate, POINTS);
    draw(row.canvas, points, from, to, { zero: asRate });
    if (row.plot) this._plot(row, facts, asRate);
  }

  _delta(row, series, facts) {
    const { base } = this.view;
    row.delta.hidden = !base;
    if (!base) return;
    const before = base.values.get(series), now = this.live.last(series);
    const known = before !== undefined && before !== null && now !== null;
    say(row.delta, known ? (now === before ? "0" : format.signed(format.value(now - before, facts.unit === "timestamp" ? "seconds" : facts.unit), now - before)) : "–");
    mark(row.delta, "moved", known && now !== before);
  }

  // Adds the details below a row: a chart, the figures of the span, and buttons that copy a curl command and the name
  // in Prometheus.
  _detail(row) {
    if (row.detail) return row.detail;
    const { name } = row;
    const legend = el("div", { className: "legend" }), facts = el("p", { className: "facts" });
    const cell = el("td", { colspan: "4" }, legend);
    row.detail = el("tr", { className: "detail" }, cell);
    const histogram = row.kind === "histogram";
    const unit = () => describe(histogram ? `${name}.p99` : name, this.track).unit;
    const text = (number) => (this._asRate(row) ? format.rate(number, unit()) : format.value(number, unit()));
    row.lines = histogram
      ? [["p50", "--c1"], ["p90", "--c3"], ["p99", "--c2"]].map(([label, color]) => ({ label, color, series: `${name}.${label}` }))
      : [{ label: row.about.label, color: "--c1", fill: "--accent-soft", series: name }];
    row.plot = new Plot(cell, row.lines, text, { height: 170, legend, label: `${name} over time; lowest, mean and highest are below` });
    row.facts = facts;
    const top = this.topName(name);
    const url = new URL(`${this.feed.at}vars/${encodeURIComponent(top)}`, location.href).href.replace(/[#?].*$/, "");
    const curl = el("button", { type: "button", onclick: () => copy(`curl ${url}`, curl) }, "copy as curl");
    const metric = el("button", { type: "button", onclick: () => this._copyMetric(name, metric) }, "copy Prometheus name");
    cell.append(el("div", { className: "tools" }, facts, curl, ...(this.isOwn(name) ? [metric] : [])));
    this.feed.details([name], 720).then((track) => { row.fine = track; this.changed("values"); }, () => {});
    this.seen.add(row);
    return row.detail;
  }

  topName(name) {
    return Object.keys(this.feed.vars).filter((each) => name === each || name.startsWith(`${each}.`)).sort((one, other) => other.length - one.length)[0] ?? name;
  }

  isOwn(name) {
    return this.found.some((group) => group.own && group.rows.some((row) => row.name === name));
  }

  async _copyMetric(name, button) {
    const wanted = name.replace(/[^a-zA-Z0-9_]/g, "_");
    let families = [];
    try {
      const answer = await fetch(document.documentElement.dataset.metrics, { cache: "no-store" });
      families = [...(await answer.text()).matchAll(/^# TYPE (\S+)/gm)].map((found) => found[1]);
    } catch { /* the banner says when the service is gone */ }
    const found = families.filter((each) => wanted === each || each.startsWith(`${wanted}_`) || wanted.startsWith(each.replace(/_total$/, "")));
    found.sort((one, other) => Math.abs(one.length - wanted.length) - Math.abs(other.length - wanted.length));
    if (found.length) copy(found[0], button);
    else button.textContent = "not among the metrics";
  }

  _asRate(row) {
    return row.kind === "number" && !this.view.raw && describe(row.name, this.track).kind === "counter";
  }

  _plot(row) {
    const [from, to] = this.window;
    const asRate = this._asRate(row);
    const all = row.lines.map((one) => this.track.finer(row.fine, one.series, from, to, asRate, 300));
    row.plot.set(all, from, to, colored(this.track.marks));
    const { t, v } = all[all.length - 1];
    const known = v.filter((number, place) => number !== null && t[place] >= from);
    const text = row.plot.text;
    say(row.facts, known.length < 2 ? "collecting…" : `lowest ${text(Math.min(...known))} · mean ${text(known.reduce((one, other) => one + other, 0) / known.length)} · highest ${text(Math.max(...known))}`);
  }
}

// Puts the children in this order. Only children at a wrong place are moved.
function place(parent, elements) {
  elements.forEach((element, at) => { if (parent.children[at] !== element) parent.insertBefore(element, parent.children[at] || null); });
  while (parent.children.length > elements.length) parent.lastElementChild.remove();
}
