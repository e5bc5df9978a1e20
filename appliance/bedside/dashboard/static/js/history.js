// One patient's past: trends over hours to weeks with what happened on them, and below the roll at the chosen moment.
import { ask } from "./api.js";
import { EventList } from "./events.js";
import { clockTime, dayText, el, put, show, unitText } from "./format.js";
import { Roll } from "./roll.js";
import { openSheet } from "./sheet.js";

const main = document.getElementById("main");
const id = main.dataset.patient;
const TRENDS = ["MDC_ECG_HEART_RATE", "MDC_PULS_OXIM_SAT_O2", "MDC_RESP_RATE", "MDC_PRESS_BLD_NONINV_SYS", "MDC_TEMP_BODY", "MDC_CONC_GLU_GEN"];
const COLOUR = { MDC_ECG_HEART_RATE: "--ecg", MDC_PULS_OXIM_SAT_O2: "--spo2", MDC_RESP_RATE: "--resp" };
const POINTS = 240;
const AGAIN_MS = 15000;
const place = document.getElementById("trends");
const span = document.getElementById("span-choice");
const roll = new Roll(id);
const list = new EventList();
const charts = new Map(); // code -> {chart, element}
let live = null;
let startMs = 0;
let endMs = 0;
let alarms = [];

document.getElementById("roll").append(roll.element);
const measure = document.getElementById("measure");
measure.addEventListener("click", () => {
  roll.toggle();
  roll.canvas.focus();
});
roll.onMeasuring = (on) => measure.setAttribute("aria-pressed", String(on));
roll.onMove = () => {
  for (const { chart } of charts.values()) chart.redraw(false);
};
for (const [name, by] of [["earlier", -0.9], ["later", 0.9]]) document.getElementById(name).addEventListener("click", () => roll.go(roll.atMs + by * roll.spanMs));
document.getElementById("newest").addEventListener("click", () => roll.go(roll.endMs));
document.getElementById("event-before").addEventListener("click", () => toEvent(-1));
document.getElementById("event-after").addEventListener("click", () => toEvent(1));
span.addEventListener("change", () => refresh(true));

const opened = await openSheet("History · Bedside", (ward, following) => {
  live = following;
  const patient = ward.patients.find((one) => one.id === id);
  put(document.getElementById("bed"), patient?.bed ?? "");
  put(document.getElementById("name"), patient?.name ?? "");
  if (patient === undefined) return;
  const first = roll.endMs === 0;
  roll.endMs = Math.min((patient.stored_us ?? ward.time_us) / 1000, live.newestBoxMs);
  roll.use(patient.signals);
  if (first) {
    const at = Number(new URLSearchParams(location.search).get("at"));
    if (at > 0) roll.centre(at);
    else roll.go(roll.endMs);
    refresh(true);
  }
});
live = opened.live;
setInterval(() => refresh(false), AGAIN_MS);
addEventListener("bedside-restyle", () => {
  roll.draw();
  for (const { chart, element } of charts.values()) {
    chart.destroy();
    element.remove();
  }
  charts.clear();
  refresh(false);
});
addEventListener("resize", () => {
  for (const { chart, element } of charts.values()) chart.setSize({ width: element.clientWidth, height: 150 });
});

async function refresh(move) {
  if (live === null || live.newestBoxMs === 0 || document.hidden) return;
  if (move || endMs > live.newestBoxMs - 10 * AGAIN_MS) endMs = live.newestBoxMs;
  startMs = endMs - Number(span.value) * 3600e3;
  try {
    const [found, ...trends] = await Promise.all([ask("events", { patient: id, types: "alarm", start_us: Math.max(0, Math.round(startMs * 1000)), end_us: Math.round(endMs * 1000) + 1, limit: 1000 }), ...TRENDS.map((code) => ask("trend", { patient: id, code, start_us: Math.max(0, Math.round(startMs * 1000)), end_us: Math.round(endMs * 1000), points: POINTS }))]);
    list.byId.clear();
    list.add(found);
    alarms = list.rows().sort((a, b) => a.timeMs - b.timeMs);
    trends.forEach(draw);
    show(document.getElementById("trends-none"), trends.every((trend) => trend.points.every((point) => point[4] === 0)));
    put(document.getElementById("trends-none"), "No numbers are stored of this time.");
  } catch (error) {
    show(document.getElementById("trends-none"), true);
    put(document.getElementById("trends-none"), `The trends could not be read: ${error.message}`);
  }
}

function toEvent(sign) {
  const now = roll.atMs + roll.spanMs / 3;
  const found = sign > 0 ? alarms.find((row) => row.onsetMs > now + 500) : alarms.findLast((row) => row.onsetMs < now - 500);
  if (found === undefined) {
    put(roll.measure, sign > 0 ? "No later alarm in the time that is shown above." : "No earlier alarm in the time that is shown above.");
    return;
  }
  roll.centre(found.onsetMs);
  put(document.getElementById("event-words"), `${clockTime(found.onsetMs)} ${found.title}`);
}

function draw(trend) {
  const seen = trend.points.some((point) => point[4] > 0);
  const kept = charts.get(trend.code);
  if (!seen) {
    if (kept) show(kept.element, false);
    return;
  }
  const data = [trend.points.map((point) => point[0] / 1e6), ...[1, 3, 2].map((place) => trend.points.map((point) => point[place]))];
  if (kept) {
    show(kept.element, true);
    kept.chart.setData(data);
    return;
  }
  const element = el("div", { class: "trend", role: "img", "aria-label": `${trend.label} over time` });
  place.append(element);
  charts.set(trend.code, { chart: make(trend, data, element), element });
}

function make(trend, data, element) {
  const style = getComputedStyle(document.documentElement);
  const colour = style.getPropertyValue(COLOUR[trend.code] ?? "--text").trim();
  const muted = style.getPropertyValue("--muted").trim();
  const grid = { stroke: style.getPropertyValue("--line").trim(), width: 1 };
  const axis = { stroke: muted, grid, ticks: grid, font: "12px Inter, sans-serif" };
  const when = (seconds) => `${dayText(seconds * 1000)} ${clockTime(seconds * 1000)}`;
  const value = (_, number) => (number === null || number === undefined ? "---" : `${number.toFixed(trend.decimals)} ${unitText(trend.unit)}`);
  const chart = new uPlot(
    {
      width: element.clientWidth || 800,
      height: 150,
      title: `${trend.label} ${unitText(trend.unit)}`,
      cursor: { drag: { x: false, y: false }, y: false },
      legend: { live: true },
      scales: { x: { time: true, range: () => [startMs / 1000, endMs / 1000] } },
      axes: [{ ...axis, values: (_, at) => at.map((seconds) => axisText(seconds * 1000)) }, { ...axis, size: 46 }],
      series: [{ value: (_, seconds) => (seconds === null || seconds === undefined ? "" : when(seconds)) }, { label: "least", stroke: `${colour}`, width: 0.6, value, points: { show: false } }, { label: "greatest", stroke: `${colour}`, width: 0.6, value, points: { show: false } }, { label: "mean", stroke: colour, width: 2, value, spanGaps: false }],
      bands: [{ series: [2, 1], fill: `${colour}33` }],
      hooks: { draw: [(self) => marks(self, style)] },
    },
    data,
    element,
  );
  chart.over.addEventListener("click", () => {
    const seconds = chart.posToVal(chart.cursor.left, "x");
    roll.centre(seconds * 1000);
  });
  return chart;
}

// Hours on a day's trend, days on a week's.
function axisText(ms) {
  return Number(span.value) > 24 ? dayText(ms) : clockTime(ms).slice(0, 5);
}

// Alarms stand on the trend as ticks of their priority; the time that the roll shows is a frame.
function marks(self, style) {
  const { ctx } = self;
  const bottom = self.bbox.top + self.bbox.height;
  const x = (ms) => self.valToPos(ms / 1000, "x", true);
  ctx.save();
  for (const row of alarms) {
    ctx.fillStyle = style.getPropertyValue(`--${row.priority}-edge`);
    const high = { high: 14, medium: 10, low: 6 }[row.priority] * devicePixelRatio;
    ctx.fillRect(x(row.onsetMs) - devicePixelRatio, bottom - high, 2 * devicePixelRatio, high);
  }
  ctx.strokeStyle = style.getPropertyValue("--text");
  ctx.lineWidth = 1.5 * devicePixelRatio;
  const left = x(roll.atMs);
  if (left >= self.bbox.left && left <= self.bbox.left + self.bbox.width) ctx.strokeRect(left, self.bbox.top + 1, Math.max(3, x(roll.atMs + roll.spanMs) - left), self.bbox.height - 2);
  ctx.restore();
}
