// A stored strip: paper, line, beat classes, time marks. Drawn once; the box around it scrolls.
import { drawGrid, drawMillivolt, fitCanvas } from "./grid.js";
import { BEAT_TEXT, clockTime, el } from "./format.js";
import { PX_PER_MM, SWEEP_MM_PER_S } from "./trace.js";

export const PX_PER_S = PX_PER_MM * SWEEP_MM_PER_S;
const GAIN = 10;
const BEATS_PX = 26;
const TIMES_PX = 20;
const MISSING = -32768;

export function decode(segment) {
  const text = atob(segment.data);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  const view = new DataView(bytes.buffer);
  const values = new Float32Array(bytes.length >> 1);
  for (let i = 0; i < values.length; i += 1) {
    const count = view.getInt16(2 * i, true);
    values[i] = count === MISSING ? NaN : count * segment.unit_per_count;
  }
  return values;
}

export function middle(parts) {
  const all = parts.flatMap((part) => [...part.values]).filter((value) => !Number.isNaN(value));
  if (all.length === 0) return [0, 0, 0];
  all.sort((a, b) => a - b);
  return [all[Math.floor(all.length / 2)], all[0], all[all.length - 1]];
}

export function line(context, parts, startMs, y) {
  context.beginPath();
  let down = false;
  let endMs = -Infinity;
  for (const part of parts) {
    // Blocks that follow each other are one line; time that was not received stays empty.
    if (part.startMs - endMs > 1500 / part.rateHz) down = false;
    endMs = part.startMs + ((part.values.length - 1) * 1000) / part.rateHz;
    for (let i = 0; i < part.values.length; i += 1) {
      const value = part.values[i];
      if (Number.isNaN(value)) {
        down = false;
        continue;
      }
      const x = ((part.startMs + (i * 1000) / part.rateHz - startMs) / 1000) * PX_PER_S;
      if (down) context.lineTo(x, y(value));
      else context.moveTo(x, y(value));
      down = true;
    }
  }
  context.stroke();
}

// `strip` as the API gives it; `onsetMs`: where the event began. Gives an element.
export function stripView(strip, startMs, endMs, onsetMs) {
  const style = getComputedStyle(document.documentElement);
  const parts = strip.segments.map((segment) => ({ values: decode(segment), startMs: segment.start_us / 1000, rateHz: segment.rate_hz }));
  const [zero, low, high] = middle(parts);
  const above = Math.min(Math.max((high - zero) * GAIN + 5, 20), 60);
  const below = Math.min(Math.max((zero - low) * GAIN + 5, 12), 50);
  const paper = Math.ceil((above + below) / 5) * 5 * PX_PER_MM;
  const baseline = Math.ceil(above / 5) * 5 * PX_PER_MM;
  const width = Math.ceil(((endMs - startMs) / 1000) * PX_PER_S);
  const height = paper + BEATS_PX + TIMES_PX;
  const canvas = el("canvas", { class: "strip-canvas", role: "img", "aria-label": `${strip.label}, ${Math.round((endMs - startMs) / 1000)} s from ${clockTime(startMs)}; ${strip.beats.length} beats` });
  canvas.style.setProperty("width", `${width}px`);
  canvas.style.setProperty("height", `${height}px`);
  const context = fitCanvas(canvas, width, height);
  drawGrid(context, width, paper, style, baseline);
  const inside = onsetMs >= startMs && onsetMs <= endMs;
  if (inside) onsetMark(context, ((onsetMs - startMs) / 1000) * PX_PER_S, paper, style);
  context.save();
  context.beginPath();
  context.rect(0, 0, width, paper);
  context.clip();
  context.strokeStyle = style.getPropertyValue("--strip-line");
  context.lineWidth = 1.4;
  context.lineJoin = "round";
  line(context, parts, startMs, (value) => baseline - (value - zero) * GAIN * PX_PER_MM);
  context.restore();
  drawMillivolt(context, GAIN, baseline, style.getPropertyValue("--muted"));
  beatMarks(context, strip.beats, startMs, paper, style);
  timeMarks(context, startMs, endMs, height, style);
  return el("div", { class: "strip-scroll", tabindex: "0", role: "region", "aria-label": "Stored strip, scrolls sideways" }, canvas);
}

function onsetMark(context, x, paper, style) {
  context.fillStyle = style.getPropertyValue("--onset");
  context.fillRect(x - 0.75, 0, 1.5, paper);
  context.font = "600 11px Inter, sans-serif";
  context.fillText("onset", x + 5, 12);
}

function beatMarks(context, beats, startMs, paper, style) {
  context.textAlign = "center";
  for (const beat of beats) {
    const x = ((beat.time_us / 1000 - startMs) / 1000) * PX_PER_S;
    beatMark(context, beat.beat_class, x, paper + 17, style);
  }
  context.textAlign = "left";
}

// A beat's class: quiet for N, boxed for all others, so that it is seen without colour.
export function beatMark(context, letter, x, y, style) {
  context.textAlign = "center";
  if (letter === "N" || !(letter in BEAT_TEXT)) {
    context.font = "500 12px Inter, sans-serif";
    context.fillStyle = style.getPropertyValue("--muted");
    context.fillText(letter, x, y);
    return;
  }
  context.fillStyle = style.getPropertyValue(`--beat-${letter.toLowerCase()}`);
  context.beginPath();
  context.roundRect(x - 9, y - 13, 18, 18, 4);
  context.fill();
  context.font = "700 12px Inter, sans-serif";
  context.fillStyle = style.getPropertyValue("--beat-ink");
  context.fillText(letter, x, y);
}

function timeMarks(context, startMs, endMs, height, style) {
  context.font = "500 11px Inter, sans-serif";
  context.fillStyle = style.getPropertyValue("--muted");
  for (let ms = Math.ceil(startMs / 1000) * 1000; ms < endMs; ms += 1000) {
    const x = ((ms - startMs) / 1000) * PX_PER_S;
    const whole = Math.round(ms / 1000) % 5 === 0;
    context.fillRect(x, height - TIMES_PX, 1, whole ? 6 : 3);
    if (whole) context.fillText(clockTime(ms), x + 3, height - 5);
  }
}
