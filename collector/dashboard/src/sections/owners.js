/** Whose processes a page of the inside shows: a service, an instance. */

import { html } from "htm/preact";
import { change, query } from "../address.js";
import { useAnswer } from "../answers.js";
import { range } from "../range.js";
import { t } from "../words.js";
import { Chosen } from "./opening.js";

/** Return the filters of the address that gauges and measures have. */
export function owners() {
  const { environment, service, instance } = query.value;
  return { environment, service, instance };
}

/** The title of a page, and a choice of service. */
export function OwnersHead({ title, lede, fields = ["instance"] }) {
  const { environment, service = "" } = query.value;
  const answer = useAnswer("/services", { environment, ...range.value.parameters, limit: 200 }, { everyMs: 60_000 });
  const names = [...new Set((answer.value.data?.services ?? []).map((each) => each.service))].sort();
  const all = service && !names.includes(service) ? [service, ...names] : names;
  return html`<div class="title"><h1>${title}</h1>
      <label class="pick"><small>${t("services.service")}</small><select value=${service} onChange=${(event) => change({ service: event.target.value, instance: "" }, { push: true })}>
        <option value="">${t("owners.all")}</option>${all.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
      </select></label></div>
    ${lede && html`<p class="lede">${lede}</p>`}
    <${Chosen} scope=${query.value} fields=${fields} />`;
}
