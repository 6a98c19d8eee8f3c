/** All services: how they do, and where their time goes. */

import { html } from "htm/preact";
import { href, query } from "../address.js";
import { useAnswer } from "../answers.js";
import { Card } from "../parts/card.js";
import { CsvButton } from "../parts/csv.js";
import { Answer } from "../parts/states.js";
import { rowsOf, Table } from "../parts/table.js";
import { range } from "../range.js";
import { Versus } from "../sections/versus.js";
import { t } from "../words.js";

export default function Services() {
  const { environment } = query.value;
  const answer = useAnswer("/services", { environment, ...range.value.parameters, limit: 500 });
  const columns = [
    { key: "service", title: t("services.service"), text: true, show: (row) => html`<a href=${href("service", { environment: row.environment, service: row.service })}><bdi>${row.service}</bdi></a><span class="sub2"><bdi>${row.environment}</bdi></span>` },
    { key: "requestsPerSecond", title: t("services.rate"), unit: "perSecond" },
    { key: "p50", title: "p50", unit: "ms" },
    { key: "p95", title: "p95", unit: "ms" },
    { key: "p99", title: "p99", unit: "ms" },
    { key: "errorRate", title: t("services.errors"), unit: "ratio" },
  ];
  return html`<h1>${t("page.services")}</h1>
    <div class="grid"><${Card} title=${t("page.services")} tools=${html`<${CsvButton} name="services" rows=${() => rowsOf(columns, answer.value.data?.services ?? [])} />`}>
      <${Answer} of=${answer} isEmpty=${(data) => !data.services.length} empty=${t("services.none")}>
        ${(data) => html`<${Table} label=${t("page.services")} columns=${columns} rows=${data.services} sort="sort" first="requestsPerSecond" leftOut=${data.servicesLeftOut} rowKey=${(row) => `${row.environment} ${row.service}`} />`}
      <//>
    <//>
    <${Versus} scope=${{ environment }} /></div>`;
}
