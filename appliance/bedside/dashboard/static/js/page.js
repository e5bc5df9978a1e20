// What all pages share: top bar, liveness, announcements, day and night.
import { clockTime, dayText, el, icon, PRIORITY_RANK, PRIORITY_STARS, put, show } from "./format.js";
import { alarmBlock } from "./alarm-block.js";
import { ask, tell } from "./api.js";
import { AudioPause } from "./audio-pause.js";
import { BrowserSound } from "./sound.js";

const byId = (id) => document.getElementById(id);
const BELL_OFF = "M4 4l12 12M8 3.6A5 5 0 0 1 15 8c0 3 .8 4.600 1.500 5.400M5.200 7A5 5 0 0 0 5 8c0 3.500-1 5-1.800 5.800h9.600M8.500 16.500a1.700 1.700 0 0 0 3 0";
const BELL = "M5 8a5 5 0 0 1 10 0c0 3.500 1 5 1.800 5.800H3.200C4 13 5 11.500 5 8M8.500 16.500a1.700 1.700 0 0 0 3 0";
const STATE_TEXT = { ok: "working", starting: "starting", degraded: "degraded", failed: "failed" };
const SESSION_EVERY_MS = 10 * 60 * 1000;

export class Frame {
  constructor(live, title) {
    this.live = live;
    this.title = title;
    this.known = new Map(); // alarm -> priority: what was announced
    this.first = true;
    this.boxAlarms = new Map();
    this.awaySinceMs = 0;
    this.pause = new AudioPause(byId("pause"));
    this.sound = new BrowserSound(byId("sound"));
    this.wireMenu();
    addEventListener("bedside-failed", (event) => this.fail(event.detail));
    setInterval(() => this.tick(), 250);
    setInterval(() => ask("session").catch(() => null), SESSION_EVERY_MS); // a wall display stays signed in
  }

  wireMenu() {
    byId("theme-toggle").addEventListener("click", () => {
      const root = document.documentElement;
      root.dataset.theme = root.dataset.theme === "night" ? "day" : "night";
      try {
        localStorage.setItem("bedside-theme", root.dataset.theme);
      } catch {
        // not kept: the page shows it all the same
      }
      dispatchEvent(new Event("bedside-restyle"));
    });
    byId("lock")?.addEventListener("click", async () => {
      await tell("lock", {}).catch((error) => this.fail(error.message));
      location.assign("/");
    });
    document.addEventListener("click", (event) => {
      if (!byId("menu").contains(event.target)) byId("menu").open = false;
    });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !byId("menu").open) return;
      byId("menu").open = false;
      byId("menu").querySelector("summary").focus();
    });
  }

  // Something that was asked for did not happen, or was missed: in words, for as long as it takes to read.
  fail(text) {
    const toast = el("div", { class: "toast", role: "alert" }, text);
    document.body.append(toast);
    setTimeout(() => toast.remove(), 8000);
  }

  update(ward) {
    this.showParts(ward.parts);
    this.showAudio(ward.audio);
    this.pause.update(ward);
    this.sound.update(ward);
    this.showBoxAlarms(ward.alarms);
    put(byId("version"), `Bedside ${ward.version} · records in ${ward.stored_in}`);
    this.announce(ward);
  }

  showParts(parts) {
    const list = byId("parts");
    const signature = parts.map((part) => `${part.name} ${part.state} ${part.detail}`).join("|");
    if (list.dataset.signature === signature) return;
    list.dataset.signature = signature;
    const sick = parts.filter((part) => part.state !== "ok");
    const items = sick.map((part) =>
      el("li", { class: `part ${part.state}`, title: part.detail || STATE_TEXT[part.state] }, el("b", {}, part.name), ` ${STATE_TEXT[part.state] ?? part.state}`),
    );
    const well = parts.length - sick.length;
    const names = parts.filter((part) => part.state === "ok").map((part) => part.name).join(", ");
    if (well > 0) {
      const text = sick.length === 0 ? "All parts working" : `${well} of ${parts.length} working`;
      items.push(el("li", { class: "part ok", title: names }, text));
    }
    list.replaceChildren(...items);
  }

  showAudio(audio) {
    const chip = byId("audio");
    if (chip.dataset.audio === audio) return;
    chip.dataset.audio = audio;
    const on = audio === "on";
    const text = on ? "Sound on" : audio.startsWith("muted") ? `Sound ${audio}` : audio;
    chip.className = on ? "audio on" : "audio off";
    chip.replaceChildren(icon(on ? BELL : BELL_OFF), el("span", {}, text));
    const silent = audio.startsWith("muted");
    chip.title = on ? "The box itself sounds alarms" : silent ? `Alarms are silent: ${audio}` : `Alarms may not be heard: ${audio}`;
    show(chip, true);
  }

  showBoxAlarms(alarms) {
    const place = byId("box-alarms");
    const seen = new Set();
    for (const alarm of alarms.slice(0, 3)) {
      seen.add(alarm.alarm);
      let block = this.boxAlarms.get(alarm.alarm);
      if (block === undefined) {
        block = alarmBlock({ acknowledge: true });
        this.boxAlarms.set(alarm.alarm, block);
      }
      block.update(alarm, 0, this.live.newestBoxMs);
      place.append(block.element);
    }
    for (const [id, block] of this.boxAlarms) {
      if (seen.has(id)) continue;
      block.element.remove();
      this.boxAlarms.delete(id);
    }
  }

  // A screen reader hears of each new alarm once: High at once, the others when it is free.
  announce(ward) {
    const open = new Map();
    let stars = 0;
    let count = 0;
    for (const [place, alarms] of [["The box", ward.alarms], ...ward.patients.map((patient) => [patient.bed, patient.alarms])]) {
      for (const alarm of alarms) {
        const key = `${alarm.alarm} ${alarm.priority}`;
        open.set(key, true);
        if (alarm.state !== "acknowledged") {
          count += 1;
          stars = Math.max(stars, PRIORITY_RANK[alarm.priority] ?? 0);
        }
        if (this.known.has(key) || alarm.state === "acknowledged") continue;
        const text = `${alarm.priority} priority alarm, ${place}: ${alarm.text}`;
        if (alarm.priority === "high") put(byId("say-now"), text);
        else if (!this.first) put(byId("say-soon"), text);
      }
    }
    this.first = false;
    this.known = open;
    const mark = ["", PRIORITY_STARS.low, PRIORITY_STARS.medium, PRIORITY_STARS.high][stars];
    const title = count === 0 ? this.title : `${mark} (${count}) ${this.title}`;
    if (document.title !== title) document.title = title;
  }

  tick() {
    const now = performance.now();
    const { live } = this;
    if (live.newestBoxMs > 0) {
      const boxMs = live.clock.now(now);
      put(byId("clock-time"), clockTime(boxMs));
      put(byId("clock-date"), dayText(boxMs));
      this.pause.tick(boxMs);
    }
    const trouble = live.trouble(now);
    const notice = byId("notice");
    this.sound.lost(trouble !== null && live.silentMs(now) > 5000 && !live.signedOut);
    document.body.classList.toggle("not-live", trouble !== null);
    document.body.classList.toggle("stale", trouble !== null && live.silentMs(now) > 10000);
    if (trouble !== null) {
      const since = trouble.sinceMs > 0 ? `Not live since ${clockTime(trouble.sinceMs)}` : "Not live";
      put(notice, `${since}. ${trouble.text}. Watch the patients themselves.`.replace("..", "."));
      for (const cover of document.querySelectorAll(".cover-text")) put(cover, since);
    }
    show(notice, trouble !== null);
    // Who looked away must know that there was something not to be seen.
    if (trouble === null && this.awaySinceMs > 0 && live.newestBoxMs > 0) {
      this.fail(`Live again. Nothing was shown here from ${clockTime(this.awaySinceMs)} to ${clockTime(live.newestBoxMs)}.`);
    }
    this.awaySinceMs = trouble === null ? 0 : trouble.sinceMs || this.awaySinceMs;
  }
}
