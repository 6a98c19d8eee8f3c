/** Where the time of requests goes, over time: five parts, in the order and colours that they have everywhere. */

import { html } from "htm/preact";
import { Card } from "../parts/card.js";
import { Chart } from "../parts/chart.js";
import { PARTS } from "../parts/spark.js";
import { Answer } from "../parts/states.js";
import { timesOf } from "../scope.js";
import { t } from "../words.js";

export function TimeGoes({ history, span = 12 }) {
  return html`<${Card} title=${t("where.title")} sub=${t("where.sub")} span=${span}>
    <${Answer} of=${history} lines=${6} isEmpty=${(data) => !data.series.some((row) => row.timeIn)} empty=${t("latency.none")}>
      ${({ series: rows }) => html`<${Chart} label=${t("where.title")} unit="ms" height=${180} times=${timesOf(rows)}
        series=${PARTS.map((part) => ({ key: part, title: t(`part.${part}`), kind: "area", colour: part, values: rows.map((row) => row.timeIn?.[part] ?? null) }))} />`}
    <//>
  <//>`;
}
