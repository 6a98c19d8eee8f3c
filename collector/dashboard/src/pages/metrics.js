/** The apps' own metrics: pick, group, plot; totals since local midnight. */

import { html } from "htm/preact";
import { change, query } from "../address.js";
import { useAnswer } from "../answers.js";
import { number, written } from "../figures.js";
import { Card } from "../parts/card.js";
import { CsvButton } from "../parts/csv.js";
import { Answer, Empty } from "../parts/states.js";
import { rowsOf, Table } from "../parts/table.js";
import { range } from "../range.js";
import { MeasuresOverTime } from "../sections/overtime.js";
import { owners, OwnersHead } from "../sections/owners.js";
import { zone } from "../settings.js";
import { now } from "../times.js";
import { named, t } from "../words.js";

const FIGURES = { counter: ["perSecond", "sum"], gauge: ["last", "mean", "max"], histogram: ["p95", "p50", "p99", "mean", "perSecond"] };

export default function Metrics() {
  const filters = owners();
  const answer = useAnswer("/custom", { ...filters, ...range.value.parameters, limit: 2000 });
  const today = useAnswer("/custom", { ...filters, from: `${localDay()}T00:00:00`, tz: zone.value, limit: 2000 }, { everyMs: 30_000 });
  return html`<${OwnersHead} title=${t("page.metrics")} lede=${t("metrics.lede")} />
    <${Answer} of=${answer} lines=${8} isEmpty=${(data) => !data.metrics.length} empty=${html`<${Empty} text=${t("metrics.none")}><pre><code>from trimtab import Counter${"\n"}orders = Counter("orders_total", "Orders placed", ["country"])${"\n"}orders.labels("KR").inc()</code></pre><//>`}>
      ${(data) => html`<${Picked} metrics=${data.metrics} today=${today.value.data?.metrics ?? []} filters=${filters} leftOut=${data.metricsLeftOut} />`}
    <//>`;
}

/** Return today's date in the chosen zone, as ISO has it. */
const localDay = () => new Intl.DateTimeFormat("sv-SE", { timeZone: zone.value, dateStyle: "short" }).format(now.peek());

function Picked({ metrics, today, filters, leftOut }) {
  const names = [...new Map(metrics.map((each) => [each.name, each])).values()];
  const chosen = names.find((each) => each.name === query.value.name) ?? names[0];
  const labels = [...new Set(metrics.filter((each) => each.name === chosen.name).flatMap((each) => Object.keys(each.labels)))];
  const groupBy = (query.value.groupBy ?? labels[0] ?? "").split(",").filter((each) => labels.includes(each));
  const choices = FIGURES[chosen.kind] ?? FIGURES.counter;
  const shownFigure = choices.includes(query.value.figure) ? query.value.figure : choices[0];
  return html`<div class="grid">
    <${Card} title=${t("metrics.plot")} span=${12} tools=${html`
      <label class="pick"><small>${t("metrics.metric")}</small><select value=${chosen.name} onChange=${(event) => change({ name: event.target.value, groupBy: "", figure: "" }, { push: true })}>${names.map((each) => html`<option key=${each.name} value=${each.name}>${each.name}</option>`)}</select></label>
      <label class="pick"><small>${t("metrics.groupBy")}</small><select value=${groupBy[0] ?? ""} onChange=${(event) => change({ groupBy: event.target.value || "none" })}><option value="">${t("metrics.together")}</option>${labels.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select></label>
      <label class="pick"><small>${t("metrics.figure")}</small><select value=${shownFigure} onChange=${(event) => change({ figure: event.target.value })}>${choices.map((each) => html`<option key=${each} value=${each}>${named("measure", each)}</option>`)}</select></label>`}>
      <${MeasuresOverTime} key=${chosen.name} names=${[chosen.name]} groupBy=${groupBy} figure=${shownFigure} unit=${shownFigure === "perSecond" ? "perSecond" : chosen.unit || "count"} filters=${filters} height=${260} span=${12} />
    <//>
    <${All} metrics=${metrics} today=${today} leftOut=${leftOut} />
  </div>`;
}

function All({ metrics, today, leftOut }) {
  const keyOf = (each) => `${each.name} ${JSON.stringify(each.labels)}`;
  const totals = new Map(today.map((each) => [keyOf(each), each]));
  const columns = [
    { key: "name", title: t("metrics.metric"), text: true, show: (row) => html`<button class="linkish" onClick=${() => (change({ name: row.name, groupBy: "", figure: "" }, { push: true }), scrollTo(0, 0))}><bdi>${row.name}</bdi></button><span class="sub2"><bdi>${labelsText(row.labels)}</bdi></span>` },
    { key: "kind", title: t("metrics.kind"), text: true, value: (row) => named("metricKind", row.kind) },
    { key: "value", title: t("metrics.value"), show: (row) => html`${written(row.value, row.unit || "count")}${row.kind === "histogram" && html` <small>${t("metrics.meanOf")}</small>`}` },
    { key: "p95", title: "p95", value: (row) => row.p95, show: (row) => written(row.p95, row.unit || "count") },
    { key: "today", title: t("metrics.today"), value: (row) => (row.kind === "gauge" ? null : (totals.get(keyOf(row))?.[row.kind === "counter" ? "sum" : "count"] ?? null)), show: (row) => (row.kind === "gauge" ? html`<span class="none" title=${t("metrics.gaugeToday")}>–</span>` : number(totals.get(keyOf(row))?.[row.kind === "counter" ? "sum" : "count"] ?? NaN)) },
    { key: "instances", title: t("metrics.instances") },
  ];
  return html`<${Card} title=${t("metrics.all")} sub=${t("metrics.midnight")} tools=${html`<${CsvButton} name="metrics" rows=${() => rowsOf(columns, metrics)} />`}>
    <${Table} label=${t("metrics.all")} columns=${columns} rows=${metrics} sort="sort" first="name" leftOut=${leftOut} rowKey=${keyOf} />
  <//>`;
}

const labelsText = (labels) => Object.entries(labels).map(([name, value]) => `${name}=${value}`).join(" ");
