/** What a place shows while there is nothing to show yet, nothing at all, or nothing any more. */

import { html } from "htm/preact";
import { Refused } from "../api.js";
import { clockSeconds } from "../times.js";
import { t } from "../words.js";

/** Grey lines where figures will be. */
export const Loading = ({ lines = 4 }) =>
  html`<div class="loading" role="status" aria-label=${t("state.loading")}>${Array.from({ length: lines }, (_, index) => html`<i key=${index}></i>`)}</div>`;

/** There is nothing, and why, and what to do. */
export const Empty = ({ text, children }) => html`<div class="empty"><p>${text}</p>${children}</div>`;

/** Something cannot be shown: what was expected, what came, what to do. */
export const Failed = ({ title, text, again }) => html`<div class="failed" role="alert">
  ${title && html`<h2>${title}</h2>`}<p>${text}</p>${again && html`<button class="button plain" onClick=${again}>${t("state.again")}</button>`}
</div>`;

/** Return what to say about an error of an answer. */
export function saidOf(error) {
  if (!(error instanceof Refused)) return t("state.unreachable");
  if (error.status === 401) return t("state.signedOut");
  if (error.status === 403) return t("state.forbidden");
  if (error.status === 503 || error.status === 429) return t("state.busy");
  if (error.status >= 500) return t("state.broken", { code: error.code });
  return error.message;
}

/**
 * The answer of `useAnswer`: `children` is a function of its data. `isEmpty(data)` tells whether there is
 * nothing, which `empty` then says.
 */
export function Answer({ of, children, empty, isEmpty, lines }) {
  const { state, data, error, at } = of.value;
  if (data === null) {
    return state === "failed" ? html`<${Failed} text=${saidOf(error)} again=${of.again} />` : html`<${Loading} lines=${lines} />`;
  }
  return html`<div class=${state === "changing" ? "answer changing" : "answer"} aria-busy=${state === "changing"}>
    ${state === "stale" && html`<p class="note warn" role="status">${t("state.stale", { time: clockSeconds(at), why: saidOf(error) })}</p>`}
    ${isEmpty?.(data) ? (typeof empty === "string" ? html`<${Empty} text=${empty} />` : empty) : children(data)}
  </div>`;
}
