/** The distribution of response times over time; a cell opens the requests that were kept in it. */

import { html } from "htm/preact";
import { go } from "../address.js";
import { TABLES, useAnswer } from "../answers.js";
import { Card } from "../parts/card.js";
import { Heatmap } from "../parts/heatmap.js";
import { Answer } from "../parts/states.js";
import { range, stepOf } from "../range.js";
import { t } from "../words.js";

export function Heat({ scope, moments, span = 8 }) {
  const answer = useAnswer("/heatmap", { ...scope, ...range.value.parameters, step: stepOf(range.value.seconds, 90), buckets: 28 }, { slower: TABLES });
  function open({ fromMs, toMs, lower, upper }) {
    go("requests", { ...scope, from: new Date(fromMs).toISOString(), to: new Date(toMs).toISOString(), minDuration: lower, maxDuration: upper });
  }
  return html`<${Card} title=${t("heat.title")} sub=${t("heat.sub")} span=${span}>
    <${Answer} of=${answer} lines=${8} isEmpty=${(data) => !data.requests} empty=${t("latency.none")}>
      ${(data) => html`<${Heatmap} map=${data} open=${open} label=${t("heat.title")} marks=${moments.marks} />`}
    <//>
  <//>`;
}
