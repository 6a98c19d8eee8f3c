/** Times as people type them, read as the API reads them: without a zone they are of the chosen one. */

const UNITS = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };
const DAY_MS = 86_400_000;
const LAST_S = 2 ** 32 - 2;
const TIME = /^(\d{4})-(\d\d)-(\d\d)(?:[T +](\d\d)(?::(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?(Z|[+-]\d\d(?::?\d\d)?)?)?$/;
const PARTS = ["year", "month", "day", "hour", "minute", "second"];

/** Return the seconds of "-1h30m", or null for another text. */
export function secondsBack(text) {
  if (!/^-(?:\d{1,9}(?:\.\d{1,3})?[smhdw]){1,5}$/.test(text)) return null;
  return [...text.matchAll(/([\d.]+)([smhdw])/g)].reduce((sum, [, count, unit]) => sum + count * UNITS[unit], 0);
}

/** Return the ms of what the API takes as a time, read in a zone, or null. */
export function momentOf(text, nowMs, zone) {
  if (!text || text === "now") return nowMs;
  const back = secondsBack(text);
  if (back !== null) return within(nowMs - back * 1000);
  if (/^\d{1,12}(\.\d+)?$/.test(text)) return within(Number(text) * 1000);
  const found = TIME.exec(text);
  if (!found) return null;
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map((each) => Number(each ?? 0));
  const local = Date.UTC(year, month - 1, day, hour, minute, second, Number(`0.${found[7] ?? 0}`) * 1000);
  const date = new Date(Date.UTC(year, month - 1, day));
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day || hour > 23 || minute > 59 || second > 59) return null;
  return within(found[8] ? local - offsetOf(found[8]) : inZone(local, zone));
}

const within = (ms) => (ms >= 0 && ms <= LAST_S * 1000 ? ms : null);

function offsetOf(text) {
  if (text === "Z") return 0;
  const [hours, minutes] = [text.slice(1, 3), text.slice(3).replace(":", "")].map(Number);
  return (text[0] === "-" ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}

/**
 * Return the moment at which the clocks of a zone show `local` (as if it were UTC): the first one where they
 * show it twice; where they leave it out, as if they had not been put forward yet (PEP 495, fold 0).
 */
function inZone(local, zone) {
  const [before, after] = [ahead(zone, local - DAY_MS), ahead(zone, local + DAY_MS)];
  const late = local - after;
  return ahead(zone, local - before) !== before && ahead(zone, late) === after ? late : local - before;
}

/** Return by how many ms the clocks of a zone are ahead of UTC at a moment. */
function ahead(zone, ms) {
  const whole = Math.floor(ms / 1000) * 1000;
  const format = new Intl.DateTimeFormat("en", { timeZone: zone, hourCycle: "h23", calendar: "iso8601", ...Object.fromEntries(PARTS.map((name) => [name, "numeric"])) });
  const parts = Object.fromEntries(format.formatToParts(whole).map((each) => [each.type, Number(each.value)]));
  return Date.UTC(parts.year, parts.month - 1, parts.day, parts.hour, parts.minute, parts.second) - whole;
}
