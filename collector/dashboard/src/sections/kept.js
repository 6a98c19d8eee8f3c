/** Requests that were kept whole: a table, and the timeline of one. */

import { html } from "htm/preact";
import { href } from "../address.js";
import { LISTS, useAnswer } from "../answers.js";
import { written } from "../figures.js";
import { Card } from "../parts/card.js";
import { CsvButton } from "../parts/csv.js";
import { Figure } from "../parts/figure.js";
import { Dot } from "../parts/icons.js";
import { Shares } from "../parts/spark.js";
import { Answer } from "../parts/states.js";
import { rowsOf, Table } from "../parts/table.js";
import { range } from "../range.js";
import { moment } from "../times.js";
import { named, t } from "../words.js";

/** Return ms by part of a kept request; what no part accounts for is the app's own. */
export function partsOf(request) {
  const database = request.database.time;
  const cache = request.cache.time;
  const external = request.external.time;
  return { app: Math.max(0, request.duration - database - cache - external), database, cache, external, queue: request.queue };
}

export function Kept({ scope, filters = {}, span = 12, limit = 10, title = t("kept.title") }) {
  const { environment, service, route, method, version, instance } = scope;
  const answer = useAnswer("/slow-requests", { environment, service, route, method, version, instance, ...range.value.parameters, by: "duration", limit, ...filters }, { slower: LISTS });
  const columns = keptColumns();
  return html`<${Card} title=${title} span=${span} tools=${html`<${CsvButton} name="requests" rows=${() => rowsOf(columns, answer.value.data?.requests ?? [])} />`}>
    <${Answer} of=${answer} isEmpty=${(data) => !data.requests.length} empty=${t("kept.none")}>
      ${(data) => html`<${Table} label=${title} columns=${columns} rows=${data.requests} sort="sort-kept" first="duration" leftOut=${data.requestsLeftOut} rowKey=${(row) => row.id} />`}
    <//>
  <//>`;
}

export function keptColumns() {
  return [
    {
      key: "route",
      title: t("kept.request"),
      text: true,
      value: (row) => `${row.method} ${row.route}`,
      show: (row) => html`<${Dot} state=${row.status >= 500 || row.error ? "critical" : "warning"} label=${named("reason", row.reason)} /><a href=${href("request", { id: row.id })}><bdi>${row.method} ${row.route}</bdi></a><span class="sub2"><bdi>${row.service}</bdi></span>`,
    },
    { key: "duration", title: t("kept.duration"), unit: "ms" },
    { key: "status", title: t("kept.status"), show: (row) => row.status },
    { key: "parts", title: t("kept.parts"), sorts: false, value: (row) => partsOf(row), show: (row) => html`<${Shares} shares=${partsOf(row)} />` },
    {
      key: "error",
      title: t("kept.error"),
      text: true,
      show: (row) => row.error && html`<b><bdi>${row.error}</bdi></b> <code><bdi>${row.errorSite}</bdi></code>`,
    },
    { key: "at", title: t("kept.when"), value: (row) => Date.parse(row.at), show: (row) => moment(row.at) },
  ];
}

/** What the collector calls parts of a timeline (SPANS of contract/requests.py), as the page draws them. */
const PART_OF = { db: "database", cache: "cache", external: "external" };

/** What took time in a request, each beginning where it began; times are in ms from the start. */
export function Timeline({ request }) {
  const end = Math.max(request.duration, ...request.timeline.map((each) => each.start + each.duration), 0.001);
  const share = (ms) => `${(Math.max(0, ms) / end) * 100}%`;
  const spans = [{ what: "request", start: 0, duration: request.duration, text: `${request.method} ${request.route}` }, ...request.timeline];
  return html`<div class="timeline" role="table" aria-label=${t("timeline.title")}>
    <div class="scale" aria-hidden="true">${[0, 0.25, 0.5, 0.75, 1].map((at) => html`<span key=${at} style=${{ left: `${at * 100}%` }}>${written(end * at, "ms")}</span>`)}</div>
    ${spans.map(
      (each, index) => html`<div class="row" role="row" key=${index}>
        <span class="what" role="cell"><bdi>${each.text || named("part", PART_OF[each.what])}</bdi></span>
        <span class="lane" role="cell" aria-label=${t("timeline.span", { start: written(each.start, "ms"), duration: written(each.duration, "ms") })}><i class=${PART_OF[each.what] ?? "app"} style=${{ left: share(each.start), width: share(each.duration) }}></i></span>
        <span class="took" role="cell"><${Figure} value=${each.duration} unit="ms" /></span>
      </div>`,
    )}
    ${request.timelineLeftOut > 0 && html`<p class="hint">${t("timeline.leftOut", { count: request.timelineLeftOut })}</p>`}
  </div>`;
}
