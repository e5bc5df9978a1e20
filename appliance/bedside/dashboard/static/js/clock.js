// The box's time on this page: the smallest delay of recent batches tells the two clocks apart, so that a batch
// that was late, or caught up, moves nothing. Times are milliseconds.

const KEPT = 100; // 10 s of batches
const JUMP_MS = 1500;
const RATE_EVERY = 50;

export class BoxClock {
  constructor() {
    this.pairs = []; // [local, box]
    this.offsetMs = null; // local - box / rate
    this.rate = 1; // box milliseconds a local millisecond: not 1 where the demonstration runs faster
    this.measured = 1;
    this.sinceRate = 0;
  }

  observe(boxMs, localMs) {
    this.pairs.push([localMs, boxMs]);
    if (this.pairs.length > KEPT) this.pairs.shift();
    this.sinceRate += 1;
    if (this.sinceRate >= RATE_EVERY) this.measureRate();
    const recent = this.pairs.slice(-20).map((pair) => this.delay(pair));
    const all = Math.min(...this.pairs.map((pair) => this.delay(pair)));
    const newest = Math.min(...recent);
    // All of the last 2 s are much later than the best: a clock was set, or the machine slept.
    this.offsetMs = recent.length === 20 && newest - all > JUMP_MS ? this.restart(newest) : all;
  }

  delay([localMs, boxMs]) {
    return localMs - boxMs / this.rate;
  }

  restart(offset) {
    this.pairs = this.pairs.slice(-20);
    return offset;
  }

  measureRate() {
    this.sinceRate = 0;
    const recent = this.pairs.slice(-RATE_EVERY);
    const [firstLocal, firstBox] = recent[0];
    const [lastLocal, lastBox] = recent[recent.length - 1];
    if (lastLocal - firstLocal < 250) return; // a burst that caught up: tells nothing
    const rate = (lastBox - firstBox) / (lastLocal - firstLocal);
    const settled = rate > 0.7 && rate < 1.4 ? 1 : Math.min(Math.max(rate, 0.1), 100);
    // Two spans in a row must agree: one that holds a part of a catch-up looks fast.
    const agrees = Math.abs(settled - this.measured) / settled < 0.15;
    this.measured = settled;
    if (agrees && Math.abs(settled - this.rate) / this.rate > 0.15) {
      this.rate = settled;
      this.pairs = recent.slice(-5);
    }
  }

  now(localMs) {
    return this.offsetMs === null ? 0 : (localMs - this.offsetMs) * this.rate;
  }
}

// How far behind a patient's waves are drawn: constant, as small as their blocks allow, so that the pen never
// waits for a block. Grows at once when a block came later than ever; shrinks after 20 s of need for less.
const MARGIN_MS = 60;
const STEP_MS = 50;
const START_MS = 300;
const MOST_MS = 4000;
const MEMORY_MS = 20000;

export class Playout {
  constructor() {
    this.delayMs = START_MS;
    this.worst = 0;
    this.worstAt = 0;
    this.before = 0;
    this.turnAt = 0;
  }

  observe(boxNowMs, waveStartMs) {
    const need = boxNowMs - waveStartMs + MARGIN_MS;
    if (need < 0 || need > MOST_MS) return;
    if (boxNowMs - this.turnAt > MEMORY_MS || boxNowMs < this.turnAt) {
      this.before = this.worst;
      this.worst = 0;
      this.turnAt = boxNowMs;
    }
    this.worst = Math.max(this.worst, need);
    const wanted = Math.ceil(Math.max(this.worst, this.before) / STEP_MS) * STEP_MS;
    if (wanted > this.delayMs) this.delayMs = wanted;
    else if (wanted < this.delayMs - 2 * STEP_MS && this.before > 0) this.delayMs = wanted;
  }
}
