// The list of what happened to a patient, newest first: each alarm once, each episode once.
import { clockTime, dayText, PRIORITY_STARS, reasonText, RHYTHM_TEXT, timerText } from "./format.js";

export const LISTED = ["alarm", "rhythm", "quality", "link", "gap", "suppression", "finding"];
const KEPT = 400;
const LINK_TEXT = { searching: "Searching for the wearable", connecting: "Connecting", up: "Link up", lost: "Link lost", stopped: "Link stopped", resting: "Waits for the next measurement" };
const PASSING = new Set(["searching", "connecting", "resting"]); // steps on the way to a link: the sign in the head shows them
const WORKING = new Set(["qrs_shape", "beat_retracted", "wearable_beats", "wearable_clock"]); // for the box's own reckoning, not for people
const FINDING_TEXT = {
  analysis_restarted: "Analysis began anew",
  back_fill: "Fetched from the wearable's memory",
  battery_night: "Battery will not last the night",
  couplet: "Couplet of ventricular beats",
  hrv: "Heart rate variability",
  lead_switched: "Another lead is analysed",
  model_failed: "Beat model failed: rules go on",
  pacing_not_judged: "Pacing cannot be judged",
  rhythm_disagreement: "Rules and model disagree on the rhythm",
  rhythm_model_failed: "Rhythm model failed: rules go on",
  rhythm_opinion: "Rhythm model",
  samples_dropped: "Samples dropped: too many at once",
  stream_refused: "Stream not taken",
};
const CAUSES = { link_lost: "link lost", packets_lost: "packets lost", malformed_packet: "packet not readable", clock_reset: "wearable's clock set back", restart: "restart" };

export class EventList {
  constructor() {
    this.byId = new Map(); // event id -> event
  }

  // Takes newer events; true when the list changed.
  add(events) {
    let changed = false;
    for (const event of events) {
      if (this.byId.has(event.id)) continue;
      this.byId.set(event.id, event);
      changed = true;
    }
    if (this.byId.size > KEPT) {
      const kept = [...this.byId.values()].sort((a, b) => b.start_us - a.start_us).slice(0, KEPT);
      this.byId = new Map(kept.map((event) => [event.id, event]));
    }
    return changed;
  }

  // One row for each thing that happened: {key, kind, timeMs, title, note, priority, stream, onsetMs, alarm}.
  rows() {
    const superseded = new Set([...this.byId.values()].map((event) => event.supersedes).filter(Boolean));
    const alarms = new Map();
    const rows = [];
    for (const event of this.byId.values()) {
      if (event.type === "alarm") alarms.set(event.alarm, newer(alarms.get(event.alarm), event));
      else if (!superseded.has(event.id) && !passing(event)) rows.push(row(event));
    }
    for (const alarm of alarms.values()) rows.push(alarmRow(alarm));
    return rows.sort((a, b) => b.timeMs - a.timeMs || (a.key < b.key ? 1 : -1));
  }
}

function passing(event) {
  return (event.type === "link" && PASSING.has(event.state)) || (event.type === "finding" && WORKING.has(event.kind));
}

function findingTitle(event) {
  const says = event.evidence?.says;
  const words = FINDING_TEXT[event.kind] ?? capital(event.kind.replaceAll("_", " "));
  return event.kind === "rhythm_opinion" && says ? `${words}: ${says}` : words;
}

function capital(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function newer(one, other) {
  if (one === undefined || other.changed_us > one.changed_us) return other;
  return other.changed_us === one.changed_us && other.id > one.id ? other : one;
}

function lasted(startUs, endUs) {
  return endUs === null ? "" : `lasted ${timerText((endUs - startUs) / 1e6)}`;
}

function alarmRow(alarm) {
  const state = {
    active: "open",
    acknowledged: `acknowledged by ${alarm.by ?? "someone"}`,
    latched: "ended, not acknowledged",
    ended: alarm.by ? `ended, acknowledged by ${alarm.by}` : "ended",
  }[alarm.state];
  return {
    key: `alarm ${alarm.alarm}`,
    kind: "alarm",
    timeMs: alarm.raised_us / 1000,
    title: `${PRIORITY_STARS[alarm.priority]} ${alarm.text}`,
    note: [state, lasted(alarm.start_us, alarm.end_us)].filter(Boolean).join(" · "),
    priority: alarm.priority,
    alarmClass: alarm.alarm_class,
    open: alarm.state !== "ended",
    stream: alarm.stream,
    onsetMs: alarm.start_us / 1000,
    evidence: alarm.evidence,
    hasStrip: true,
  };
}

function leadText({ direction, size, mains_hz: mainsHz }) {
  const points = direction === "mixed" ? "Lead: QRS points both ways" : `Lead: QRS points ${direction}`;
  return [points, size === "usual" ? "" : `${size}`, mainsHz ? `mains ${mainsHz} Hz` : ""].filter(Boolean).join(", ");
}

function row(event) {
  const base = { key: event.id, kind: event.type, timeMs: event.start_us / 1000, stream: event.stream, onsetMs: event.start_us / 1000, evidence: event.evidence ?? {}, hasStrip: true, open: false };
  const note = event.end_us === null ? "goes on" : lasted(event.start_us, event.end_us);
  if (event.type === "rhythm") return { ...base, title: RHYTHM_TEXT[event.label] ?? event.label, note };
  if (event.type === "quality") {
    const words = event.usable ? "Signal good again" : `Signal not usable: ${reasonText(event.reason) || "poor"}`;
    return { ...base, title: words, note: `score ${event.score.toFixed(2)}` };
  }
  if (event.type === "link") return { ...base, title: LINK_TEXT[event.state] ?? event.state, note: event.reason, hasStrip: false };
  if (event.type === "gap") return { ...base, title: `${event.n_samples} samples missing`, note: CAUSES[event.cause] ?? event.cause };
  if (event.type === "suppression") return { ...base, title: `Not raised: ${event.kind.replaceAll("_", " ")}`, note: event.reason.replaceAll("_", " ") };
  if (event.kind === "lead_character") return { ...base, title: leadText(base.evidence), note: `QRS ${base.evidence.qrs_mv} mV` };
  return { ...base, title: findingTitle(event), note: event.end_us === null ? "" : note };
}

export function timeText(ms, nowMs) {
  const today = new Date(ms).toDateString() === new Date(nowMs).toDateString();
  return today ? clockTime(ms) : `${dayText(ms)} ${clockTime(ms)}`;
}
