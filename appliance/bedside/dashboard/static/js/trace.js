// A moving wave with an erase bar: samples in a ring of fixed size, drawn once each at 25 mm/s.
// Times are milliseconds of the box; a pixel is a CSS pixel, 96 to the inch.

export const PX_PER_MM = 96 / 25.4;
export const SWEEP_MM_PER_S = 25;
const PX_PER_MS = (PX_PER_MM * SWEEP_MM_PER_S) / 1000;
const RING = 4096; // 32 s at 125 Hz: wider than any screen's sweep
const ERASE_PX = 22;
const GAINS_MM_PER_MV = [10, 5, 2.5];

export class WaveRing {
  constructor() {
    this.times = new Float64Array(RING);
    this.values = new Float32Array(RING);
    this.count = 0; // samples ever taken; the ring holds the last RING
    this.stepMs = 8;
    this.nextIndex = null;
    this.lastMs = -Infinity;
  }

  get oldest() {
    return Math.max(0, this.count - RING);
  }

  add(wave) {
    const step = 1000 / wave.rateHz;
    this.stepMs = step;
    let skip = 0;
    let startMs = wave.startMs;
    if (this.nextIndex !== null && wave.firstIndex < this.nextIndex && wave.startMs <= this.lastMs) {
      skip = Math.min(this.nextIndex - wave.firstIndex, wave.values.length); // sent twice
    }
    if (wave.firstIndex + skip === this.nextIndex) {
      // Consecutive: the clock's small corrections are followed slowly instead of as a jump in the line.
      const expected = this.lastMs + step;
      const off = startMs + skip * step - expected;
      if (Math.abs(off) < 60) startMs = expected + 0.05 * off - skip * step;
    }
    for (let i = skip; i < wave.values.length; i += 1) {
      const timeMs = startMs + i * step;
      if (timeMs <= this.lastMs) continue;
      const slot = this.count % RING;
      this.times[slot] = timeMs;
      this.values[slot] = wave.values[i];
      this.lastMs = timeMs;
      this.count += 1;
    }
    this.nextIndex = wave.firstIndex + wave.values.length;
  }

  // The first sample after `timeMs`, as a count.
  after(timeMs) {
    let low = this.oldest;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle % RING] <= timeMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // Smallest and largest value between two times; [NaN, NaN] where there is none.
  range(fromMs, toMs) {
    let low = Infinity;
    let high = -Infinity;
    for (let n = this.after(fromMs); n < this.count; n += 1) {
      const slot = n % RING;
      if (this.times[slot] > toMs) break;
      const value = this.values[slot];
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return low <= high ? [low, high] : [NaN, NaN];
  }
}

export class SweepTrace {
  // kind "ecg": true aspect, mV; else: fitted to the height. `onScale(text)` hears of a new scale.
  constructor(canvas, ring, kind, onScale = () => {}) {
    this.canvas = canvas;
    this.ring = ring;
    this.kind = kind;
    this.onScale = onScale;
    this.context = canvas.getContext("2d");
    this.width = 0;
    this.height = 0;
    this.headMs = null;
    this.drawn = 0; // the next sample to draw
    this.pen = null; // [x, y, timeMs] of the last point
    this.gain = GAINS_MM_PER_MV[0];
    this.low = 0;
    this.high = 1;
    this.visible = true;
    this.lineWidth = 1.7;
    this.restyle();
  }

  restyle() {
    this.color = getComputedStyle(this.canvas).color;
    this.headMs = null; // everything is drawn anew
  }

  resize(width, height) {
    const ratio = Math.min(window.devicePixelRatio || 1, 3);
    if (width === this.width && height === this.height && ratio === this.ratio) return;
    this.width = width;
    this.height = height;
    this.ratio = ratio;
    this.canvas.width = Math.max(1, Math.round(width * ratio));
    this.canvas.height = Math.max(1, Math.round(height * ratio));
    this.headMs = null;
  }

  get sweepMs() {
    return this.width / PX_PER_MS;
  }

  x(timeMs) {
    return (timeMs * PX_PER_MS) % this.width;
  }

  y(value) {
    if (this.kind === "ecg") return this.height * 0.6 - value * this.gain * PX_PER_MM;
    const margin = this.height * 0.12;
    return this.height - margin - ((value - this.low) / (this.high - this.low)) * (this.height - 2 * margin);
  }

  draw(headMs) {
    if (this.width < 8 || this.height < 8 || !this.visible) return;
    const moved = this.headMs === null ? Infinity : headMs - this.headMs;
    if (moved < 0 && moved > -3000) return; // the pen waits, it does not go back
    if (moved > 1000 || moved < 0) this.restart(headMs);
    else if (Math.floor(headMs * PX_PER_MS / this.width) !== Math.floor(this.headMs * PX_PER_MS / this.width)) {
      this.rescale(headMs);
    }
    this.erase(this.headMs, headMs);
    this.line(headMs);
    this.headMs = headMs;
  }

  // Start over: scale, and everything of the last sweep at once.
  restart(headMs) {
    this.context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.context.clearRect(0, 0, this.width, this.height);
    this.rescale(headMs);
    const from = headMs - this.sweepMs + ERASE_PX / PX_PER_MS;
    this.drawn = this.ring.after(from);
    this.pen = null;
    this.headMs = headMs;
  }

  erase(fromMs, toMs) {
    const from = fromMs * PX_PER_MS + ERASE_PX;
    let left = from % this.width;
    let rest = Math.min((toMs - fromMs) * PX_PER_MS + 1, this.width);
    left = Math.max(0, left - 1);
    while (rest > 0) {
      const part = Math.min(rest, this.width - left);
      this.context.clearRect(left, 0, part + 1, this.height);
      rest -= Math.max(part, 1);
      left = 0;
    }
  }

  line(headMs) {
    const { context, ring } = this;
    if (this.drawn < ring.oldest) {
      this.drawn = ring.oldest;
      this.pen = null;
    }
    let begun = false;
    context.strokeStyle = this.color;
    context.lineWidth = this.lineWidth;
    context.lineJoin = "round";
    context.lineCap = "round";
    for (; this.drawn < ring.count; this.drawn += 1) {
      const slot = this.drawn % RING;
      const timeMs = ring.times[slot];
      if (timeMs > headMs) break;
      const value = ring.values[slot];
      if (Number.isNaN(value)) {
        this.pen = null;
        continue;
      }
      const x = this.x(timeMs);
      const y = Math.min(Math.max(this.y(value), 1), this.height - 1);
      const joined = this.pen !== null && x > this.pen[0] && timeMs - this.pen[2] < 2.5 * ring.stepMs;
      if (joined) {
        if (!begun) {
          context.beginPath();
          context.moveTo(this.pen[0], this.pen[1]);
          begun = true;
        }
        context.lineTo(x, y);
      } else if (begun) {
        context.moveTo(x, y);
      }
      this.pen = [x, y, timeMs];
    }
    if (begun) context.stroke();
  }

  // Once a sweep: a gain at which the ECG fits, in the steps a monitor has; or the range of another wave.
  rescale(headMs) {
    const [low, high] = this.ring.range(headMs - Math.max(this.sweepMs, 3000), headMs);
    if (this.kind !== "ecg") {
      if (!Number.isNaN(low) && high - low > 1e-9) [this.low, this.high] = [low, high];
      return;
    }
    const up = Number.isNaN(high) ? 0 : Math.max(high, 0);
    const down = Number.isNaN(low) ? 0 : Math.max(-low, 0);
    const fits = (gain) => up * gain * PX_PER_MM < this.height * 0.6 && down * gain * PX_PER_MM < this.height * 0.4 + 4;
    const gain = GAINS_MM_PER_MV.find(fits) ?? GAINS_MM_PER_MV[GAINS_MM_PER_MV.length - 1];
    const slack = (candidate) => up * candidate * PX_PER_MM < this.height * 0.54 && down * candidate * PX_PER_MM < this.height * 0.36;
    if (gain < this.gain || (gain > this.gain && slack(gain))) this.gain = gain;
    this.onScale(`${SWEEP_MM_PER_S} mm/s · ${this.gain} mm/mV`);
  }
}
