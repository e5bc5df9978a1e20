// ECG paper: 1 mm and 5 mm lines, and the 1 mV mark.
import { PX_PER_MM } from "./trace.js";

export function fitCanvas(canvas, width, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 3);
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

export function drawGrid(context, width, height, style, baseline = null) {
  for (const [step, color] of [[1, style.getPropertyValue("--grid-fine")], [5, style.getPropertyValue("--grid-bold")]]) {
    context.strokeStyle = color;
    context.lineWidth = 1;
    context.beginPath();
    for (let mm = 0; mm * PX_PER_MM <= width; mm += step) {
      const x = Math.round(mm * PX_PER_MM) + 0.5;
      context.moveTo(x, 0);
      context.lineTo(x, height);
    }
    // Lines lie on the baseline, so that amplitudes are counted from it.
    const zero = baseline ?? height / 2;
    for (let mm = -Math.floor(zero / PX_PER_MM / step) * step; zero + mm * PX_PER_MM <= height; mm += step) {
      const y = Math.round(zero + mm * PX_PER_MM) + 0.5;
      context.moveTo(0, y);
      context.lineTo(width, y);
    }
    context.stroke();
  }
}

// The 1 mV mark at the left edge, as high as one millivolt is.
export function drawMillivolt(context, gain, baseline, color) {
  const top = baseline - gain * PX_PER_MM;
  context.strokeStyle = color;
  context.fillStyle = color;
  context.lineWidth = 1.6;
  context.beginPath();
  context.moveTo(3, baseline);
  context.lineTo(7, baseline);
  context.lineTo(7, top);
  context.lineTo(15, top);
  context.lineTo(15, baseline);
  context.lineTo(19, baseline);
  context.stroke();
  context.font = "600 10px Inter, sans-serif";
  context.fillText("1 mV", 22, top + 9);
}
