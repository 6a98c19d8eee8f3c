/** What the analysis found. */

import { html } from "htm/preact";
import { href } from "../address.js";

/** What the analysis found, each with its evidence. */
export function Issues({ issues }) {
  return html`${issues.map(
    (each, index) => html`<div class="event" key=${index}><i class=${`dot ${each.severity === "high" ? "critical" : "warning"}`}></i>
      <div><p>${each.description}</p><p><small>${each.recommendation}</small></p>
        <ul class="notes">${each.evidence.map((found, at) => html`<li key=${at}>${found.where?.route ? html`<a href=${href("route", found.where)}><bdi>${found.where.method} ${found.where.route}</bdi></a>: ` : ""}<bdi>${found.text}</bdi>${found.site && html` <code><bdi>${found.site}</bdi></code>`}</li>`)}</ul></div></div>`,
  )}`;
}
