/** Small drawings inside of tables and tiles: a line of values, and where time goes. */

import { html } from "htm/preact";
import { written } from "../figures.js";
import { t } from "../words.js";

/** A line of values (numbers or null, evenly spaced); gaps stay gaps. */
export function Spark({ values, kind = "", width = 96, height = 26, label }) {
  const known = (values ?? []).filter(Number.isFinite);
  if (known.length < 2) return html`<span class="spark none" aria-hidden="true"></span>`;
  const low = Math.min(...known);
  const spread = Math.max(...known) - low || 1;
  const step = width / Math.max(1, values.length - 1);
  let pen = "M";
  let path = "";
  values.forEach((value, index) => {
    if (!Number.isFinite(value)) {
      // One step without a value is the rhythm of what arrives, two are a gap.
      if (!Number.isFinite(values[index + 1])) pen = "M";
      return;
    }
    path += `${pen}${(index * step).toFixed(1)} ${(height - 3 - ((value - low) / spread) * (height - 6)).toFixed(1)}`;
    pen = "L";
  });
  return html`<svg class=${`spark ${kind}`} viewBox=${`0 0 ${width} ${height}`} preserveAspectRatio="none" role=${label ? "img" : null} aria-label=${label} aria-hidden=${label ? null : "true"}><path d=${path} /></svg>`;
}

/** The five parts of a request's time, in the order and colours that they have everywhere. */
export const PARTS = ["app", "database", "cache", "external", "queue"];

/** Where time goes: `shares` by part, which may be shares or ms. */
export function Shares({ shares }) {
  const sum = PARTS.reduce((all, part) => all + Math.max(0, shares?.[part] ?? 0), 0);
  if (!sum) return html`<span class="none">–</span>`;
  const said = PARTS.filter((part) => shares[part] > 0).map((part) => `${t(`part.${part}`)} ${written(shares[part] / sum, "ratio")}`);
  return html`<span class="shares" role="img" aria-label=${said.join(", ")} title=${said.join(", ")}>
    ${PARTS.map((part) => html`<i key=${part} class=${part} style=${{ width: `${(Math.max(0, shares[part] ?? 0) / sum) * 100}%` }}></i>`)}
  </span>`;
}

/** What the colours of `Shares` mean. */
export const SharesKey = () => html`<span class="key">${PARTS.map((part) => html`<span key=${part}><i class=${part}></i>${t(`part.${part}`)}</span>`)}</span>`;
