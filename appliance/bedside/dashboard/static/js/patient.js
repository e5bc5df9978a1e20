// One patient: live strip on ECG paper, numbers, open alarms with their reasons, and what happened.
import { alarmBlock } from "./alarm-block.js";
import { ask } from "./api.js";
import { EventList, LISTED, timeText } from "./events.js";
import { completenessText } from "./completeness.js";
import { BEAT_TEXT, el, evidenceRow, icon, put, RHYTHM_TEXT, reasonText, sentence, show, timerText } from "./format.js";
import { drawGrid, drawMillivolt, fitCanvas } from "./grid.js";
import { Live } from "./live.js";
import { numeric, NumberView, PressureView } from "./numbers.js";
import { Frame } from "./page.js";
import { beatMark, stripView } from "./strip.js";
import { reviewForm, ReviewBook } from "./review.js";
import { ScoreCard } from "./score.js";
import { kindText, moment } from "./sheet.js";
import { updateSigns } from "./wearable.js";
import { WaveView, whyNothing } from "./waves.js";

const main = document.getElementById("main");
const id = main.dataset.patient;
const NUMBERS = [["MDC_ECG_HEART_RATE", "HR", "big"], ["MDC_PULS_OXIM_SAT_O2", "SpO2", "big"], ["MDC_PULS_OXIM_PULS_RATE", "PR", ""], ["MDC_ECG_HEART_RATE_DEVICE", "HR (strap)", ""], ["MDC_ECG_V_P_C_RATE", "PVC", ""], ["MDC_ECG_TIME_PD_PR", "PR int", ""], ["MDC_ECG_TIME_PD_QRS", "QRS", ""], ["MDC_ECG_TIME_PD_QTcF", "QTcF", ""], ["MDC_ECG_AMPL_ST", "ST", ""], ["MDC_RESP_RATE", "RR", ""], ["MDC_TEMP_BODY", "Temp", ""], ["MDC_CONC_GLU_GEN", "Glucose", ""], ["MDC_MASS_BODY_ACTUAL", "Weight", ""], ["MDC_PULS_OXIM_PERF_REL", "PI", ""], ["MDC_PULS_ARRIVAL_TIME", "PAT", ""]];
const EVENTS_EVERY_MS = 2000;
const BEATS_EVERY_MS = 700;
const BEATS_SEEN_S = 25;
const BEFORE_MS = 10000;
const AFTER_MS = 20000;
const FILTERS = [["all", "All"], ["alarm", "Alarms"], ["rhythm", "Rhythm"], ["signal", "Signal and link"], ["unreviewed", "Not reviewed"]];
const SIGNAL_KINDS = new Set(["quality", "link", "gap"]);

class PatientPage {
  constructor(live) {
    this.live = live;
    this.patient = null;
    this.events = new EventList();
    this.beats = [];
    this.filter = "all";
    this.selected = null;
    this.blocks = new Map();
    this.signOf = new Map();
    this.build();
  }

  build() {
    this.bed = el("h1", { class: "bed" });
    this.name = el("span", { class: "name" });
    this.simulated = el("span", { class: "simulated", hidden: true }, "Simulated");
    this.rhythm = el("span", { class: "rhythm" });
    this.quality = el("span", { class: "quality" }, el("i", { "aria-hidden": "true" }), el("span", {}));
    this.signs = el("span", { class: "signs" });
    this.gridCanvas = el("canvas", { class: "grid-canvas", "aria-hidden": "true" });
    this.ecg = new WaveView("ecg", { under: this.gridCanvas });
    this.ecg.resized = (width, height) => this.paper(width, height);
    this.more = new Map(); // further ECG leads: stream -> WaveView
    this.moreLeads = el("div", { class: "more-leads" });
    this.pleth = new WaveView("pleth");
    this.state = el("p", { class: "state-line", role: "status", hidden: true });
    this.reviews = new ReviewBook(id);
    this.score = new ScoreCard(id);
    this.marks = el("canvas", { class: "marks-canvas", "aria-hidden": "true" });
    this.delay = el("p", { class: "delay" });
    this.complete = el("p", { class: "delay complete", hidden: true });
    this.numbers = NUMBERS.map(([code, name, shape]) => new NumberView(code, name, shape));
    this.pressure = new PressureView();
    this.alarmList = el("ul", { class: "alarm-list" });
    this.alarmNone = el("p", { class: "none-text" }, "No open alarms.");
    this.filters = el("div", { class: "filters", role: "group", "aria-label": "Show" });
    for (const [key, text] of FILTERS) {
      this.filters.append(el("button", { type: "button", "aria-pressed": String(key === this.filter), onclick: () => this.choose(key), "data-key": key }, text));
    }
    this.rows = el("ol", { class: "event-list" });
    this.rowsNone = el("p", { class: "none-text" }, "Nothing happened yet.");
    this.review = el("section", { class: "review card", "aria-label": "Stored strip", hidden: true });
    this.body = el(
      "div",
      { class: "patient-grid" },
      el("header", { class: "patient-head" }, this.bed, this.name, this.simulated, this.rhythm, this.quality, this.signs, el("nav", { class: "patient-nav", "aria-label": "This patient" }, el("a", { href: `/patient/${encodeURIComponent(id)}/history` }, "History and trends"), el("a", { href: `/patient/${encodeURIComponent(id)}/limits` }, "Limits and standby"))),
      this.state,
      el("section", { class: "strips card", "aria-label": "Live waves" }, this.ecg.element, this.marks, this.moreLeads, this.pleth.element, this.delay, this.complete),
      el("section", { class: "numbers card", "aria-label": "Vital signs" }, ...this.numbers.map((view) => view.element), this.pressure.element),
      this.review,
      el("div", { class: "side" }, el("section", { class: "alarms card", "aria-label": "Open alarms" }, el("h2", {}, "Open alarms"), this.alarmNone, this.alarmList), this.score.element),
      el("section", { class: "events card", "aria-label": "Events" }, el("div", { class: "card-head" }, el("h2", {}, "Events"), this.filters), this.rowsNone, this.rows),
    );
  }

  paper(width, height) {
    const style = getComputedStyle(document.documentElement);
    const context = fitCanvas(this.gridCanvas, width, height);
    const baseline = height * 0.6;
    drawGrid(context, width, height, style, baseline);
    drawMillivolt(context, this.ecg.trace?.gain ?? 10, baseline, style.getPropertyValue("--muted"));
    const box = this.marks.getBoundingClientRect();
    fitCanvas(this.marks, box.width, box.height);
    this.drawnGain = this.ecg.trace?.gain;
  }

  update(ward) {
    const patient = ward.patients.find((candidate) => candidate.id === id) ?? null;
    const empty = document.getElementById("empty");
    if (patient === null) {
      this.body.remove();
      show(empty, true);
      put(empty, "No patient on this box has this id. Perhaps she was discharged.");
      return;
    }
    show(empty, false);
    if (!this.body.isConnected) main.append(this.body);
    this.patient = patient;
    frame.title = `${patient.bed} · Bedside`;
    this.head(patient);
    const boxMs = this.live.newestBoxMs;
    const ecg = patient.signals.find((signal) => signal.kind === "ecg") ?? null;
    const pleth = patient.signals.find((signal) => signal.kind === "pleth") ?? null;
    this.ecg.use(ecg, this.live, id);
    this.ecg.explain(whyNothing(patient, ecg, boxMs));
    this.leads(patient, ecg, boxMs);
    this.standing(patient, boxMs);
    this.score.update(this.live);
    show(this.pleth.element, pleth !== null);
    this.pleth.use(pleth, this.live, id);
    if (pleth !== null) this.pleth.explain(whyNothing(patient, pleth, boxMs));
    put(this.delay, `Drawn ${(this.live.playout(id).delayMs / 1000).toFixed(2)} s behind the wearable · not to scale until this screen is calibrated`);
    this.numbers.forEach((view, place) => view.update(numeric(patient, NUMBERS[place][0])));
    this.pressure.update(patient);
    show(this.complete, Boolean(patient.completeness));
    if (patient.completeness) {
      const [words, hours] = completenessText(patient.completeness);
      put(this.complete, words);
      this.complete.title = hours;
    }
    this.alarms(patient, boxMs);
  }

  leads(patient, first, boxMs) {
    const further = patient.signals.filter((signal) => signal.kind === "ecg" && signal !== first);
    for (const signal of further) {
      let view = this.more.get(signal.stream);
      if (view === undefined) {
        view = new WaveView("ecg");
        this.more.set(signal.stream, view);
        this.moreLeads.append(view.element);
      }
      view.use(signal, this.live, id);
      view.explain(whyNothing(patient, signal, boxMs));
    }
    for (const [stream, view] of this.more) {
      if (further.some((signal) => signal.stream === stream)) continue;
      view.element.remove();
      this.more.delete(stream);
    }
  }

  // What somebody has switched off stands above everything: nobody may take quiet for health.
  standing(patient, boxMs) {
    const { standby } = patient;
    const off = Object.entries(patient.alarms_off ?? {});
    const words = [];
    if (standby) words.push(`STANDBY by ${standby.by}: ${standby.reason}; ends by itself at ${moment(standby.until_us, boxMs)}`);
    if (off.length > 0) words.push(`SOME ALARMS OFF: ${off.map(([kind, act]) => `${kindText(kind)} until ${moment(act.until_us, boxMs)} (${act.by})`).join(", ")}`);
    put(this.state, words.join(" · "));
    show(this.state, words.length > 0);
  }

  head(patient) {
    put(this.bed, patient.bed);
    put(this.name, patient.name);
    show(this.simulated, patient.simulated);
    put(this.rhythm, patient.rhythm === null ? "" : (RHYTHM_TEXT[patient.rhythm] ?? patient.rhythm));
    const ecg = patient.signals.find((signal) => signal.kind === "ecg");
    this.quality.dataset.state = ecg === undefined ? "none" : ecg.usable ? "good" : "poor";
    put(this.quality.lastChild, ecg === undefined ? "" : ecg.usable ? ["Signal good", ecg.note].filter(Boolean).join(" · ") : sentence(ecg.reason_text || reasonText(ecg.reason) || "Poor signal")[0]);
    updateSigns(this.signs, this.signOf, patient.wearables);
  }

  alarms(patient, boxMs) {
    const seen = new Set();
    patient.alarms.forEach((alarm, place) => {
      seen.add(alarm.alarm);
      let entry = this.blocks.get(alarm.alarm);
      if (entry === undefined) {
        const block = alarmBlock();
        const why = el("div", { class: "why" });
        entry = { block, why, element: el("li", {}, block.element, why) };
        this.blocks.set(alarm.alarm, entry);
      }
      entry.block.update(alarm, 0, boxMs);
      explain(entry.why, alarm);
      if (this.alarmList.children[place] !== entry.element) this.alarmList.insertBefore(entry.element, this.alarmList.children[place] ?? null);
    });
    for (const [key, entry] of this.blocks) {
      if (seen.has(key)) continue;
      entry.element.remove();
      this.blocks.delete(key);
    }
    show(this.alarmNone, patient.alarms.length === 0);
  }

  choose(key) {
    this.filter = key;
    for (const button of this.filters.children) button.setAttribute("aria-pressed", String(button.dataset.key === key));
    this.list();
  }

  list() {
    const now = this.live.newestBoxMs || Date.now();
    const rows = this.events.rows().filter((row) => (this.filter === "unreviewed" ? (row.kind === "alarm" || row.kind === "suppression") && !this.reviews.has(row.key) : false) || this.filter === "all" || row.kind === this.filter || (this.filter === "signal" && SIGNAL_KINDS.has(row.kind)));
    this.shown = rows.slice(0, 200);
    show(this.rowsNone, this.shown.length === 0);
    const items = new Map([...this.rows.children].map((item) => [item.dataset.key, item]));
    this.shown.forEach((row, place) => {
      const item = items.get(row.key) ?? this.item(row);
      items.delete(row.key);
      const [time, title, note] = item.firstChild.children;
      put(time, timeText(row.timeMs, now));
      put(title, row.title);
      put(note, [this.reviews.words(row.key), row.note].filter(Boolean).join(" · "));
      item.row = row;
      item.className = `event of-${row.kind} ${row.priority ?? ""} ${row.open ? "open" : ""} ${row.key === this.selected ? "selected" : ""}`;
      if (this.rows.children[place] !== item) this.rows.insertBefore(item, this.rows.children[place] ?? null);
    });
    for (const item of items.values()) item.remove();
  }

  item(row) {
    const button = el("button", { type: "button", class: "event-button" }, el("time", {}), el("span", { class: "event-title" }), el("span", { class: "event-note" }));
    const item = el("li", { "data-key": row.key }, button);
    button.addEventListener("click", () => this.open(item.row));
    return item;
  }

  async open(row) {
    this.selected = row.key;
    this.list();
    const stream = this.streamFor(row);
    const body = el("div", { class: "review-body" }, el("p", { class: "none-text" }, "Reading the stored strip…"));
    const step = (by, text, path) => el("button", { type: "button", class: "step", "aria-label": text, title: text, onclick: () => this.step(by) }, icon(path));
    this.review.replaceChildren(
      el("div", { class: "card-head" }, el("h2", {}, row.title), el("div", { class: "steps" }, step(1, "Earlier event", "M12 4l-6 6 6 6"), step(-1, "Later event", "M8 4l6 6-6 6"), el("button", { type: "button", class: "step", "aria-label": "Close the strip", title: "Close", onclick: () => this.shut() }, icon("M5 5l10 10M15 5L5 15")))),
      el("p", { class: "review-note" }, `${timeText(row.timeMs, this.live.newestBoxMs)}${row.note ? ` · ${row.note}` : ""}`),
      body,
      reviewForm(row, this.reviews, stream, () => this.list(), (by) => this.step(by)),
    );
    show(this.review, true);
    this.review.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    await this.fill(body, row, stream);
  }

  async fill(body, row, stream) {
    const facts = el("div", { class: "why" });
    explain(facts, { evidence: row.evidence });
    if (stream === null || !row.hasStrip) {
      body.replaceChildren(el("p", { class: "none-text" }, "No wave belongs to this event."), facts);
      return;
    }
    const startMs = row.onsetMs - BEFORE_MS;
    const endMs = Math.min(row.onsetMs + AFTER_MS, Math.max(this.live.newestBoxMs, row.onsetMs + 1000));
    try {
      const strip = await ask("strip", { patient: id, stream: stream.stream, start_us: Math.round(startMs * 1000), end_us: Math.round(endMs * 1000) });
      if (this.selected !== row.key) return;
      const words = [`${strip.kind === "ecg" ? "ECG " : ""}${strip.label}`, "25 mm/s", strip.kind === "ecg" ? "10 mm/mV" : "", strip.kind === "ecg" ? "as the wearable sent it" : "", strip.simulated ? "SIMULATED" : "", strip.complete ? "" : "parts were never received or are not stored yet", "not to scale until this screen is calibrated"];
      const view = stripView(strip, startMs, endMs, row.onsetMs);
      body.replaceChildren(view, el("p", { class: "strip-words" }, words.filter(Boolean).join(" · "), " · ", el("a", { href: `/patient/${encodeURIComponent(id)}/history?at=${Math.round(row.onsetMs)}` }, "All leads, with calipers")), legend(strip.beats), facts);
      const onset = ((row.onsetMs - startMs) / 1000) * 94.5;
      view.scrollLeft = Math.max(0, onset - view.clientWidth / 3);
    } catch (error) {
      if (this.selected === row.key) body.replaceChildren(el("p", { class: "none-text" }, `The strip could not be read: ${error.message}`), facts);
    }
  }

  streamFor(row) {
    const signals = this.patient?.signals ?? [];
    return signals.find((signal) => signal.stream === row.stream) ?? signals.find((signal) => signal.kind === "ecg") ?? null;
  }

  step(by) {
    const place = this.shown.findIndex((row) => row.key === this.selected);
    const next = this.shown[place + by];
    if (place >= 0 && next !== undefined) this.open(next);
  }

  shut() {
    const item = [...this.rows.children].find((candidate) => candidate.dataset.key === this.selected);
    this.selected = null;
    show(this.review, false);
    this.review.replaceChildren();
    this.list();
    item?.firstChild.focus();
  }

  draw(now) {
    if (!this.body.isConnected) return;
    const head = this.live.headMs(id, now);
    this.ecg.draw(head);
    for (const view of this.more.values()) view.draw(head);
    if (this.pleth.stream !== null) this.pleth.draw(head);
    if (now - (this.markedAt ?? 0) > 100) {
      this.markedAt = now;
      this.drawMarks(head);
    }
  }

  drawMarks(headMs) {
    const { trace } = this.ecg;
    if (trace === null || trace.width === 0) return;
    if (trace.gain !== this.drawnGain) this.paper(trace.width, trace.height);
    const style = getComputedStyle(document.documentElement);
    const context = this.marks.getContext("2d");
    context.clearRect(0, 0, trace.width, 40);
    for (const beat of this.beats) {
      const timeMs = beat.start_us / 1000;
      if (timeMs > headMs || timeMs < headMs - trace.sweepMs + 400) continue;
      beatMark(context, beat.beat_class, trace.x(timeMs), 18, style);
    }
  }

  async pollBeats() {
    if (this.patient !== null && !document.hidden) {
      const endMs = this.live.newestBoxMs;
      try {
        this.beats = await ask("events", { patient: id, types: "beat", start_us: Math.round((endMs - BEATS_SEEN_S * 1000) * 1000), end_us: Math.round((endMs + 5000) * 1000), limit: 200 });
      } catch {
        this.beats = []; // the notice on top tells when the gateway is away
      }
    }
    setTimeout(() => this.pollBeats(), BEATS_EVERY_MS);
  }

  async pollEvents() {
    if (this.patient !== null && !document.hidden) {
      try {
        const found = await ask("events", { patient: id, types: LISTED.join(","), limit: 300 });
        const reviewed = await this.reviews.read();
        if (this.events.add(found) || reviewed) this.list();
      } catch {
        // the notice on top tells when the gateway is away
      }
    }
    setTimeout(() => this.pollEvents(), EVENTS_EVERY_MS);
  }

  restyle() {
    for (const wave of [this.ecg, this.pleth, ...this.more.values()]) wave.trace?.restyle();
    if (this.ecg.trace !== null) this.paper(this.ecg.trace.width, this.ecg.trace.height);
    const row = this.shown?.find((candidate) => candidate.key === this.selected);
    if (row !== undefined) this.open(row);
  }
}

// The sentence why, then the evidence as it stands in the record.
function explain(place, alarm) {
  const rows = Object.entries(alarm.evidence ?? {}).map(([name, value]) => evidenceRow(name, value)).filter(Boolean);
  const sentence = alarm.priority === undefined ? "" : sentenceOf(alarm);
  const signature = sentence + JSON.stringify(rows);
  if (place.dataset.signature === signature) return;
  place.dataset.signature = signature;
  const list = el("dl", { class: "evidence" });
  for (const [label, text] of rows.slice(0, 12)) list.append(el("div", {}, el("dt", {}, label), el("dd", {}, text)));
  place.replaceChildren(...(sentence ? [el("p", {}, sentence)] : []), ...(rows.length > 0 ? [list] : []));
}

function sentenceOf(alarm) {
  const kind = alarm.alarm_class === "technical" ? "Technical alarm" : "Alarm";
  const latch = { active: "the condition is present", acknowledged: "the condition is present and was acknowledged", latched: "the condition ended; the alarm stays until someone acknowledges it" }[alarm.state];
  const after = alarm.raised_us > alarm.start_us ? `, raised ${timerText((alarm.raised_us - alarm.start_us) / 1e6)} after its onset` : "";
  return `${kind} of ${alarm.priority} priority${after}: ${latch}.`;
}

function legend(beats) {
  const counts = new Map();
  for (const beat of beats) counts.set(beat.beat_class, (counts.get(beat.beat_class) ?? 0) + 1);
  const words = [...counts].map(([letter, count]) => `${count} ${letter} (${BEAT_TEXT[letter] ?? letter})`);
  return el("p", { class: "strip-words" }, words.length === 0 ? "No beats are stored here." : `Beats: ${words.join(", ")}`);
}

const live = new Live();
const frame = new Frame(live, "Patient · Bedside");
const page = new PatientPage(live);
live.onWard = (ward) => {
  frame.update(ward);
  page.update(ward);
};
document.addEventListener("keydown", (event) => {
  if (page.selected === null || event.target.closest("input, select, textarea, .strip-scroll")) return;
  if (event.key === "ArrowLeft") page.step(1);
  else if (event.key === "ArrowRight") page.step(-1);
  else if (event.key === "Escape") page.shut();
  else if (!event.ctrlKey && !event.metaKey && !event.altKey) page.review.querySelector(".review-form")?.key(event.key.toLowerCase());
});
addEventListener("bedside-restyle", () => page.restyle());
function drawAll(now) {
  page.draw(now);
  requestAnimationFrame(drawAll);
}
live.start();
page.pollBeats();
page.pollEvents();
requestAnimationFrame(drawAll);
