// The browser sounds as a delegate of the box: the same bursts, made here, while the page hears the box.
// It takes nothing from the box: that sounds whatever the browsers do. Blocked or asleep, it says so.
import { el, icon, put, show } from "./format.js";

const RANK = { high: 0, medium: 1, low: 2 };
const BELL = "M5 8a5 5 0 0 1 10 0c0 3.500 1 5 1.800 5.800H3.200C4 13 5 11.500 5 8M8.500 16.500a1.700 1.700 0 0 0 3 0";
const KEPT = "bedside-sound";
// As the box plays them (signals.toml): pulses, seconds of pulse and gap, longer gaps, seconds from burst to burst.
const SIGNALS = {
  high: { pulses: 10, pulse: 0.15, gap: 0.1, long: { 3: 0.35, 5: 0.5, 8: 0.35 }, every: 8, hz: [523.25] },
  medium: { pulses: 3, pulse: 0.2, gap: 0.2, long: {}, every: 15, hz: [523.25] },
  low: { pulses: 2, pulse: 0.2, gap: 0.2, long: {}, every: 30, hz: [523.25, 392] },
};
const HARMONICS_DB = [0, -3, -5, -7, -9, -11];

export class BrowserSound {
  constructor(button) {
    this.button = button;
    this.words = el("span", {});
    this.context = null;
    this.wanted = null;
    this.nextAt = 0;
    this.paused = false;
    this.on = false;
    try {
      this.on = localStorage.getItem(KEPT) === "on";
    } catch {
      this.on = false;
    }
    button.replaceChildren(icon(BELL), this.words);
    button.addEventListener("click", () => this.press());
    const elsewhere = (event) => button.contains(event.target) || this.wake(); // the button itself decides when pressed
    document.addEventListener("pointerdown", elsewhere, { passive: true });
    document.addEventListener("keydown", elsewhere);
    setInterval(() => this.tick(), 250);
    if (this.on) this.open();
    this.tell();
  }

  press() {
    if (this.on && this.blocked) {
      this.wake();
      return;
    }
    this.on = !this.on;
    try {
      localStorage.setItem(KEPT, this.on ? "on" : "off");
    } catch {
      // not kept: it holds for this page
    }
    if (this.on) {
      this.open();
      this.wake();
      this.play("low"); // to hear that it can
    }
    this.tell();
  }

  open() {
    if (this.context === null) {
      this.context = new AudioContext();
      this.context.addEventListener("statechange", () => this.tell());
    }
  }

  wake() {
    if (this.on && this.context?.state === "suspended") this.context.resume().then(() => this.tell(), () => this.tell());
  }

  get blocked() {
    return this.context === null || this.context.state !== "running";
  }

  // The most urgent alarm that nobody has acknowledged, unless the ward's sound is paused. `live`: does the page hear the box?
  update(ward) {
    const alarms = [ward.alarms, ...ward.patients.map((patient) => patient.alarms)].flat().filter((alarm) => alarm.state !== "acknowledged");
    alarms.sort((a, b) => (RANK[a.priority] ?? 0) - (RANK[b.priority] ?? 0));
    this.paused = ward.audio_paused_until_us !== undefined;
    const wanted = this.paused ? null : (alarms[0]?.priority ?? null);
    if (wanted !== this.wanted && wanted !== null && (this.wanted === null || RANK[wanted] < RANK[this.wanted])) this.nextAt = 0;
    this.wanted = wanted;
  }

  // The page no longer hears the box: that sounds too, for nobody knows how the patients are.
  lost(trouble) {
    if (trouble) this.wanted = "high";
  }

  tick() {
    this.tell();
    if (!this.on || this.wanted === null || this.blocked) return;
    const now = performance.now() / 1000;
    if (now < this.nextAt) return;
    this.nextAt = now + SIGNALS[this.wanted].every;
    this.play(this.wanted);
  }

  play(priority) {
    if (this.blocked) return;
    const signal = SIGNALS[priority] ?? SIGNALS.high;
    let at = this.context.currentTime + 0.02;
    for (let n = 1; n <= signal.pulses; n += 1) {
      this.pulse(at, signal.pulse, signal.hz[(n - 1) % signal.hz.length]);
      at += signal.pulse + (signal.long[n] ?? signal.gap);
    }
    this.played = { priority, at: performance.now() };
    document.documentElement.dataset.sounded = `${priority} ${Math.round(performance.now())}`;
  }

  pulse(at, length, hz) {
    const gain = this.context.createGain();
    const rise = 0.15 * length;
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(0.16, at + rise);
    gain.gain.setValueAtTime(0.16, at + length - rise);
    gain.gain.linearRampToValueAtTime(0, at + length);
    gain.connect(this.context.destination);
    HARMONICS_DB.forEach((db, place) => {
      const tone = this.context.createOscillator();
      const level = this.context.createGain();
      tone.frequency.value = hz * (place + 1);
      level.gain.value = 10 ** (db / 20);
      tone.connect(level).connect(gain);
      tone.start(at);
      tone.stop(at + length);
    });
  }

  tell() {
    const state = !this.on ? "off" : this.blocked ? "blocked" : "on";
    const text = { off: "Sound here: off", blocked: "Sound blocked: press", on: "Sound here" }[state];
    this.button.dataset.state = state;
    this.button.setAttribute("aria-label", text);
    this.button.setAttribute("aria-pressed", String(state === "on"));
    this.button.title = { off: "Let this browser sound alarms too. The box sounds in any case", blocked: "The browser lets no page sound before it is touched: press once. Until then this screen is silent", on: "This browser sounds alarms. Press to silence it; the box goes on" }[state];
    put(this.words, text);
    show(this.button, true);
  }
}
