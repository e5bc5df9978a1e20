// How much of a patient's ECG came, in words.
import { ageText, clockTime } from "./format.js";

const CAUSE_TEXT = { link_lost: "link lost", packets_lost: "packets lost", malformed_packet: "damaged packets", clock_reset: "the wearable's clock restarted", restart: "this box restarted", flood: "too many packets", overflow: "this box was too slow" };

// How much of the ECG came, and what the rest was lost to: the line under the waves, and its hours.
export function completenessText(completeness) {
  const percent = (share) => (share === null ? "---" : `${share >= 0.9995 ? "100" : (Math.floor(share * 1000) / 10).toFixed(1)} %`);
  const lost = {};
  for (const hour of completeness.hours) for (const [cause, seconds] of Object.entries(hour.lost_s)) lost[cause] = (lost[cause] ?? 0) + seconds;
  const causes = Object.entries(lost).sort((a, b) => b[1] - a[1]).map(([cause, seconds]) => `${CAUSE_TEXT[cause] ?? cause.replaceAll("_", " ")} ${ageText(seconds)}`);
  const missing = completeness.missing_s >= 1 ? `, missing ${ageText(completeness.missing_s)}${causes.length ? ` (${causes.join(", ")})` : ""}` : "";
  const words = `ECG received since ${clockTime(completeness.since_us / 1000)}: ${percent(completeness.share)}${missing}`;
  return [words, completeness.hours.map((hour) => `${clockTime(hour.hour_us / 1000)} ${percent(hour.share)}`).join("\n")];
}
