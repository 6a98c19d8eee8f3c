/** What the analysis found. */

import { html } from "htm/preact";
import { Evidence } from "../parts/evidence.js";

/** What the analysis found, each with its evidence. */
export function Issues({ issues }) {
  return html`${issues.map(
    (each, index) => html`<div class="event" key=${index}><i class=${`dot ${each.severity === "high" ? "critical" : "warning"}`}></i>
      <div><p>${each.description}</p><p><small>${each.recommendation}</small></p>
        <${Evidence} list=${each.evidence} /></div></div>`,
  )}`;
}
