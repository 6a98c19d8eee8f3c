/** Requests, and the share of them that failed. */

import { html } from "htm/preact";
import { Card } from "../parts/card.js";
import { Chart } from "../parts/chart.js";
import { Answer } from "../parts/states.js";
import { timesOf, valuesOf } from "../scope.js";
import { t } from "../words.js";

export function Traffic({ history, moments, span = 4, height = 118 }) {
  return html`<${Card} title=${t("traffic.title")} span=${span}>
    <${Answer} of=${history} lines=${8}>
      ${({ series: rows }) => html`
        <${Chart} label=${t("traffic.rate")} unit="perSecond" height=${height} times=${timesOf(rows)} marks=${moments.marks}
          series=${[{ key: "rate", title: t("traffic.rate"), values: valuesOf(rows, "requestsPerSecond") }]} />
        <${Chart} label=${t("traffic.errors")} unit="ratio" height=${height} floor=${0.01} times=${timesOf(rows)} spans=${moments.spansOf(["errorRate"])} lines=${moments.linesOf("errorRate", "ratio")}
          series=${[{ key: "errors", title: t("traffic.errors"), colour: "crit", values: valuesOf(rows, "errorRate") }]} />`}
    <//>
  <//>`;
}
