/**
 * How figures are written in the viewer's language: three digits, the unit beside them, a dash for what
 * is not there.
 *
 * Units are those of the API: "ms", "s", "us", "ratio" (0 to 1, shown in %), "perSecond", "bytes",
 * "bytesPerSecond", "count", "score" (Apdex), and any other text, which is shown as it is.
 */

import { computed } from "@preact/signals";
import { DASH, Quantities } from "./quantities.js";
import { locale, straight, t } from "./words.js";

export { DASH };

const shown = computed(() => new Quantities(locale.value, (name, values) => t(`unit.${name}`, values)));

/** Return a number with so many digits that count; whole thousands are kept. */
export const number = (value, digits) => shown.value.number(value, digits);

/** Return {text, unit, gap} of a value in a unit of the API; null and NaN give a dash without a unit. */
export const figure = (value, unit, digits) => shown.value.figure(value, straight(unit ?? ""), digits);

/** Return a figure with its unit as one text, as messages and reports write it. */
export const written = (value, unit, digits) => shown.value.written(value, straight(unit ?? ""), digits);

/** Return a value beside its line: it looks like the line only if it is the same. */
export const besideLine = (value, line, unit) => shown.value.beside(value, line, straight(unit ?? ""));

/** Return a value for an axis. */
export const short = (value, unit) => shown.value.short(value, straight(unit ?? ""));

/** Return how long something lasts, in seconds, in the two units that count: "1 min 30 s". */
export const duration = (seconds) => shown.value.duration(seconds);

/** Return a signed change: of a share "+4 %", of a difference of shares in points. */
export function signed(value, unit = "ratio") {
  if (!Number.isFinite(value)) return DASH;
  if (unit === "ratio") return shown.value.change(value);
  const text = unit === "points" ? `${number(Math.abs(value) * 100, 2)} ${t("unit.points")}` : written(Math.abs(value), unit);
  return `${value > 0 ? "+" : value < 0 ? "−" : "±"}${text}`;
}
