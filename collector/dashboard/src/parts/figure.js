/** A figure with its unit in lighter ink; a dash with the reason where there is none. */

import { html } from "htm/preact";
import { DASH, figure } from "../figures.js";
import { t } from "../words.js";

export function Figure({ value, unit, why }) {
  const { text, unit: suffix, gap } = figure(value, unit);
  if (text === DASH) return html`<span class="none" title=${why ?? t("figure.none")}>${DASH}</span>`;
  return html`<span class="figure">${text}${suffix && html`${gap}<small>${suffix}</small>`}</span>`;
}
