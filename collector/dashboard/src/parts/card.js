/** A card: a title, what belongs to it, and a way to take its figures along. */

import { html } from "htm/preact";
import { useErrorBoundary, useId } from "preact/hooks";
import { t } from "../words.js";
import { Failed } from "./states.js";

/**
 * `span` is how many of twelve columns it takes, `tools` what stands at the right of its title. What fails
 * inside shows there, not on the whole page.
 */
export function Card({ title, sub, span = 12, tools, kind = "", children }) {
  const id = useId();
  const [error, reset] = useErrorBoundary((found) => console.error(found));
  return html`<section class=${`card span-${span} ${kind}`} aria-labelledby=${title ? id : null}>
    ${title && html`<div class="head"><h2 id=${id}>${title}${sub && html` <span class="sub">${sub}</span>`}</h2><span class="space"></span>${tools}</div>`}
    ${error ? html`<${Failed} text=${t("state.cardFailed")} again=${reset} />` : children}
  </section>`;
}
