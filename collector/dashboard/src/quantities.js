/**
 * Numbers, shares, sizes and durations as people read them. contract/quantities.py writes the same
 * for messages, reports and sentences: tests/data/quantities.json has cases that both are held to.
 *
 * It imports nothing: language and words are given, so that node can run it alone.
 */

export const DASH = "–";
const DIGITS = 3;
const MOST_DIGITS = 7;
/** From here on as a power of ten; less than that is 0, where nothing has to be told apart from it. */
const VAST = 1e15;
const NOTHING = 1e-6;
/** Memory by 1024, rates by 1000. */
const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];
const RATES = ["B", "kB", "MB", "GB", "TB"];
/** Units that stand for another. */
const SAME = { count: "", score: "", perSecond: "1/s", 1: "ratio", By: "bytes", bytesPerSecond: "bytes/s", "By/s": "bytes/s" };
/** Seconds, and the word of a unit of time. */
const TIMES = [
  [86_400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];
const formats = new Map();

function formatted(locale, value, places) {
  const key = `${locale} ${places}`;
  let format = formats.get(key);
  // Halves are rounded as Python rounds them; an older browser takes the larger number.
  if (!format) formats.set(key, (format = new Intl.NumberFormat(locale, { maximumFractionDigits: places, roundingMode: "halfEven" })));
  return format.format(value);
}

/** Writes quantities in a language; `say(name, values)` gives its word of `unit.NAME`. */
export class Quantities {
  constructor(locale, say) {
    this.locale = locale;
    this.say = say;
  }

  /** Return a number with so many digits that count, and thousands apart. */
  number(value, digits = DIGITS) {
    if (!Number.isFinite(value)) return DASH;
    const size = Math.abs(value);
    if (!size || (size < NOTHING && digits === DIGITS)) return "0";
    if (size >= VAST) return value.toPrecision(3).replace(/\.?0+e/, "e").replace("-", "−");
    const places = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
    return formatted(this.locale, value, Math.min(places, 20)).replace("-", "−");
  }

  /**
   * Return {text, unit, gap} of a value in a unit of the API: its number, its unit, and what stands between
   * them. Null and NaN give a dash without a unit; any unit that is not known is written as it is.
   */
  figure(value, unit = "", digits = DIGITS) {
    if (value === null || value === undefined || !Number.isFinite(value)) return { text: DASH, unit: "", gap: "" };
    const known = SAME[unit] ?? unit;
    switch (known) {
      case "us":
        return this.#time(value / 1e6, digits);
      case "ms":
        return this.#time(value / 1000, digits);
      case "s":
        return value ? this.#time(value, digits) : this.#with("0", this.say("s"));
      case "ratio":
        return this.#with(this.#share(value, digits), "%");
      case "bytes":
        return this.#size(value, 1024, SIZES, digits);
      case "1/s":
        return { text: this.number(value, digits), unit: this.say("perSecond"), gap: "" };
      case "bytes/s": {
        const { text, unit: size, gap } = this.#size(value, 1000, RATES, digits);
        return { text, unit: `${size}${this.say("perSecond")}`, gap };
      }
      case "":
        return { text: this.number(value, digits), unit: "", gap: "" };
      default:
        // {cent} is what is counted, as UCUM writes it.
        return { text: this.number(value, digits), unit: known.replace(/^\{(.+)\}$/, "$1"), gap: " " };
    }
  }

  /** Return a value with its unit as one text, as a sentence has it. */
  written(value, unit = "", digits = DIGITS) {
    const { text, unit: suffix, gap } = this.figure(value, unit, digits);
    if (text === DASH) return text;
    const known = SAME[unit] ?? unit;
    if (known === "1/s") return this.say("rate", { number: text });
    if (known === "bytes/s") {
      const size = this.#size(value, 1000, RATES, digits);
      return this.say("sizeRate", { size: `${size.text}${size.gap}${size.unit}` });
    }
    return `${text}${gap}${suffix}`;
  }

  /** Return a value whose line is shown too: it looks like its line only if it is the same. */
  beside(value, line, unit = "") {
    const shown = this.written(line, unit);
    let own = this.written(value, unit);
    for (let digits = DIGITS + 1; own === shown && value !== line && digits <= MOST_DIGITS; digits += 1) own = this.written(value, unit, digits);
    return own;
  }

  /** Return a relative change with its sign. */
  change(share) {
    if (!Number.isFinite(share)) return DASH;
    if (Math.abs(share) < 0.0005) return this.written(0, "ratio");
    return `${share > 0 ? "+" : ""}${this.written(share, "ratio", 2)}`;
  }

  /** Return a length of time in the two units that count: "45 s", "2 min 10 s", "3 h". */
  duration(seconds) {
    if (!Number.isFinite(seconds)) return "";
    const { text, unit, gap } = this.#lasting(seconds);
    return `${text}${gap}${unit}`;
  }

  /** Return a value for an axis: as short as it can be, long times as a share of one unit. */
  short(value, unit = "") {
    const seconds = { us: 1e-6, ms: 1e-3, s: 1 }[unit] * value;
    if (!(Math.abs(seconds) >= 60)) return this.joined(this.figure(value, unit));
    const [by, word] = TIMES.find(([least]) => Math.abs(seconds) >= least);
    return this.joined(this.#with(this.number(seconds / by), this.say(word)));
  }

  joined({ text, unit, gap }) {
    return `${text}${gap}${unit}`;
  }

  /** Return a number with a unit that is written the way of the language: "5 s", "5초". */
  #with(text, unit) {
    return { text, unit, gap: this.say("form", { number: "", unit: "" }) };
  }

  #share(share, digits) {
    const value = 100 * share;
    if (!(value > 99 && value < 100)) return this.number(value, digits);
    const places = Math.max(3, digits - 1);
    const scale = 10 ** places;
    // What is below 100 is not shown as 100; the inner rounding is that of binary fractions.
    const cut = Math.floor(Math.round(value * scale * 1e6) / 1e6) / scale;
    return formatted(this.locale, Math.min(cut, 100 - 1 / scale), places);
  }

  #time(seconds, digits) {
    const size = Math.abs(seconds);
    if (seconds >= 60 && digits === DIGITS) return this.#lasting(seconds);
    if (size >= 1) return this.#with(this.number(seconds, digits), this.say("s"));
    if (size && size < 1e-4) return this.#with(this.number(seconds * 1e6, digits), "µs");
    return this.#with(this.number(seconds * 1000, digits), "ms");
  }

  #lasting(seconds) {
    if (!(seconds < VAST)) return this.#with(this.number(seconds / 86_400), this.say("d"));
    let left = Math.max(0, Math.floor(seconds + 0.5));
    for (const [from, unit] of [[600, 60], [172_800, 3600]]) if (left >= from) left = Math.floor(left / unit + 0.5) * unit;
    const first = TIMES.findIndex(([each, name]) => left >= (name === "d" ? 172_800 : each));
    if (first < 0) return this.#with("0", this.say("s"));
    const parts = [];
    for (const [each, name] of TIMES.slice(first, first + 2)) {
      const count = Math.floor(left / each);
      left -= count * each;
      if (count) parts.push(this.#with(String(count), this.say(name)));
    }
    const last = parts.pop();
    return { ...last, text: [...parts.map((each) => this.joined(each)), last.text].join(" ") };
  }

  #size(value, width, names, digits) {
    let [size, place] = [value, 0];
    while (Math.abs(size) >= width && place < names.length - 1) {
      size /= width;
      place += 1;
    }
    return this.#with(this.number(size, digits), names[place]);
  }
}
