/** Texts in the viewer's language. Every key stands in each language; a test compares them. */

import { effect, signal } from "@preact/signals";
import { LANGUAGES } from "./languages.js";
import { language } from "./settings.js";

const words = signal(null);
/** The language of the texts that are there: a tag for Intl. */
export const locale = signal("en");

effect(() => {
  const wanted = language.value;
  LANGUAGES[wanted].load().then((found) => {
    if (language.peek() !== wanted) return;
    words.value = found.default;
    locale.value = wanted;
    document.documentElement.lang = wanted;
  });
});

/** Tell whether the texts are there. */
export const isReady = () => words.value !== null;

/** Return a name without what would turn the text around it (UAX 9), for a place where no <bdi> can stand. */
export const straight = (text) => String(text).replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "");

/**
 * Return a text, with {name} replaced by the value of that name. With a value `count`, the forms
 * `key.one` and `key.other` of the language are used if they exist.
 */
export function t(key, values = {}) {
  const all = words.value ?? {};
  let text = all[key];
  if (values.count !== undefined) {
    const form = new Intl.PluralRules(locale.value).select(Number(values.number ?? values.count));
    text = all[`${key}.${form}`] ?? all[`${key}.other`] ?? text;
  }
  if (text === undefined) return key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? straight(values[name]) : whole));
}

/** Return t(key) for a value of the API (a kind, a state), or the value itself if it has no text. */
export function named(group, value) {
  const key = `${group}.${value}`;
  const text = t(key);
  return text === key ? straight(value) : text;
}
