/**
 * How figures are written: three digits, the unit beside them, a dash for what is not there.
 *
 * Units are those of the API: "ms", "s", "us", "ratio" (0 to 1, shown in %), "perSecond", "bytes",
 * "bytesPerSecond", "count", "score" (Apdex), and any other text, which is shown as it is.
 */

import { locale, named, straight, t } from "./words.js";

export const DASH = "–";
const formats = new Map();

function formatted(value, options) {
  const key = `${locale.value} ${JSON.stringify(options)}`;
  let format = formats.get(key);
  if (!format) formats.set(key, (format = new Intl.NumberFormat(locale.value, options)));
  return format.format(value);
}

/** Return a number with at most `digits` digits that mean something; whole thousands are kept. */
export function number(value, digits = 3) {
  if (!Number.isFinite(value)) return DASH;
  const size = Math.abs(value);
  if (size >= 10 ** digits) return formatted(Math.round(value), { maximumFractionDigits: 0 });
  if (size !== 0 && size < 0.001) return formatted(value, { maximumSignificantDigits: 2 });
  return formatted(value, { maximumSignificantDigits: digits });
}

/** Units of time: ms, and the name; those from a second up have a word in each language (`unit.NAME`). */
export const TIMES = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
  [1000, "s"],
  [1, "ms"],
  [0.001, "µs"],
];
const SIZES = [
  [2 ** 40, "TiB"],
  [2 ** 30, "GiB"],
  [2 ** 20, "MiB"],
  [2 ** 10, "KiB"],
  [1, "B"],
];

function scaled(value, scales) {
  const size = Math.abs(value);
  const [by, unit] = scales.find(([least]) => size >= least) ?? scales.at(-1);
  return { text: number(value / by), unit: named("unit", value === 0 ? scales.find(([each]) => each === 1)[1] : unit) };
}

/** Return {text, unit} of a value in a unit of the API; null and NaN give a dash without a unit. */
export function figure(value, unit = "count") {
  if (value === null || value === undefined || !Number.isFinite(value)) return { text: DASH, unit: "" };
  switch (unit) {
    // Response times stay in ms up to ten seconds, so that columns can be compared.
    case "ms":
      return Math.abs(value) < 10_000 && Math.abs(value) >= 0.1 ? { text: number(value), unit: "ms" } : scaled(value, TIMES);
    case "s":
      return scaled(value * 1000, TIMES);
    case "us":
      return scaled(value / 1000, TIMES);
    case "ratio":
    case "1":
      return { text: number(value * 100), unit: "%" };
    case "perSecond":
    case "1/s":
      return { text: number(value), unit: t("unit.perSecond") };
    case "bytes":
    case "By":
      return scaled(value, SIZES);
    case "bytesPerSecond":
    case "bytes/s":
    case "By/s": {
      const { text, unit: size } = scaled(value, SIZES);
      return { text, unit: `${size}${t("unit.perSecond")}` };
    }
    case "count":
    case "score":
    case "":
      return { text: number(value), unit: "" };
    default:
      // {cent} is what is counted, as UCUM writes it.
      return { text: number(value), unit: straight(unit).replace(/^\{(.+)\}$/, "$1") };
  }
}

/** Return a figure with its unit as one text, for titles, axes and files. */
export function written(value, unit) {
  const { text, unit: suffix } = figure(value, unit);
  return suffix ? `${text} ${suffix}` : text;
}

/** Return a signed change: of a share "+4 %", of a difference of shares in points. */
export function signed(value, unit = "ratio") {
  if (!Number.isFinite(value)) return DASH;
  const { text, unit: suffix } = unit === "points" ? { text: number(Math.abs(value) * 100, 2), unit: t("unit.points") } : figure(Math.abs(value), unit);
  const sign = value > 0 ? "+" : value < 0 ? "−" : "±";
  return `${sign}${text}${suffix ? ` ${suffix}` : ""}`;
}
