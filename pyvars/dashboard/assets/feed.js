// Reads the service: the history from its last `seq` on, the variables, the workers. Each read is a request of its own,
// after a timeout; while the page is hidden or paused it reads nothing. The next request may reach another worker, so
// numbers are put into one Track only if they have the same identity.

import { isGroup } from "./names.js";
import { Track } from "./series.js";

const TICK = 1000;
const VARS_EVERY = 10000; // for these a worker asks all others: ten times the work of a read of the history
const VARS_ALONE = 2000; // where there is no history
const WORKERS_EVERY = 5000;
const WORKERS_IN_TROUBLE = 2000;
const SPANS_EVERY = 10000;
const HISTORY_AGAIN = 30000;
const LATE_AGAIN = 15000;
const MAX_NAMES = 64;
const TIMEOUT = 2000;
const POINTS = 30; // of each series: lines in rows are short, and charts read more points
const WAITS = [200, 1000, 2000, 4000, 8000, 15000];

class Refused extends Error {}

class Answer extends Error {
  constructor(status) {
    super(`status ${status}`);
    this.status = status;
  }
}

// JSON.parse rounds integers beyond 2^53. They become texts in browsers that give a reviver the source.
function exact(key, found, context) {
  return typeof found === "number" && Number.isInteger(found) && !Number.isSafeInteger(found) && /^-?\d+$/.test(context?.source ?? "")
    ? context.source : found;
}

// Returns the numbers of /debug/vars with their names, which are those of the series of the history.
export function numbers(page) {
  const found = [];
  const visit = (name, value, depth) => {
    if (typeof value === "number") found.push([name, value]);
    else if (isGroup(value) && depth < 8) for (const key in value) visit(`${name}.${key}`, value[key], depth + 1);
  };
  for (const name in page) visit(name, page[name], 0);
  return found;
}

export class Feed {
  constructor(at, view, changed) {
    this.at = at;
    this.view = view;
    this.changed = changed;
    this.samples = new Track(1, 600);
    this.spans = new Track(10, 7200);
    this.own = new Map(); // Tracks by identity, of numbers that this page has read
    this.current = this.samples;
    this.mode = "history";
    this.why = "";
    this.names = "";
    this.rest = new Track(1, 600); // headline numbers that the history has no room for
    this.vars = null;
    this.workers = null;
    this.failures = 0;
    this.lastGood = Date.now();
    this.denied = 0;
    this.gone = false;
    this.due = { history: 0, meta: 0 };
    this.read = { vars: 0, workers: 0, spans: 0 }; // when each was last read
    this.timer = 0;
    this.running = false;
  }

  get failing() {
    return this.failures > 1 || (this.failures === 1 && Date.now() - this.lastGood > 2500);
  }

  // The Track to show, for the chosen span and worker.
  track() {
    const { spans } = this;
    const reaches = this.mode === "history" && this.view.range === 7200 && !this.view.worker && spans.now - spans.t[0] > this.samples.keep;
    return reaches ? spans : this.current; // until then samples reach as far back, and are finer
  }

  // The Track with the figures of the interpreter, for which the history has no room if the program has many variables.
  headline() {
    const track = this.track();
    return track === this.current && track.about.left_out && !track.has("memstats.Sys") ? this.rest : track;
  }

  // Read now, and go on reading.
  wake() {
    clearTimeout(this.timer);
    if (document.hidden || this.view.paused || this.denied) return;
    if (!this.running) this._tick();
  }

  async load() {
    try {
      if (this.mode === "history") await this._history(this.spans, 10);
    } catch { /* the next read after the pause asks for it again */ }
    this.changed();
  }

  again() {
    this.denied = 0;
    this.failures = 0;
    this.lastGood = Date.now();
    this.wake();
  }

  chosen() {
    this.gone = false;
    this.read.vars = this.read.spans = 0;
    this.current = this.view.worker ? this._gathered(`worker ${this.view.worker}`) : this.samples;
    this.wake();
  }

  async _tick() {
    this.running = true;
    const started = Date.now();
    try {
      await this._read(started);
      this.failures = 0;
      this.lastGood = Date.now();
    } catch (error) {
      if (error instanceof Refused) this.denied = error.cause;
      else this.failures += 1;
    }
    this.running = false;
    this.changed();
    if (document.hidden || this.view.paused || this.denied) return;
    const wait = this.failures ? WAITS[Math.min(this.failures, WAITS.length) - 1] : Math.max(100, TICK - (Date.now() - started));
    this.timer = setTimeout(() => this.wake(), wait);
  }

  async _read(now) {
    const first = this.vars === null;
    const parts = [];
    const part = (key, every, read) => {
      if (now < this.read[key] + every - 50) return;
      this.read[key] = now;
      parts.push(read().catch((error) => {
        this.read[key] = 0;
        throw error;
      }));
    };
    const alone = this.view.worker !== "";
    if (this.mode === "local" && !alone && now > this.due.history) this.mode = "history";
    if (!alone && this.mode === "history") parts.push(this._history(this.samples, 1));
    if (!alone && this.mode === "history" && this.view.range === 7200) part("spans", SPANS_EVERY, () => this._history(this.spans, 10));
    const often = alone || this.mode === "local" || this.headline() === this.rest;
    part("vars", often ? VARS_ALONE : VARS_EVERY, () => this._variables());
    const trouble = this.failures > 0 || this._inTrouble();
    part("workers", trouble ? WORKERS_IN_TROUBLE : WORKERS_EVERY, () => this._workers());
    if (first) for (const each of parts) each.then(() => this.changed(), () => {}); // show each part as soon as it arrives
    const done = await Promise.allSettled(parts);
    if (this.mode === "local" && first && this.vars && !this.current.t.length) this._gather();
    const failed = done.find((each) => each.status === "rejected");
    if (failed) throw failed.reason;
  }

  // Whether a worker is stuck, by the latest numbers or the latest list of workers.
  _inTrouble() {
    const stuck = ["blocked", "stopped", "silent"].some((state) => this.samples.last(`pyvars.workers.${state}`) > 0);
    return stuck || (this.workers?.workers || []).some((each) => each.state !== "ok");
  }

  async _history(track, step) {
    let answer;
    try {
      answer = await this._json(`history?since=${track.seq}&step=${step}&points=${POINTS}${this.names}`);
    } catch (error) {
      if (error.status !== 404) throw error;
      answer = { reason: "there is none" };
    }
    if (answer.reason) return this._without(answer.reason);
    this.mode = "history";
    this.why = "";
    if (!this.view.worker) this.current = this.samples;
    if (!track.merge(answer)) {
      track.seq = 0;
      track.merge(await this._json(`history?since=0&step=${step}&points=${POINTS}${this.names}`));
    }
    if (track.about.not_shown && !this.names && this.vars) return this._all(track, step);
    // A new name has no kind and unit yet: read the metadata again, but not more often than LATE_AGAIN.
    if (Date.now() > this.due.meta && Object.keys(answer.series).some((name) => !(name in track.meta))) {
      this.due.meta = Date.now() + LATE_AGAIN;
      track.about = (await this._json(`history?since=0&step=${step}&points=1${this.names}`)).meta;
      track.meta = track.about.series;
    }
  }

  // An answer without name= holds a limited number of series, and may lack those of the headline: ask by first letters.
  _all(track, step) {
    const begins = new Set(Object.keys(this.vars).map((name) => [...name][0]).filter(Boolean));
    this.names = [...begins].slice(0, MAX_NAMES).map((each) => `&name=${encodeURIComponent(each)}`).join("");
    track.seq = 0;
    return this._history(track, step);
  }

  // There is no history: keep the numbers that this page reads, and look for a history again after HISTORY_AGAIN.
  _without(why) {
    this.mode = "local";
    this.why = why;
    this.due.history = Date.now() + HISTORY_AGAIN;
    this.read.vars = 0;
    if (this.vars) this._gather();
  }

  async _variables() {
    const worker = this.view.worker;
    try {
      const page = await this._json(`vars${worker ? `?worker=${worker}` : ""}`);
      if (worker !== this.view.worker) return;
      this.vars = page;
      this.gone = false;
    } catch (error) {
      if (!worker || (error.status !== 404 && error.status !== 504)) throw error;
      this.gone = error.status === 404;
      return;
    }
    if (worker || this.mode === "local") this._gather();
    else if (this.headline() === this.rest) this.rest.gather("all", Date.now() / 1000, numbers(page));
  }

  _gather() {
    const { worker } = this.view;
    const process = this.vars.process || {};
    const shared = this.vars["pyvars.workers"]?.shared === true;
    this.current = this._gathered(worker ? `worker ${worker}` : shared ? "all" : `alone ${process.pid}`);
    const life = `${worker || !shared ? process.pid : ""}-${process.start_time_seconds ?? ""}`;
    this.current.gather(life, Date.now() / 1000, numbers(this.vars));
  }

  _gathered(identity) {
    if (!this.own.has(identity)) this.own.set(identity, new Track(1, 7200));
    return this.own.get(identity);
  }

  async _workers() {
    try {
      const before = new Map((this.workers?.workers || []).map((each) => [each.pid, each]));
      this.workers = await this._json("workers");
      // On a busy machine a worker may miss one question: it is shown as stuck once it has missed two.
      for (const each of this.workers.workers) each.stuck = each.state !== "ok" && (each.state !== "silent" || before.get(each.pid)?.state === "silent");
    } catch (error) {
      if (error.status !== 404) throw error;
    }
  }

  // Reads some series with more points, for the charts. Returns null if there is no history to read them from.
  async details(names, points) {
    const step = this.track() === this.spans ? 10 : 1;
    if (this.mode !== "history" || this.view.worker) return null;
    const answer = await this._json(`history?since=0&step=${step}&points=${points}${names.map((name) => `&name=${encodeURIComponent(name)}`).join("")}`);
    const track = new Track(step, 7200);
    if (answer.series) track.merge({ ...answer, meta: answer.meta || {} });
    return track;
  }

  async _json(path) {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), TIMEOUT);
    try {
      const answer = await fetch(this.at + path, { signal: stop.signal, cache: "no-store" });
      if (answer.status === 401 || answer.status === 403) throw new Refused("not allowed", { cause: answer.status });
      if (!answer.ok) throw new Answer(answer.status);
      return JSON.parse(await answer.text(), path.startsWith("vars") ? exact : undefined);
    } finally {
      clearTimeout(timer);
    }
  }
}
