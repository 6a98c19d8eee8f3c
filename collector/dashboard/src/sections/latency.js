/** Response times: one hue for all percentiles, with what happened drawn in. */

import { html } from "htm/preact";
import { Card } from "../parts/card.js";
import { Chart } from "../parts/chart.js";
import { Answer } from "../parts/states.js";
import { timesOf, valuesOf } from "../scope.js";
import { t } from "../words.js";

/** Metrics of rules that this chart shows. */
const LATENCY = ["responseTime", "p50", "p90", "p95", "p99", "p999", "mean", "max"];

/** `history` is an answer of /metrics/history; `moments` comes from useMoments. */
export function Latency({ history, moments, span = 8, sub, height = 260 }) {
  return html`<${Card} title=${t("latency.title")} sub=${sub} span=${span}>
    <${Answer} of=${history} lines=${8} isEmpty=${(data) => !data.series.some((row) => row.requests)} empty=${t("latency.none")}>
      ${({ series: rows }) => html`<${Chart} label=${t("latency.title")} unit="ms" height=${height} times=${timesOf(rows)} series=${percentiles(rows)}
        marks=${moments.marks} spans=${moments.spansOf(LATENCY)} lines=${moments.linesOf("responseTime", "ms")} />`}
    <//>
  <//>`;
}

function percentiles(rows) {
  return [
    { key: "p50", title: "p50", kind: "strong", values: valuesOf(rows, "p50") },
    { key: "p95", title: "p95", kind: "band", to: "p50", values: valuesOf(rows, "p95") },
    { key: "p99", title: "p99", kind: "thin", colour: "crit", values: valuesOf(rows, "p99") },
  ];
}
