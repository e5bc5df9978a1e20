// The button that pauses the box's sound for two minutes, and the time that is left. It changes nothing that is seen.
import { tell } from "./api.js";
import { el, icon, put, show, timerText } from "./format.js";

// A bell, crossed by a broken line: paused, not off (IEC 60417-5576-2).
const BELL_PAUSED = "M5 8a5 5 0 0 1 10 0c0 3.500 1 5 1.800 5.800H3.200C4 13 5 11.500 5 8M8.500 16.500a1.700 1.700 0 0 0 3 0M3 3l3 3M8.500 8.500l3 3M14 14l3 3M17 3l-3 3M11.500 8.500l-3 3M6 14l-3 3";

export class AudioPause {
  constructor(button) {
    this.button = button;
    this.words = el("span", { class: "pause-word" });
    this.time = el("span");
    this.untilMs = 0;
    button.replaceChildren(icon(BELL_PAUSED), this.words, this.time);
    button.addEventListener("click", () => this.press());
  }

  // `loud`: an alarm waits for somebody, and the box can be heard.
  update(ward) {
    const alarms = [ward.alarms, ...ward.patients.map((patient) => patient.alarms)].flat();
    const loud = !ward.audio.startsWith("muted") && alarms.some((alarm) => alarm.state !== "acknowledged");
    this.untilMs = (ward.audio_paused_until_us ?? 0) / 1000;
    this.button.classList.toggle("on", this.untilMs > 0);
    this.button.title =
      this.untilMs > 0 ? `Sound paused by ${ward.audio_paused_by ?? "someone"}. Press to let it sound again` : "Silence the box for two minutes; a more urgent alarm sounds all the same";
    this.button.setAttribute("aria-label", this.untilMs > 0 ? "Sound paused: let it sound again" : "Pause sound");
    show(this.button, loud || this.untilMs > 0);
  }

  tick(boxMs) {
    const paused = this.untilMs > 0;
    put(this.words, paused ? "Sound paused" : "Pause sound");
    put(this.time, paused ? ` ${timerText(Math.max(0, Math.ceil((this.untilMs - boxMs) / 1000)))}` : "");
  }

  async press() {
    const { button } = this;
    const resume = this.untilMs > 0;
    button.disabled = true;
    try {
      await tell(resume ? "audio/resume" : "audio/pause", {});
    } catch (error) {
      dispatchEvent(new CustomEvent("bedside-failed", { detail: `Sound not ${resume ? "resumed" : "paused"}: ${error.message}` }));
    } finally {
      button.disabled = false;
    }
  }
}
