/** Calls to other services, and what agents look at. */

import { html } from "htm/preact";
import { useAnswer } from "../answers.js";
import { Card } from "../parts/card.js";
import { CsvButton } from "../parts/csv.js";
import { Answer, Empty } from "../parts/states.js";
import { rowsOf, Table } from "../parts/table.js";
import { Tile } from "../parts/tile.js";
import { range } from "../range.js";
import { callColumns } from "../sections/calls.js";
import { MeasuresOverTime } from "../sections/overtime.js";
import { owners, OwnersHead } from "../sections/owners.js";
import { errorsText, Targets } from "../sections/targets.js";
import { t } from "../words.js";

const DURATION = ["http.client.request.duration"];
const PROBED = [
  ["trimtab.probe.http.duration", "external.answered", "s"],
  ["trimtab.probe.http.status", "kept.status", "count"],
  ["trimtab.probe.duration", "external.read", "s"],
];

export default function External() {
  const filters = owners();
  const answer = useAnswer("/external", { ...filters, ...range.value.parameters, limit: 100 });
  const data = answer.value.data;
  const columns = [
    { key: "host", title: t("external.host"), text: true, value: (row) => hostText(row) },
    ...callColumns(data?.calls.totalTime),
    { key: "codes", title: t("external.codes"), text: true, value: (row) => errorsText(row.statusCodes) },
    { key: "failed", title: t("external.failed"), text: true, value: (row) => errorsText(row.errors) },
  ];
  const methods = (data?.hosts ?? []).flatMap((host) => host.methods.map((each) => ({ ...each, host: hostText(host) })));
  return html`<${OwnersHead} title=${t("page.external")} lede=${t("external.lede")} />
    <${Answer} of=${answer} lines=${3}>${({ calls }) => html`<div class="tiles">
      <${Tile} name=${t("external.calls")} value=${calls.perSecond} unit="perSecond" /><${Tile} name="p95" value=${calls.p95} unit="ms" />
      <${Tile} name=${t("services.errors")} value=${calls.errorRate} unit="ratio" kind=${calls.errorRate > 0.05 ? "bad" : ""} /></div>`}<//>
    <div class="grid">
      <${MeasuresOverTime} title=${t("external.rate")} names=${DURATION} groupBy=${["server.address"]} unit="perSecond" filters=${filters} />
      <${MeasuresOverTime} title=${t("external.p95")} names=${DURATION} groupBy=${["server.address"]} figure="p95" unit="s" filters=${filters} />
      <${Card} title=${t("external.hosts")} tools=${html`<${CsvButton} name="hosts" rows=${() => rowsOf(columns, data?.hosts ?? [])} />`}>
        <${Answer} of=${answer} isEmpty=${(found) => !found.hosts.length} empty=${t("external.none")}>
          ${(found) => html`<${Table} label=${t("external.hosts")} columns=${columns} rows=${found.hosts} sort="sort" first="totalTime" leftOut=${found.hostsLeftOut} rowKey=${hostText} />`}
        <//>
      <//>
      ${methods.length > 0 && html`<${Card} title=${t("external.methods")}><${Table} label=${t("external.methods")} rows=${methods} sort="sort-methods" first="totalTime" columns=${[
        { key: "host", title: t("external.host"), text: true },
        { key: "method", title: t("field.method"), text: true },
        { key: "outcome", title: t("external.outcome"), text: true, value: (row) => row.error ?? String(row.status ?? "") },
        ...callColumns(data.calls.totalTime),
      ]} /><//>`}
      <${Card} title=${t("external.probed")} sub=${t("targets.sub")}>
        <${Answer} of=${answer}>${(found) => (found.dependencies.length ? html`<${Targets} label=${t("external.probed")} targets=${found.dependencies} columns=${PROBED} />` : html`<${Empty} text=${t("external.noProbes")} />`)}<//>
      <//>
    </div>`;
}

const hostText = (row) => (row.port ? `${row.host}:${row.port}` : row.host);
