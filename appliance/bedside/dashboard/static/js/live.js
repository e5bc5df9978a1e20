// What a page knows of the ward now: rings of waves, the newest ward, and whether any of it is live.
// Holds a bounded amount: one ring a stream, rings of streams that went away are dropped.
import { BoxClock, Playout } from "./clock.js";
import { follow } from "./stream.js";
import { WaveRing } from "./trace.js";

export const SILENT_MS = 3000; // waves are covered
export const STALE_MS = 10000; // numbers become ---
const RING_KEPT_MS = 120000;

export class Live {
  constructor() {
    this.clock = new BoxClock();
    this.rings = new Map(); // stream -> {ring, patient, usedAt}
    this.playouts = new Map(); // patient -> Playout
    this.ward = null;
    this.down = null; // {sinceMs, text}: what the dashboard says of the gateway while it is silent
    this.signedOut = false;
    this.full = false;
    this.heardAt = null; // local time of the newest batch
    this.newestBoxMs = 0;
    this.onWard = () => {};
  }

  start() {
    follow((message) => this.hear(message));
    setInterval(() => this.forget(), 30000);
  }

  hear(message) {
    if (message.type === "batch") this.batch(message);
    else if (message.type === "state") this.down = message.answering ? null : { sinceMs: message.sinceMs, text: message.text };
    else if (message.type === "signed-out") this.signedOut = true;
    else if (message.type === "full") this.full = true;
  }

  batch(message) {
    const now = performance.now();
    this.heardAt = now;
    this.newestBoxMs = message.timeMs;
    this.down = null;
    this.signedOut = false;
    this.full = false;
    this.clock.observe(message.timeMs, now);
    if (message.ward !== null) this.takeWard(message.ward);
    const boxNow = this.clock.now(now);
    const onTime = boxNow - message.timeMs < 400;
    for (const wave of message.waves) {
      const kept = this.ring(wave.stream, wave.patient);
      kept.usedAt = now;
      const follows = wave.firstIndex === kept.ring.nextIndex;
      kept.ring.add(wave);
      if (onTime && follows) this.playout(wave.patient).observe(message.timeMs, wave.startMs);
    }
  }

  takeWard(ward) {
    if (this.ward !== null && this.ward.started_us !== ward.started_us) {
      this.rings.clear(); // another run of the gateway: its streams begin anew
    }
    this.ward = ward;
    this.onWard(ward);
  }

  ring(stream, patient) {
    let kept = this.rings.get(stream);
    if (kept === undefined) {
      kept = { ring: new WaveRing(), patient, usedAt: performance.now() };
      this.rings.set(stream, kept);
    }
    return kept;
  }

  playout(patient) {
    let playout = this.playouts.get(patient);
    if (playout === undefined) {
      playout = new Playout();
      this.playouts.set(patient, playout);
    }
    return playout;
  }

  forget() {
    const now = performance.now();
    for (const [stream, kept] of this.rings) if (now - kept.usedAt > RING_KEPT_MS) this.rings.delete(stream);
    const known = new Set((this.ward?.patients ?? []).map((patient) => patient.id));
    for (const patient of this.playouts.keys()) if (!known.has(patient)) this.playouts.delete(patient);
  }

  silentMs(now = performance.now()) {
    return this.heardAt === null ? Infinity : now - this.heardAt;
  }

  // null while live; else since when not, and why.
  trouble(now = performance.now()) {
    const silent = this.silentMs(now);
    if (this.signedOut) return { sinceMs: this.newestBoxMs, text: "Signed out. Open a new link: `bedside sign-in` prints one." };
    if (this.heardAt === null && this.down === null && !this.full) return null; // the first answer is on its way
    if (silent < SILENT_MS && this.down === null) return null;
    if (this.full) return { sinceMs: this.newestBoxMs, text: "Too many screens watch already. This one tries again." };
    if (this.down !== null) return { sinceMs: this.newestBoxMs || this.down.sinceMs, text: this.down.text };
    return { sinceMs: this.newestBoxMs, text: "The dashboard does not answer" };
  }

  // Where the pen of a patient's waves stands. It halts soon after the data do: what was seen last stays.
  headMs(patient, now) {
    const head = this.clock.now(now) - this.playout(patient).delayMs;
    return Math.min(head, this.newestBoxMs + 500);
  }
}
