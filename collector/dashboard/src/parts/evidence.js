/** What was measured: each piece with what it is about, its statement, and the line of code to look at. */

import { html } from "htm/preact";
import { href } from "../address.js";
import { t } from "../words.js";

/** The line of the app to look at first; small, what it goes by way of or was called from. */
export function CodeLine({ line, helper, caller }) {
  return html`<code><b><bdi>${line}</bdi></b></code>${helper
    ? html` <small>${t("queries.way")} <code><bdi>${helper}</bdi></code></small>`
    : caller && html` <small>${t("queries.from")} <code><bdi>${caller}</bdi></code></small>`}`;
}

export function Evidence({ list }) {
  return html`<ul class="notes">${list.map(
    (each, at) => html`<li key=${at}><${Subject} where=${each.where} /><bdi>${each.text}</bdi>
      ${each.query && html` <code><bdi>${each.query}</bdi></code>`}
      ${each.site && html` <${CodeLine} line=${each.site} helper=${each.helper} caller=${each.caller} />`}</li>`,
  )}</ul>`;
}

/** What a figure is of: a route, a process, a server or a service. */
function Subject({ where = {} }) {
  const { environment, service, route, method, instance, target } = where;
  if (route) return html`<a href=${href("route", { environment, service, route, method })}><bdi>${`${method ?? ""} ${route}`.trim()}</bdi></a>: `;
  const name = target || instance || service || environment;
  if (!name) return "";
  return html`<bdi>${name}</bdi>${service && service !== name && html` (<bdi>${service}</bdi>)`}: `;
}
