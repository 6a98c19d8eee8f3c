/** How times are written, all in the chosen time zone, and the clock that the page lives by. */

import { effect, signal } from "@preact/signals";
import { aheadMs, serverNow } from "./servertime.js";
import { zone } from "./settings.js";
import { number, TIMES } from "./figures.js";
import { locale, t } from "./words.js";

/** Now by the collector's clock, in ms, each second while the page is seen. */
export const now = signal(serverNow());
setInterval(() => {
  if (!document.hidden) now.value = serverNow();
}, 1000);
document.addEventListener("visibilitychange", () => {
  now.value = serverNow();
});
effect(() => {
  aheadMs.value;
  now.value = serverNow();
});

const formats = new Map();

/** Return a time (ms, ISO text or Date) in parts chosen by options of Intl.DateTimeFormat. */
export function shown(time, options) {
  const at = time instanceof Date ? time : new Date(time);
  if (Number.isNaN(at.getTime())) return "";
  const key = `${locale.value} ${zone.value} ${JSON.stringify(options)}`;
  let format = formats.get(key);
  if (!format) {
    format = new Intl.DateTimeFormat(locale.value, { timeZone: zone.value, hourCycle: "h23", ...options });
    formats.set(key, format);
  }
  return format.format(at);
}

const CLOCK = { hour: "2-digit", minute: "2-digit" };
const DAY = { month: "short", day: "numeric" };

/** Return "14:02". */
export const clock = (time) => shown(time, CLOCK);
/** Return "14:02:07". */
export const clockSeconds = (time) => shown(time, { ...CLOCK, second: "2-digit" });
const yearOf = (time) => shown(time, { year: "numeric" });
/** Return "30 Nov, 14:02:07", with the year if it is another one. */
export const moment = (time) =>
  shown(time, {
    ...DAY,
    ...CLOCK,
    second: "2-digit",
    // The year of the chosen zone: around New Year it may be another one in the browser's.
    ...(yearOf(time) !== yearOf(now.peek()) && { year: "numeric" }),
  });
/** Return "14:02" for today, else "30 Nov, 14:02". */
export function whenShort(time) {
  const day = (each) => shown(each, { year: "numeric", month: "2-digit", day: "2-digit" });
  return day(time) === day(now.value) ? clock(time) : shown(time, { ...DAY, ...CLOCK });
}
/** Return the short name of the time zone, such as KST. */
export function zoneName() {
  const parts = new Intl.DateTimeFormat(locale.value, { timeZone: zone.value, timeZoneName: "short" }).formatToParts(now.peek());
  return parts.find((each) => each.type === "timeZoneName")?.value ?? zone.value;
}

/** Unit -> ms from which on people say how long something lasted in it. */
const SAID_FROM = { d: 172_800_000, h: 5_400_000, min: 60_000, s: 0 };

/** Return "9 min": how long something lasted, in ms, as people say it. */
export function lasted(ms) {
  if (!Number.isFinite(ms)) return "";
  const size = Math.max(0, ms);
  const [by, unit] = TIMES.find(([, each]) => size >= SAID_FROM[each]);
  return `${number(unit === "h" || unit === "d" ? Math.round((size / by) * 10) / 10 : Math.floor(size / by))} ${t(`unit.${unit}`)}`;
}

/** Return "1 min 30 s": how long something lasted, in ms, in the two units that count, as reports and messages say it. */
export function lastedFully(ms) {
  if (!Number.isFinite(ms)) return "";
  let left = Math.max(0, Math.round(ms / 1000));
  for (const [from, unit] of [[600, 60], [172_800, 3600]]) if (left >= from) left = Math.round(left / unit) * unit;
  const units = TIMES.slice(0, 4).map(([each, name]) => [each / 1000, name]);
  const first = units.findIndex(([each, name]) => left >= (name === "d" ? 172_800 : each));
  if (first < 0) return `0 ${t("unit.s")}`;
  const parts = [];
  for (const [each, name] of units.slice(first, first + 2)) {
    const count = Math.floor(left / each);
    left -= count * each;
    if (count) parts.push(`${number(count)} ${t(`unit.${name}`)}`);
  }
  return parts.join(" ");
}

/** Return "9 min ago", of a time that is past. */
export function ago(time) {
  const ms = now.value - new Date(time).getTime();
  if (!Number.isFinite(ms)) return "";
  return ms < 5000 ? t("time.justNow") : t("time.ago", { time: lasted(ms) });
}
