/**
 * Times of a zone in parts chosen by options of Intl.DateTimeFormat. Nothing is rounded: 14:03:59 is 14:03,
 * as in messages. It imports nothing, so that node can run it alone.
 */

export const CLOCK = { hour: "2-digit", minute: "2-digit" };
export const DAY = { month: "short", day: "numeric" };
const formats = new Map();

/** Return a time (ms, ISO text or Date); empty for what is no time. */
export function zoned(locale, zone, time, options) {
  const at = time instanceof Date ? time : new Date(time);
  if (Number.isNaN(at.getTime())) return "";
  const key = `${locale} ${zone} ${JSON.stringify(options)}`;
  let format = formats.get(key);
  if (!format) {
    format = new Intl.DateTimeFormat(locale, { timeZone: zone, hourCycle: "h23", ...options });
    formats.set(key, format);
  }
  return format.format(at);
}
