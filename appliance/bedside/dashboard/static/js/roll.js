// The roll: all leads of a patient on ECG paper, moved through all that is stored, with calipers. Reads 20 s at a time,
// the neighbours ahead of being looked at; holds a bounded amount.
import { ask } from "./api.js";
import { clockTime, dayText, el, put } from "./format.js";
import { drawGrid, drawMillivolt, fitCanvas } from "./grid.js";
import { beatMark, decode, line, middle, PX_PER_S } from "./strip.js";
import { PX_PER_MM } from "./trace.js";

const CHUNK_MS = 20000;
const CHUNKS_KEPT = 240;
const AGAIN_MS = 3000;
const AHEAD = 3; // chunks on both sides
const ROW_MM = { ecg: 40, pleth: 20, respiration: 20 };
const MARKS_PX = 24;
const TIMES_PX = 18;
const GAIN = 10;

export class Roll {
  constructor(patient) {
    this.patient = patient;
    this.leads = []; // {stream, kind, label}
    this.atMs = 0; // the left edge
    this.endMs = 0; // where the stored samples end now
    this.chunks = new Map(); // "stream number" -> {parts, beats, state}
    this.measuring = false;
    this.caliper = null; // {row, x1, y1, x2, y2}
    this.canvas = el("canvas", { class: "roll-canvas", tabindex: "0", role: "img" });
    this.words = el("p", { class: "roll-words", role: "status" });
    this.measure = el("p", { class: "roll-measure", role: "status" });
    this.element = el("div", { class: "roll" }, this.canvas, this.words, this.measure);
    this.wire();
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  use(signals) {
    const leads = signals.filter((one) => one.kind in ROW_MM).map((one) => ({ stream: one.stream, kind: one.kind, label: one.label }));
    const order = { ecg: 0, pleth: 1, respiration: 2 };
    leads.sort((a, b) => order[a.kind] - order[b.kind]);
    if (leads.map((one) => one.stream).join() === this.leads.map((one) => one.stream).join()) return;
    this.leads = leads;
    this.draw();
  }

  get spanMs() {
    return (this.width / PX_PER_S) * 1000;
  }

  get width() {
    return Math.max(200, Math.floor(this.element.clientWidth));
  }

  go(atMs) {
    this.atMs = Math.min(atMs, this.endMs - this.spanMs);
    this.caliper = null;
    this.draw();
    this.onMove?.(this.atMs);
  }

  centre(ms) {
    this.go(ms - this.spanMs / 3);
  }

  // ------------------------------------------------------------------ reading

  chunk(lead, number) {
    const key = `${lead.stream} ${number}`;
    let found = this.chunks.get(key);
    if (found === undefined) {
      found = { parts: [], beats: [], state: "reading", readAt: 0 };
      this.chunks.set(key, found);
      this.read(lead, number, found);
      if (this.chunks.size > CHUNKS_KEPT) this.chunks.delete(this.chunks.keys().next().value);
    } else if (found.state !== "reading" && found.again && performance.now() - found.readAt > AGAIN_MS) {
      found.state = "reading";
      this.read(lead, number, found);
    }
    return found;
  }

  async read(lead, number, chunk) {
    const startMs = number * CHUNK_MS;
    try {
      const strip = await ask("strip", { patient: this.patient, stream: lead.stream, start_us: startMs * 1000, end_us: (startMs + CHUNK_MS) * 1000 });
      chunk.parts = strip.segments.map((segment) => ({ values: decode(segment), startMs: segment.start_us / 1000, rateHz: segment.rate_hz }));
      chunk.beats = strip.beats;
      chunk.again = startMs + CHUNK_MS > this.endMs - 3000; // it still grows
    } catch (error) {
      chunk.again = error.status !== 404;
    }
    chunk.state = "read";
    chunk.readAt = performance.now();
    this.draw();
  }

  // ------------------------------------------------------------------ drawing

  draw() {
    if (this.drawing || this.leads.length === 0) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.paint();
    });
  }

  rows() {
    let top = 0;
    return this.leads.map((lead) => {
      const height = ROW_MM[lead.kind] * PX_PER_MM;
      const row = { lead, top, height };
      top += height + (lead.kind === "ecg" ? MARKS_PX : 4);
      return row;
    });
  }

  paint() {
    const { width, atMs } = this;
    const rows = this.rows();
    const last = rows[rows.length - 1];
    const height = last.top + last.height + MARKS_PX + TIMES_PX;
    this.canvas.style.setProperty("height", `${height}px`);
    const style = getComputedStyle(document.documentElement);
    const context = fitCanvas(this.canvas, width, height);
    const first = Math.floor(atMs / CHUNK_MS);
    const final = Math.floor((atMs + this.spanMs) / CHUNK_MS);
    let beats = 0;
    for (const row of rows) {
      const parts = [];
      const marks = [];
      let reading = false;
      for (let n = first - AHEAD; n <= final + AHEAD; n += 1) {
        if (n < 0 || n * CHUNK_MS > this.endMs) continue;
        const chunk = this.chunk(row.lead, n);
        if (n < first || n > final) continue;
        parts.push(...chunk.parts);
        marks.push(...chunk.beats);
        reading ||= chunk.state === "reading";
      }
      this.paintRow(context, row, parts, reading, style);
      for (const beat of marks) {
        const x = ((beat.time_us / 1000 - atMs) / 1000) * PX_PER_S;
        if (x < 0 || x > width) continue;
        beats += 1;
        beatMark(context, beat.beat_class, x, row.top + row.height + 17, style);
      }
      context.textAlign = "left";
    }
    this.paintTimes(context, height, style);
    this.paintCaliper(context, rows, style);
    const text = `${dayText(atMs)} ${clockTime(atMs)} to ${clockTime(atMs + this.spanMs)}, ${beats} beats`;
    put(this.words, `${text} · 25 mm/s, 10 mm/mV, as the wearable sent it · not to scale until this screen is calibrated`);
    this.canvas.setAttribute("aria-label", `Stored waves, ${text}. Arrow keys move, C measures.`);
  }

  paintRow(context, row, parts, reading, style) {
    const { lead, top, height } = row;
    const { width } = this;
    context.save();
    context.translate(0, top);
    const ecg = lead.kind === "ecg";
    const baseline = Math.round((ecg ? 0.6 : 0.5) * height / (5 * PX_PER_MM)) * 5 * PX_PER_MM;
    drawGrid(context, width, height, style, baseline);
    context.beginPath();
    context.rect(0, 0, width, height);
    context.clip();
    const inView = parts.filter((part) => part.startMs < this.atMs + this.spanMs && part.startMs + (part.values.length * 1000) / part.rateHz > this.atMs);
    row.scale = 0;
    if (inView.length > 0) {
      const [zero, low, high] = middle(inView);
      row.scale = ecg ? GAIN * PX_PER_MM : (height * 0.8) / Math.max(high - low, 1e-9);
      const centre = ecg ? zero : (high + low) / 2;
      context.strokeStyle = style.getPropertyValue("--strip-line");
      context.lineWidth = 1.4;
      context.lineJoin = "round";
      line(context, inView, this.atMs, (value) => baseline - (value - centre) * row.scale);
    } else {
      context.fillStyle = style.getPropertyValue("--muted");
      context.font = "500 14px Inter, sans-serif";
      context.fillText(reading ? "Reading…" : "Nothing is stored here", 70, height / 2);
    }
    context.fillStyle = style.getPropertyValue("--muted");
    context.font = "600 12px Inter, sans-serif";
    if (ecg) drawMillivolt(context, GAIN, baseline, style.getPropertyValue("--muted"));
    context.fillText(ecg ? `ECG ${lead.label}` : lead.label, 44, 14);
    context.restore();
  }

  paintTimes(context, height, style) {
    context.font = "500 11px Inter, sans-serif";
    context.fillStyle = style.getPropertyValue("--muted");
    for (let ms = Math.ceil(this.atMs / 1000) * 1000; ms < this.atMs + this.spanMs; ms += 1000) {
      const x = ((ms - this.atMs) / 1000) * PX_PER_S;
      const whole = Math.round(ms / 1000) % 5 === 0;
      context.fillRect(x, height - TIMES_PX, 1, whole ? 6 : 3);
      if (whole) context.fillText(clockTime(ms), x + 3, height - 4);
    }
  }

  paintCaliper(context, rows, style) {
    const { caliper } = this;
    if (caliper === null) {
      put(this.measure, this.measuring ? "Calipers: drag from one point to another, or use the arrow keys with Shift to widen." : "");
      return;
    }
    const row = rows[caliper.row] ?? rows[0];
    context.strokeStyle = style.getPropertyValue("--accent");
    context.fillStyle = style.getPropertyValue("--accent");
    context.lineWidth = 1.5;
    context.beginPath();
    for (const x of [caliper.x1, caliper.x2]) {
      context.moveTo(x, row.top);
      context.lineTo(x, row.top + row.height);
    }
    for (const y of [caliper.y1, caliper.y2]) {
      context.moveTo(Math.min(caliper.x1, caliper.x2), y);
      context.lineTo(Math.max(caliper.x1, caliper.x2), y);
    }
    context.stroke();
    const seconds = Math.abs(caliper.x2 - caliper.x1) / PX_PER_S;
    const mv = Math.abs(caliper.y2 - caliper.y1) / (GAIN * PX_PER_MM);
    const rate = seconds > 0.02 ? `, ${Math.round(60 / seconds)}/min` : "";
    put(this.measure, `Calipers: ${Math.round(seconds * 1000)} ms${rate}${row.lead.kind === "ecg" ? `, ${mv.toFixed(2)} mV` : ""}`);
  }

  // ------------------------------------------------------------------ hands

  wire() {
    const { canvas } = this;
    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      const box = canvas.getBoundingClientRect();
      held = { x: event.clientX, y: event.clientY, atMs: this.atMs, left: box.left, top: box.top };
      canvas.setPointerCapture(event.pointerId);
      if (!this.measuring) return;
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      const row = this.rows().findIndex((one) => y < one.top + one.height + MARKS_PX);
      this.caliper = { row: Math.max(0, row), x1: x, y1: y, x2: x, y2: y };
      this.draw();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (held === null) return;
      if (this.measuring && this.caliper !== null) {
        this.caliper.x2 = event.clientX - held.left;
        this.caliper.y2 = event.clientY - held.top;
        this.draw();
      } else this.go(held.atMs - ((event.clientX - held.x) / PX_PER_S) * 1000);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (held = null));
    canvas.addEventListener("wheel", (event) => {
      const by = Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.shiftKey ? event.deltaY : 0;
      if (by === 0) return;
      event.preventDefault();
      this.go(this.atMs + (by / PX_PER_S) * 1000);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const sign = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (sign !== undefined && this.measuring && event.shiftKey) {
      const row = this.rows()[0];
      this.caliper ??= { row: 0, x1: this.width / 3, y1: row.top + row.height * 0.4, x2: this.width / 3, y2: row.top + row.height * 0.4 };
      this.caliper.x2 += sign * (event.altKey ? 1 : 4);
      this.draw();
    } else if (sign !== undefined) this.go(this.atMs + sign * (event.shiftKey ? 10000 : 1000));
    else if (event.key === "PageUp") this.go(this.atMs - this.spanMs * 0.9);
    else if (event.key === "PageDown") this.go(this.atMs + this.spanMs * 0.9);
    else if (event.key === "End") this.go(this.endMs);
    else if (event.key === "c" || event.key === "C") this.toggle();
    else return;
    event.preventDefault();
  }

  toggle() {
    this.measuring = !this.measuring;
    this.caliper = null;
    this.canvas.classList.toggle("measuring", this.measuring);
    this.onMeasuring?.(this.measuring);
    this.draw();
  }
}

