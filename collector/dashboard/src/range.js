/**
 * The range of time that all of a page shows: `from` and `to` of the address, as the API takes them.
 *
 * Without `to` it ends now and moves along; then the page is live.
 */

import { computed } from "@preact/signals";
import { change, query } from "./address.js";
import { momentOf, secondsBack } from "./localtime.js";
import { serverNow } from "./servertime.js";
import { zone } from "./settings.js";
import { now, shown, whenShort } from "./times.js";
import { t } from "./words.js";

/** What is offered: the value of `from`, and its seconds. */
export const QUICK = [
  ["-5m", 300],
  ["-15m", 900],
  ["-30m", 1800],
  ["-1h", 3600],
  ["-3h", 10_800],
  ["-6h", 21_600],
  ["-24h", 86_400],
  ["-2d", 172_800],
  ["-7d", 604_800],
  ["-30d", 2_592_000],
];
const DEFAULT = "-1h";

const texts = computed(() => ({ from: query.value.from || DEFAULT, to: query.value.to || "" }));
const isLive = computed(() => !texts.value.to && secondsBack(texts.value.from) !== null);

/**
 * The range: `from` and `to` as given, `parameters` for the API, whether it `isLive`, its `seconds`.
 * It changes with the address, not with the clock.
 */
export const range = computed(() => {
  const { from, to } = texts.value;
  const nowMs = now.peek();
  const fromMs = momentOf(from, nowMs, zone.value) ?? nowMs - 3_600_000;
  const toMs = momentOf(to, nowMs, zone.value) ?? nowMs;
  return {
    from,
    to,
    isLive: isLive.value,
    seconds: Math.max(10, Math.round((toMs - fromMs) / 1000)),
    parameters: { from, to, tz: zone.value },
  };
});

/** The range in ms at this moment: [from, to]. */
export function bounds() {
  const { from, to, seconds } = range.value;
  const toMs = momentOf(to, now.peek(), zone.peek()) ?? now.peek();
  return [momentOf(from, now.peek(), zone.peek()) ?? toMs - seconds * 1000, toMs];
}

/** Return the range as people say it. */
export function rangeText() {
  const { from, to, isLive: live } = range.value;
  if (live) {
    const quick = QUICK.find(([each]) => each === from);
    return quick ? t(`range.quick.${from.slice(1)}`) : t("range.last", { time: from.slice(1) });
  }
  const [fromMs, toMs] = bounds();
  const sameDay = shown(fromMs, { dateStyle: "short" }) === shown(toMs, { dateStyle: "short" });
  const end = sameDay ? shown(toMs, { hour: "2-digit", minute: "2-digit" }) : whenShort(toMs);
  return `${whenShort(fromMs)} – ${to ? end : t("range.now")}`;
}

/** Show from one moment (ms) to another; "back" returns. Whole windows of ten seconds, at least one. */
export function zoom(fromMs, toMs) {
  const from = Math.floor(fromMs / 10_000) * 10;
  const to = Math.max(Math.ceil(toMs / 10_000) * 10, from + 10);
  change({ from: new Date(from * 1000).toISOString(), to: new Date(to * 1000).toISOString() }, { push: true });
}

/** Return "-1h" for what is offered, else "-90s". */
const quickOr = (seconds) => QUICK.find(([, each]) => Math.abs(each - seconds) <= 10)?.[0] ?? `-${seconds}s`;

/** Return the shortest live range that is offered and begins at a moment (ms) or before: "-1h" and the like. */
export const backTo = (ms) => (QUICK.find(([, seconds]) => seconds * 1000 >= now.peek() - ms) ?? QUICK.at(-1))[0];

/** Show twice the range: around the same middle, or up to now if it is live. */
export function widen() {
  if (range.value.isLive) return show(quickOr(range.value.seconds * 2));
  const [fromMs, toMs] = bounds();
  const half = (toMs - fromMs) / 2;
  return zoom(fromMs - half, Math.min(toMs + half, serverNow()));
}

/** Show the range before (-1) or after (1) this one. */
export function shift(direction) {
  const [fromMs, toMs] = bounds();
  const step = (toMs - fromMs) * direction;
  if (toMs + step > serverNow()) show(quickOr(Math.round((toMs - fromMs) / 1000)));
  else zoom(fromMs + step, toMs + step);
}

/** Show what begins at `from` and ends at `to` (as the API takes them), or now. */
export function show(from, to = "") {
  change({ from, to }, { push: true });
}

/** Days begin at midnight also where clocks are changed, which seconds cannot say. */
const DAY_S = 86_400;
const STEPS = [10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, DAY_S];
const CALENDAR = { [DAY_S]: "day", 604_800: "week", 2_592_000: "month" };

/** Return a step in seconds that gives a chart of this range at most some 150 points, or two days for each. */
export function stepSeconds(seconds = range.value.seconds, points = 150) {
  const whole = STEPS.find((each) => seconds / each <= points);
  if (whole) return whole;
  return [[DAY_S, 2 * points], [604_800, points]].find(([each, most]) => seconds / each <= most)?.[0] ?? 2_592_000;
}

/** Return a step as the API takes it: seconds, or a word of the calendar. */
export const stepText = (seconds) => CALENDAR[seconds] ?? seconds;

/** Return the step of stepSeconds as the API takes it. */
export const stepOf = (seconds, points) => stepText(stepSeconds(seconds, points));
