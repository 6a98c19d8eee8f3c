/**
 * The address of the page, which holds the whole view: page, range, filters, selection.
 *
 * `page` is the first part of the path below the dashboard's own ("" is the overview), `query` its
 * parameters by name. Links between pages keep environment, range and time zone.
 */

import { computed, signal } from "@preact/signals";
import { queryOf } from "./wire.js";
import { HOME } from "./base.js";

/** What every link to another page takes along. */
const KEPT = ["environment", "from", "to", "tz"];

const here = signal(location.href);

export const page = computed(() => {
  const path = new URL(here.value).pathname;
  return decoded(path.slice(HOME.length)).replace(/^\/+|\/+$/g, "");
});

export const query = computed(() => Object.fromEntries(new URL(here.value).searchParams));

/** What stands behind #, which only signing in uses. */
export const fragment = () => new URLSearchParams(location.hash.slice(1));

/** Return the address of a page with parameters, and with what every link keeps. */
export function href(name, parameters = {}) {
  const kept = Object.fromEntries(KEPT.map((each) => [each, query.value[each]]));
  return `${HOME}/${name}${queryOf({ ...kept, ...parameters })}`;
}

/** Return the address of a link of the API: {page, params}. */
export const hrefOf = (link) => href(link.page === "overview" ? "" : link.page, link.params);

/** Go to a page; "back" returns from it. */
export function go(name, parameters = {}) {
  opened(href(name, parameters));
}

/** Go where a link of the API leads. */
export function follow(link) {
  opened(hrefOf(link));
}

function opened(address) {
  moved(address, true);
  scrollTo(0, 0);
}

/**
 * Change parameters of this page; undefined and "" remove one. A step that "back" should undo, such
 * as a zoom, is kept in the history (`push`); typing in a filter is not.
 */
export function change(parameters, { push = false } = {}) {
  const all = { ...query.peek(), ...parameters };
  moved(`${HOME}/${page.peek()}${queryOf(all)}`, push);
}

/** Remove what stands behind #: a sign-in link is good once and no one should copy it. */
export function dropFragment() {
  moved(location.pathname + location.search, false);
}

function moved(address, push) {
  if (address === location.pathname + location.search + location.hash) return;
  history[push ? "pushState" : "replaceState"](null, "", address);
  here.value = location.href;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

addEventListener("popstate", () => {
  here.value = location.href;
});

// Plain links work as everywhere (new tab, copy); a plain click stays on the page.
addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button || link.target || link.download) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const to = new URL(link.href);
  if (to.origin !== location.origin || !`${to.pathname}/`.startsWith(`${HOME}/`)) return;
  event.preventDefault();
  opened(to.pathname + to.search);
});
