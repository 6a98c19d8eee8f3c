/** Databases: which statements take the time, which are slow or repeated, pools, and what servers say. */

import { html } from "htm/preact";
import { query } from "../address.js";
import { useAnswer } from "../answers.js";
import { Card } from "../parts/card.js";
import { CsvButton } from "../parts/csv.js";
import { Answer, Empty } from "../parts/states.js";
import { rowsOf, Table } from "../parts/table.js";
import { Tile } from "../parts/tile.js";
import { range } from "../range.js";
import { callColumns } from "../sections/calls.js";
import { MeasuresOverTime } from "../sections/overtime.js";
import { Chosen } from "../sections/opening.js";
import { owners, OwnersHead } from "../sections/owners.js";
import { Queries } from "../sections/queries.js";
import { errorsText, POSTGRESQL, Targets } from "../sections/targets.js";
import { t } from "../words.js";

const DURATION = ["db.client.operation.duration"];

export default function Databases() {
  const filters = owners();
  const answer = useAnswer("/database", { ...filters, ...range.value.parameters, limit: 200 });
  return html`<${OwnersHead} title=${t("page.databases")} lede=${t("databases.lede")} />
    <${Answer} of=${answer} lines=${3}>${(data) => html`<${Tiles} data=${data} />`}<//>
    <div class="grid">
      <${MeasuresOverTime} title=${t("databases.rate")} sub=${t("databases.bySystem")} names=${DURATION} groupBy=${["db.system.name"]} unit="perSecond" filters=${filters} />
      <${MeasuresOverTime} title=${t("databases.p95")} sub=${t("databases.bySystem")} names=${DURATION} groupBy=${["db.system.name"]} figure="p95" unit="s" filters=${filters} />
      <${Statements} answer=${answer} />
      <${Queries} scope=${filters} />
      <${Answer} of=${answer}>${(data) => html`<${Servers} data=${data} />`}<//>
    </div>`;
}

function Tiles({ data: { calls, connectionErrors, deadlocks, errors, poolWait, rows } }) {
  return html`<div class="tiles">
    <${Tile} name=${t("databases.queries")} value=${calls.perSecond} unit="perSecond" below=${rows === null ? "" : t("databases.rows", { count: rows })} />
    <${Tile} name="p95" value=${calls.p95} unit="ms" />
    <${Tile} name=${t("services.errors")} value=${calls.errorRate} unit="ratio" below=${errorsText(errors)} kind=${calls.errorRate > 0.05 ? "bad" : ""} />
    <${Tile} name=${t("databases.connectionErrors")} value=${connectionErrors} kind=${connectionErrors ? "bad" : ""} />
    <${Tile} name=${t("databases.deadlocks")} value=${deadlocks} kind=${deadlocks ? "bad" : ""} />
    <${Tile} name=${t("databases.poolWait")} value=${poolWait?.p95 ?? null} unit="ms" why=${t("databases.noPools")} below="p95" />
  </div>`;
}

function Statements({ answer }) {
  const total = answer.value.data?.calls.totalTime;
  const columns = [
    { key: "query", title: t("queries.query"), text: true, show: (row) => html`<code><bdi>${row.query}</bdi></code><span class="sub2"><bdi>${row.system}</bdi> · <bdi>${row.services.join(", ")}</bdi></span>` },
    ...callColumns(total),
  ];
  return html`<${Card} title=${t("databases.statements")} sub=${t("databases.statementsSub")} tools=${html`<${CsvButton} name="statements" rows=${() => rowsOf(columns, answer.value.data?.statements ?? [])} />`}>
    <${Answer} of=${answer} lines=${8} isEmpty=${(data) => !data.statements.length} empty=${t("databases.none")}>
      ${(data) => html`<${Chosen} scope=${query.value} fields=${["query"]} /><${Table} label=${t("databases.statements")} columns=${columns} rows=${data.statements.filter((row) => !query.value.query || row.query === query.value.query)} sort="sort" first="totalTime" leftOut=${data.statementsLeftOut} rowKey=${(row) => `${row.system} ${row.query}`} />`}
    <//>
  <//>`;
}

function Servers({ data }) {
  const { pools, servers, serverStatements, unusedIndexes, serverTables } = data;
  return html`
    <${Card} title=${t("databases.pools")}>${pools.length ? html`<${Pools} pools=${pools} />` : html`<${Empty} text=${t("databases.noPools")} />`}<//>
    <${Card} title=${t("databases.servers")} sub=${t("targets.sub")}>${servers.length ? html`<${Targets} label=${t("databases.servers")} targets=${servers} columns=${POSTGRESQL} />` : html`<${Empty} text=${t("databases.noServers")} />`}<//>
    ${serverStatements.length > 0 && html`<${Card} title=${t("databases.serverStatements")} sub=${t("databases.serverStatementsSub")}>
      <${Table} label=${t("databases.serverStatements")} rows=${serverStatements} leftOut=${data.serverStatementsLeftOut} columns=${[
        { key: "query", title: t("queries.query"), text: true, show: (row) => html`<code><bdi>${row.query}</bdi></code><span class="sub2"><bdi>${row.database}</bdi></span>` },
        { key: "perSecond", title: t("calls.perSecond"), value: (row) => row.calls.perSecond, unit: "perSecond" },
        { key: "mean", title: t("sides.mean"), value: (row) => row.calls.mean, unit: "ms" },
        { key: "total", title: t("databases.total"), value: (row) => row.calls.totalTime, unit: "ms" },
      ]} /><//>`}
    ${unusedIndexes.length > 0 && html`<${Card} title=${t("databases.unused")} sub=${t("databases.unusedSub")} span=${5}>
      <${Table} label=${t("databases.unused")} rows=${unusedIndexes} leftOut=${data.unusedIndexesLeftOut} columns=${[
        { key: "index", title: t("databases.index"), text: true },
        { key: "table", title: t("databases.table"), text: true },
        { key: "size", title: t("databases.size"), unit: "bytes" },
      ]} /><//>`}
    ${serverTables.length > 0 && html`<${Card} title=${t("databases.tables")} sub=${t("databases.tablesSub")} span=${7}>
      <${Table} label=${t("databases.tables")} rows=${serverTables} leftOut=${data.serverTablesLeftOut} columns=${[
        { key: "table", title: t("databases.table"), text: true },
        { key: "rows", title: t("databases.tableRows") },
        { key: "sequentialScans", title: t("databases.scans") },
        { key: "sequentialRows", title: t("databases.scanned") },
        { key: "indexes", title: t("databases.indexes"), text: true, value: (row) => row.indexes.map((each) => `${each.index} (${each.columns})`).join(", ") },
      ]} /><//>`}`;
}

const POOL_COLUMNS = ["size", "used", "idle", "overflow", "waiting", "timeouts"];

function Pools({ pools }) {
  const shown = POOL_COLUMNS.filter((name) => pools.some((each) => each[name] !== undefined && each[name] !== null));
  return html`<${Table} label=${t("databases.pools")} rows=${pools} columns=${[
    { key: "name", title: t("databases.pool"), text: true, show: (row) => html`<bdi>${row.name}</bdi><span class="sub2"><bdi>${row.service} ${row.instance}</bdi></span>` },
    ...shown.map((name) => ({ key: name, title: t(`pool.${name}`) })),
  ]} />`;
}
