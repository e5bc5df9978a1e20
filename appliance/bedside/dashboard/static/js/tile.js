// One patient on the ward page.
import { alarmBlock } from "./alarm-block.js";
import { el, put, RHYTHM_TEXT, reasonText, sentence, show } from "./format.js";
import { numeric, NumberView, PressureView } from "./numbers.js";
import { updateSigns } from "./wearable.js";
import { WaveView, whyNothing } from "./waves.js";

const HR = "MDC_ECG_HEART_RATE";
const SPO2 = "MDC_PULS_OXIM_SAT_O2";
const PULSE = "MDC_PULS_OXIM_PULS_RATE";
const RANK = { high: 30, medium: 20, low: 10 };

export function urgency(patient) {
  let most = 0;
  for (const alarm of patient.alarms) {
    const weight = (RANK[alarm.priority] ?? 0) + (alarm.state === "acknowledged" ? 0 : 5) + (alarm.alarm_class === "physiological" ? 1 : 0);
    most = Math.max(most, weight);
  }
  return most;
}

export class Tile {
  constructor(id) {
    this.id = id;
    this.bed = el("span", { class: "bed" });
    this.name = el("span", { class: "name" });
    this.simulated = el("span", { class: "simulated", hidden: true }, "Simulated");
    this.off = el("span", { class: "off-mark", hidden: true });
    this.signs = el("span", { class: "signs" });
    this.signOf = new Map();
    this.physiological = alarmBlock();
    this.technical = alarmBlock();
    this.calm = el("span", { class: "calm" });
    this.alarms = el("div", { class: "tile-alarms" }, this.physiological.element, this.technical.element, this.calm);
    this.ecg = new WaveView("ecg");
    this.pleth = new WaveView("pleth");
    this.hr = new NumberView(HR, "HR", "big");
    this.spo2 = new NumberView(SPO2, "SpO2");
    this.pulse = new NumberView(PULSE, "PR", "small");
    this.pressure = new PressureView("small");
    this.rhythm = el("span", { class: "rhythm" });
    this.quality = el("span", { class: "quality" }, el("i", { "aria-hidden": "true" }), el("span", {}));
    this.delay = el("span", { class: "delay" });
    this.link = el("a", { class: "tile-link", href: `/patient/${encodeURIComponent(id)}` }, this.bed, " ", this.name);
    this.element = el(
      "article",
      { class: "tile", "data-patient": id },
      el("header", { class: "tile-head" }, this.link, this.simulated, this.off, this.signs),
      this.alarms,
      el(
        "div",
        { class: "tile-body" },
        el("div", { class: "waves" }, this.ecg.element, this.pleth.element),
        el("div", { class: "numbers" }, this.hr.element, this.spo2.element, this.pulse.element, this.pressure.element),
      ),
      el("footer", { class: "tile-foot" }, this.rhythm, this.quality, this.delay),
    );
  }

  get waves() {
    return [this.ecg, this.pleth];
  }

  update(patient, live) {
    const boxMs = live.newestBoxMs;
    put(this.bed, patient.bed);
    put(this.name, patient.name);
    show(this.simulated, patient.simulated);
    updateSigns(this.signs, this.signOf, patient.wearables);
    const off = Object.keys(patient.alarms_off ?? {});
    put(this.off, patient.standby ? "Standby" : off.length > 0 ? `${off.length} alarm${off.length > 1 ? "s" : ""} off` : "");
    this.off.title = patient.standby ? `${patient.standby.by}: ${patient.standby.reason}` : off.map((kind) => kind.replaceAll("_", " ")).join(", ");
    show(this.off, patient.standby !== undefined || off.length > 0);
    this.updateAlarms(patient, boxMs);
    this.updateWaves(patient, live, boxMs);
    this.hr.update(numeric(patient, HR));
    this.spo2.update(numeric(patient, SPO2));
    this.pulse.update(numeric(patient, PULSE));
    this.pressure.update(patient);
    this.updateFoot(patient, live);
  }

  updateAlarms(patient, boxMs) {
    let top = "none";
    for (const [block, alarmClass] of [[this.physiological, "physiological"], [this.technical, "technical"]]) {
      const mine = patient.alarms.filter((alarm) => alarm.alarm_class === alarmClass);
      show(block.element, mine.length > 0);
      if (mine.length === 0) continue;
      block.update(mine[0], mine.length - 1, boxMs);
    }
    this.alarms.dataset.both = String(!this.physiological.element.hidden && !this.technical.element.hidden);
    const first = patient.alarms.find((alarm) => alarm.state !== "acknowledged") ?? patient.alarms[0];
    if (first !== undefined) top = first.priority;
    this.element.dataset.priority = top;
    this.element.dataset.state = first?.state ?? "none";
    this.element.dataset.alarmClass = first?.alarm_class ?? "none";
    show(this.calm, patient.alarms.length === 0);
    put(this.calm, patient.state === "monitored" ? "No alarms" : patient.state === "failed" ? "Not monitored" : patient.state === "standby" ? "Standby: lesser alarms are held back" : "Not monitored yet");
  }

  updateWaves(patient, live, boxMs) {
    const ecg = patient.signals.find((signal) => signal.kind === "ecg") ?? null;
    const pleth = patient.signals.find((signal) => signal.kind === "pleth") ?? null;
    this.ecg.use(ecg, live, patient.id);
    this.ecg.explain(whyNothing(patient, ecg, boxMs));
    show(this.pleth.element, pleth !== null);
    this.pleth.use(pleth, live, patient.id);
    if (pleth !== null) this.pleth.explain(whyNothing(patient, pleth, boxMs));
  }

  updateFoot(patient, live) {
    put(this.rhythm, patient.rhythm === null ? "" : (RHYTHM_TEXT[patient.rhythm] ?? patient.rhythm));
    const ecg = patient.signals.find((signal) => signal.kind === "ecg");
    const state = ecg === undefined ? "none" : ecg.usable ? "good" : "poor";
    this.quality.dataset.state = state;
    const words = { none: "", good: "Signal good", poor: sentence(ecg?.reason_text || reasonText(ecg?.reason) || "Poor signal")[0] };
    put(this.quality.lastChild, words[state]);
    put(this.delay, live.rings.size > 0 ? `drawn ${(live.playout(patient.id).delayMs / 1000).toFixed(2)} s behind` : "");
  }

  draw(live, now) {
    const head = live.headMs(this.id, now);
    this.ecg.draw(head);
    if (this.pleth.stream !== null) this.pleth.draw(head);
  }

  close() {
    this.element.remove();
    for (const wave of this.waves) wave.close();
  }
}
