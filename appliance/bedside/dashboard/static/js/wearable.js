// The link and the battery of a patient's wearables, as small signs with words for screen readers.
import { el, icon, put } from "./format.js";

const BLUETOOTH = "M5.500 6l9 8-4.500 4V2l4.500 4-9 8";
const BLUETOOTH_OFF = "M5.500 6l9 8-4.500 4V2l4.500 4-9 8M2 18L18 2";
const LINK_TEXT = { searching: "searching", connecting: "connecting", up: "connected", lost: "link lost", stopped: "stopped", resting: "resting" };

export class WearableSign {
  constructor() {
    this.glyph = el("span", { class: "sign-glyph" });
    this.word = el("span", { class: "sign-word" });
    this.cell = el("span", { class: "battery", "aria-hidden": "true" }, el("i", {}));
    this.charge = el("span", { class: "battery-text" });
    this.element = el("span", { class: "sign" }, this.glyph, this.word, this.cell, this.charge);
  }

  update(wearable) {
    const up = wearable.link === "up" || wearable.link === "resting"; // a cuff between two measurements is well
    if (this.element.dataset.link !== wearable.link) {
      this.element.dataset.link = wearable.link;
      this.glyph.replaceChildren(icon(up ? BLUETOOTH : BLUETOOTH_OFF));
    }
    const words = LINK_TEXT[wearable.link] ?? wearable.link;
    put(this.word, up ? "" : words);
    const battery = wearable.battery_pct;
    this.element.title = `${wearable.name}: ${words}${wearable.reason ? ` (${wearable.reason})` : ""}${battery === null ? "" : `, battery ${Math.round(battery)} %`}`;
    this.cell.hidden = battery === null;
    put(this.charge, battery === null ? "" : `${Math.round(battery)} %`);
    if (battery === null) return;
    const level = battery < 10 ? "empty" : battery < 25 ? "low" : "good";
    this.cell.dataset.level = level;
    this.cell.dataset.tenth = String(Math.max(1, Math.round(battery / 10)));
  }
}

export function updateSigns(place, signs, wearables) {
  for (const wearable of wearables) {
    let sign = signs.get(wearable.id);
    if (sign === undefined) {
      sign = new WearableSign();
      signs.set(wearable.id, sign);
      place.append(sign.element);
    }
    sign.update(wearable);
  }
  const known = new Set(wearables.map((wearable) => wearable.id));
  for (const [id, sign] of signs) {
    if (known.has(id)) continue;
    sign.element.remove();
    signs.delete(id);
  }
}
