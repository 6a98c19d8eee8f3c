/** Instances, or versions, side by side: one that differs is seen at once. */

import { html } from "htm/preact";
import { change, query } from "../address.js";
import { LISTS, useAnswer } from "../answers.js";
import { Card } from "../parts/card.js";
import { Spark } from "../parts/spark.js";
import { Answer } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { range, stepOf } from "../range.js";
import { shown } from "../times.js";
import { t } from "../words.js";

/** Steps of the lines beside the figures: few, as instances are read from all their series. */
const POINTS = 24;
const DATE = { hour: "2-digit", minute: "2-digit", month: "short", day: "numeric" };

/** Return the answer for the sides of a service or route; `field` is "instance" or "version". */
export function useSides(scope, field) {
  const asked = { ...scope, ...range.value.parameters, groupBy: field, step: stepOf(range.value.seconds, POINTS), limit: 50 };
  delete asked[field];
  return useAnswer(scope.service ? "/metrics/history" : null, asked, { slower: LISTS });
}

/** Return the names of the sides of an answer of `useSides`, the one that was seen first first. */
export function sideNames(answer, field) {
  const firsts = (answer.value.data?.groups ?? []).map((each) => [each.series[0]?.t ?? "", each.group[field]]);
  return firsts.sort(([one], [other]) => one.localeCompare(other)).map(([, name]) => name);
}

/** `answer` is that of `useSides` for the same field. */
export function Sides({ answer, field, span = 6 }) {
  const overall = (name) => (row) => row.overall[name];
  const columns = [
    {
      key: "name",
      title: t(`sides.${field}`),
      text: true,
      value: (row) => row.group[field],
      show: (row) => html`<${Name} name=${row.group[field]} field=${field} />`,
    },
    ...(field === "version"
      ? [{ key: "first", title: t("sides.first"), value: (row) => row.series[0]?.t, show: (row) => shown(row.series[0]?.t, DATE) || "–" }]
      : []),
    { key: "rate", title: t("services.rate"), value: overall("requestsPerSecond"), unit: "perSecond" },
    { key: "mean", title: t("sides.mean"), value: overall("mean"), unit: "ms" },
    { key: "p95", title: "p95", value: overall("p95"), unit: "ms" },
    { key: "errorRate", title: t("services.errors"), value: overall("errorRate"), unit: "ratio" },
    {
      key: "series",
      title: t("sides.series"),
      sorts: false,
      value: (row) => row.series.map((each) => each.p95),
      show: (row) => html`<${Spark} values=${row.series.map((each) => each.p95)} />`,
    },
  ];
  return html`<${Card} title=${t(`sides.${field}s`)} span=${span}>
    <${Answer} of=${answer} isEmpty=${(data) => !data.groups.length} empty=${t("latency.none")}>
      ${(data) => html`<${Table} label=${t(`sides.${field}s`)} columns=${columns} rows=${data.groups} sort=${`sort-${field}`} first="rate"
        leftOut=${data.groupsLeftOut} rowKey=${(row) => row.group[field]} />`}
    <//>
  <//>`;
}

/** A name that chooses its side for the page, and drops the choice again. */
function Name({ name, field }) {
  const isChosen = query.value[field] === name;
  const choose = () => change({ [field]: isChosen ? "" : name }, { push: true });
  return html`<button class="linkish" aria-pressed=${isChosen} onClick=${choose}><bdi>${name || t("versus.noVersion")}</bdi></button>
    ${isChosen && html`<span class="sub2">${t("sides.chosen")}</span>`}`;
}
