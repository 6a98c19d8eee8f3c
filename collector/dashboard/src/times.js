/** How times are written, all in the chosen time zone, and the clock that the page lives by. */

import { effect, signal } from "@preact/signals";
import { CLOCK, DAY, zoned } from "./clocks.js";
import { aheadMs, serverNow } from "./servertime.js";
import { zone } from "./settings.js";
import { duration, number } from "./figures.js";
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

/** Return a time (ms, ISO text or Date) in parts chosen by options of Intl.DateTimeFormat. */
export const shown = (time, options) => zoned(locale.value, zone.value, time, options);

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

/** Unit of time, ms from which on people say how long something lasted in it, and ms of one. */
const SAID = [
  ["d", 172_800_000, 86_400_000],
  ["h", 5_400_000, 3_600_000],
  ["min", 60_000, 60_000],
  ["s", 0, 1000],
];

/** Return "9 min": about how long something has lasted, in ms, as people say it while it goes on. */
export function lasted(ms) {
  if (!Number.isFinite(ms)) return "";
  const size = Math.max(0, ms);
  const [unit, , by] = SAID.find(([, from]) => size >= from);
  const count = unit === "h" || unit === "d" ? Math.round((size / by) * 10) / 10 : Math.floor(size / by);
  return t("unit.form", { number: number(count), unit: t(`unit.${unit}`) });
}

/** Return "1 min 30 s": how long something lasted, in ms, in the two units that count, as reports and messages say it. */
export const lastedFully = (ms) => duration(ms / 1000);

/** Return "9 min ago", of a time that is past. */
export function ago(time) {
  const ms = now.value - new Date(time).getTime();
  if (!Number.isFinite(ms)) return "";
  return ms < 5000 ? t("time.justNow") : t("time.ago", { time: lasted(ms) });
}
