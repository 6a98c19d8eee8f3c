/** The routes of a service. */

import { html } from "htm/preact";
import { href } from "../address.js";
import { TABLES, useAnswer } from "../answers.js";
import { Card } from "../parts/card.js";
import { CsvButton } from "../parts/csv.js";
import { Answer } from "../parts/states.js";
import { rowsOf, Table } from "../parts/table.js";
import { range } from "../range.js";
import { t } from "../words.js";

export function Routes({ scope, span = 12 }) {
  const answer = useAnswer("/routes", { ...scope, ...range.value.parameters, limit: 200 }, { slower: TABLES });
  const rows = (answer.value.data?.routes ?? []).filter((row) => row.kind === "request");
  const open = (answer.value.data?.routes ?? []).filter((row) => row.kind !== "request");
  const total = rows.reduce((sum, row) => sum + row.totalTime, 0);
  const link = (row) => html`<a href=${href("route", { ...scope, environment: row.environment, service: row.service, route: row.route, method: row.method })}><bdi>${row.method} ${row.route || t("routes.unmatched")}</bdi></a>`;
  const columns = [
    { key: "route", title: t("routes.route"), text: true, value: (row) => `${row.method} ${row.route}`, show: link },
    { key: "requestsPerSecond", title: t("services.rate"), unit: "perSecond" },
    { key: "p50", title: "p50", unit: "ms" },
    { key: "p95", title: "p95", unit: "ms" },
    { key: "p99", title: "p99", unit: "ms" },
    { key: "max", title: t("routes.max"), unit: "ms" },
    { key: "errorRate", title: t("services.errors"), unit: "ratio" },
    { key: "totalTime", title: t("routes.share"), value: (row) => (total ? row.totalTime / total : null), unit: "ratio" },
  ];
  const held = [
    { key: "route", title: t("routes.route"), text: true, show: (row) => html`<bdi>${row.route}</bdi><span class="sub2">${t(`kind.${row.kind}`)}</span>` },
    { key: "connections", title: t("routes.connections") },
    { key: "openMean", title: t("routes.open"), unit: "ms" },
  ];
  return html`<${Card} title=${t("routes.title")} span=${span} tools=${html`<${CsvButton} name="routes" rows=${() => rowsOf(columns, rows)} />`}>
    <${Answer} of=${answer} isEmpty=${(data) => !data.routes.length} empty=${t("latency.none")}>
      ${(data) => html`<${Table} label=${t("routes.title")} columns=${columns} rows=${rows} sort="sort" first="totalTime" leftOut=${data.routesLeftOut} rowKey=${(row) => `${row.environment} ${row.service} ${row.method} ${row.route}`} />
        ${open.length > 0 && html`<h3>${t("routes.held")}</h3><${Table} label=${t("routes.held")} columns=${held} rows=${open} rowKey=${(row) => `${row.kind} ${row.route}`} />`}`}
    <//>
  <//>`;
}
