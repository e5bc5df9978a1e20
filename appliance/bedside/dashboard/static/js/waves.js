// One wave of a page: its canvas, label, the reason why nothing can be trusted, and the cover "not live".
import { SweepTrace } from "./trace.js";
import { clockTime, el, put, reasonText, sentence, show } from "./format.js";

const observer = new ResizeObserver((entries) => {
  for (const entry of entries) {
    const { width, height } = entry.contentRect;
    entry.target.waveView?.trace?.resize(Math.floor(width), Math.floor(height));
    entry.target.waveView?.resized?.(Math.floor(width), Math.floor(height));
  }
});
const visibility = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const trace = entry.target.waveView?.trace;
    if (!trace) continue;
    if (entry.isIntersecting && !trace.visible) trace.headMs = null;
    trace.visible = entry.isIntersecting;
  }
});

export class WaveView {
  constructor(kind, { under = null } = {}) {
    this.kind = kind;
    this.stream = null;
    this.trace = null;
    this.canvas = el("canvas", { class: "wave-canvas", "aria-hidden": "true" });
    this.label = el("span", { class: "wave-label" });
    this.scale = el("span", { class: "wave-scale" });
    this.reason = el("div", { class: "wave-reason", hidden: true }, el("b", {}), el("span", {}));
    this.cover = el("div", { class: "cover" }, el("span", { class: "cover-text" }, "Not live"));
    const parts = under === null ? [] : [under];
    this.element = el("div", { class: `wave ${kind}` }, ...parts, this.canvas, el("div", { class: "wave-words" }, this.label, this.scale), this.reason, this.cover);
    this.element.waveView = this;
    observer.observe(this.element);
    visibility.observe(this.element);
  }

  // Show this stream from now on; null: there is none.
  use(signal, live, patient) {
    const stream = signal?.stream ?? null;
    put(this.label, signal === null ? "" : `${signal.kind === "ecg" ? "ECG" : signal.kind === "pleth" ? "Pleth" : signal.kind} ${signal.label === "PLETH" ? "" : signal.label}`.trim());
    const ring = stream === null ? null : live.ring(stream, patient).ring;
    if (this.trace !== null && this.trace.ring === ring && this.stream === stream) return;
    this.stream = stream;
    if (ring === null) {
      this.trace = null;
      return;
    }
    this.trace = new SweepTrace(this.canvas, ring, this.kind, (text) => put(this.scale, text));
    const box = this.element.getBoundingClientRect();
    this.trace.resize(Math.floor(box.width), Math.floor(box.height));
  }

  draw(headMs) {
    this.trace?.draw(headMs);
  }

  // Why nothing, or nothing to be trusted, is shown; null when all is well.
  explain(trouble) {
    show(this.reason, trouble !== null);
    this.element.dataset.trouble = trouble?.level ?? "";
    if (trouble === null) return;
    put(this.reason.firstChild, trouble.text);
    put(this.reason.lastChild, trouble.detail ?? "");
  }

  close() {
    observer.unobserve(this.element);
    visibility.unobserve(this.element);
  }
}

// The reason for one wave of a patient, the most telling first. `level`: "none" hides the wave, "dim" dims it.
export function whyNothing(patient, signal, boxMs) {
  if (patient.state === "failed") return trouble("Session restarting", "monitoring of this patient failed and starts again");
  const link = patient.wearables.find((wearable) => wearable.link !== "up") ?? null;
  const newestMs = signal?.newest_us ? signal.newest_us / 1000 : null;
  const fresh = newestMs !== null && boxMs - newestMs < FRESH_MS;
  const reason = signal?.reason ?? null;
  if (link !== null && !fresh) {
    const words = link.reason || (link.link === "lost" ? "searching for the wearable" : `wearable ${link.link}`);
    return trouble(newestMs === null ? "Waiting for the wearable" : "Link lost", sinceText(newestMs), words);
  }
  if (signal === null || newestMs === null || patient.state === "waiting_for_signal") return trouble("Waiting for signal", "");
  const [title, detail] = sentence(signal.reason_text || reasonText(reason));
  if (reason === "lead_off") return trouble(title || "Lead off", sinceText(sinceMs(signal)), detail || "check the strap and its electrodes");
  if (!fresh) return trouble("No signal", sinceText(newestMs), title === "No samples arrive" ? "" : title);
  if (signal.usable) return null;
  return { level: "dim", text: title || "Poor signal", detail: [detail, sinceText(sinceMs(signal))].filter(Boolean).join(" · ") };
}

const FRESH_MS = 3000;
const sinceMs = (signal) => (signal.since_us ? signal.since_us / 1000 : null);
const sinceText = (ms) => (ms === null ? "" : `since ${clockTime(ms)}`);

function trouble(text, ...details) {
  return { level: "none", text, detail: details.filter(Boolean).join(" · ") };
}
