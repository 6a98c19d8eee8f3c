/** What a viewer chooses for this browser: language, theme, time zone. Kept in its storage. */

import { computed, effect, signal } from "@preact/signals";
import { query } from "./address.js";
import { LANGUAGES } from "./languages.js";

function kept(name, initial) {
  let value = initial;
  try {
    value = localStorage.getItem(`trimtab.${name}`) ?? initial;
  } catch {
    // Storage may be forbidden: the choice then lives as long as the page.
  }
  const found = signal(value);
  let first = true;
  effect(() => {
    const text = found.value;
    if (first) {
      first = false;
      return;
    }
    try {
      localStorage.setItem(`trimtab.${name}`, text);
    } catch {
      // As above.
    }
  });
  return found;
}

const chosen = kept("language", "");
const spoken = navigator.languages.map((each) => each.slice(0, 2)).find((each) => Object.hasOwn(LANGUAGES, each));

/** A tag of LANGUAGES: of the address, else chosen, else that of the browser. */
export const language = computed(() => {
  const wanted = [query.value.lang, chosen.value, spoken];
  return wanted.find((each) => each && Object.hasOwn(LANGUAGES, each)) ?? "en";
});

export function chooseLanguage(name) {
  chosen.value = name;
}

/** "" (as the system has it), "light" or "dark". */
export const theme = kept("theme", "");
const dark = matchMedia("(prefers-color-scheme: dark)");
const systemIsDark = signal(dark.matches);
dark.addEventListener("change", (event) => {
  systemIsDark.value = event.matches;
});
export const isDark = computed(() => (theme.value ? theme.value === "dark" : systemIsDark.value));
effect(() => {
  document.documentElement.dataset.theme = isDark.value ? "dark" : "light";
});

const viewersZone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
const chosenZone = kept("zone", "");

const wantedZone = computed(() => [query.value.tz, chosenZone.value, viewersZone].find((each) => each && isZone(each)) ?? "UTC");
const refusedZones = signal([]);

/** The zone that should be, if the collector does not know it, else "". */
export const refusedZone = computed(() => (refusedZones.value.includes(wantedZone.value) ? wantedZone.value : ""));

/**
 * The name of the time zone in which all times are shown: of the address, else chosen, else the viewer's. It is
 * UTC where the collector does not know that one.
 */
export const zone = computed(() => (refusedZone.value ? "UTC" : wantedZone.value));

/** Note that the collector does not know a time zone. */
export function refuseZone(name) {
  if (name !== "UTC" && !refusedZones.peek().includes(name)) refusedZones.value = [...refusedZones.peek(), name];
}

export function chooseZone(name) {
  chosenZone.value = name;
  refusedZones.value = [];
}

export { viewersZone };

/** Tell whether the browser knows a time zone. */
export function isZone(name) {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
