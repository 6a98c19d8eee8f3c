/** Instances, or versions, side by side: one that differs is seen at once. */

import { html } from "htm/preact";
import { change, query } from "../address.js";
import { useAnswer } from "../answers.js";
import { Card } from "../parts/card.js";
import { Spark } from "../parts/spark.js";
import { Answer } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { range, stepOf } from "../range.js";
import { shown } from "../times.js";
import { t } from "../words.js";

/** Steps of the lines beside the figures: few, as instances are read from all their series. */
const POINTS = 24;

/** `field` is "instance" or "version". */
export function Sides({ scope, field, span = 6, onData }) {
  const asked = { ...scope, ...range.value.parameters, groupBy: field, step: stepOf(range.value.seconds, POINTS), limit: 50 };
  delete asked[field];
  const answer = useAnswer("/metrics/history", asked, { rarely: true });
  const rows = (answer.value.data?.groups ?? []).map((group) => sideOf(group, field));
  onData?.(rows);
  const columns = [
    { key: "name", title: t(`sides.${field}`), text: true, show: (row) => html`<button class="linkish" aria-pressed=${query.value[field] === row.name} onClick=${() => change({ [field]: query.value[field] === row.name ? "" : row.name }, { push: true })}><bdi>${row.name || t("versus.noVersion")}</bdi></button>${query.value[field] === row.name && html`<span class="sub2">${t("sides.chosen")}</span>`}` },
    { key: "rate", title: t("services.rate"), unit: "perSecond" },
    { key: "mean", title: t("sides.mean"), unit: "ms" },
    { key: "p95", title: t("sides.p95"), unit: "ms" },
    { key: "errorRate", title: t("services.errors"), unit: "ratio" },
    { key: "series", title: t("sides.series"), sorts: false, show: (row) => html`<${Spark} values=${row.series} />` },
  ];
  if (field === "version") columns.splice(1, 0, { key: "first", title: t("sides.first"), show: (row) => (row.first ? shown(row.first, { hour: "2-digit", minute: "2-digit", month: "short", day: "numeric" }) : "–") });
  return html`<${Card} title=${t(`sides.${field}s`)} span=${span}>
    <${Answer} of=${answer} isEmpty=${(data) => !data.groups.length} empty=${t("latency.none")}>
      ${(data) => html`<${Table} label=${t(`sides.${field}s`)} columns=${columns} rows=${rows} sort=${`sort-${field}`} first="rate" leftOut=${data.groupsLeftOut} rowKey=${(row) => row.name} />`}
    <//>
  <//>`;
}

/** Return the row of one side: sums are exact; its p95 is the middle of those of its steps. */
function sideOf({ group, requests, series }, field) {
  const seconds = series.reduce((sum, row) => sum + row.seconds, 0);
  const errors = series.reduce((sum, row) => sum + row.errors, 0);
  const time = series.reduce((sum, row) => sum + row.requests * (row.mean ?? 0), 0);
  const p95s = series.map((row) => row.p95).filter(Number.isFinite).sort((a, b) => a - b);
  return {
    name: group[field],
    first: series[0]?.t,
    rate: seconds ? requests / seconds : null,
    mean: requests ? time / requests : null,
    p95: p95s.length ? p95s[Math.floor(p95s.length / 2)] : null,
    errorRate: requests ? errors / requests : null,
    series: series.map((row) => row.p95),
  };
}
