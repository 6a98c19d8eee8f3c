/** Caches: how often they help, at which level, and what the servers behind them say. */

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
import { REDIS, Targets } from "../sections/targets.js";
import { named, t } from "../words.js";

const READS = ["trimtab.cache.hits", "trimtab.cache.misses"];

export default function Caches() {
  const filters = owners();
  const answer = useAnswer("/cache", { ...filters, ...range.value.parameters });
  return html`<${OwnersHead} title=${t("page.caches")} lede=${t("caches.lede")} />
    <${Answer} of=${answer} lines=${3}>${(data) => html`<${Tiles} data=${data} />`}<//>
    <div class="grid">
      <${MeasuresOverTime} title=${t("caches.reads")} names=${READS} unit="perSecond" filters=${filters} span=${7} titles=${{ [READS[0]]: t("caches.hits"), [READS[1]]: t("caches.misses") }} />
      <${Card} title=${t("caches.levels")} span=${5}>
        <${Answer} of=${answer} isEmpty=${(data) => !data.levels.length} empty=${t("caches.none")}>
          ${(data) => html`<${Table} label=${t("caches.levels")} rows=${data.levels} rowKey=${(row) => row.level} columns=${levelColumns()} />`}
        <//>
      <//>
      <${Keys} filters=${filters} />
      <${Operations} answer=${answer} />
      <${Answer} of=${answer}>${(data) => html`<${Servers} data=${data} />`}<//>
    </div>`;
}

function levelColumns() {
  return [
    { key: "level", title: t("caches.level"), text: true, show: (row) => named("level", row.level) },
    { key: "hitRate", title: t("caches.hitRate"), value: (row) => (row.hits + row.misses ? row.hitRate : null), unit: "ratio" },
    { key: "hits", title: t("caches.hits") },
    { key: "misses", title: t("caches.misses") },
  ];
}

function Tiles({ data }) {
  const reads = data.hits + data.misses;
  return html`<div class="tiles">
    <${Tile} name=${t("caches.hitRate")} value=${reads ? data.hitRate : null} unit="ratio" why=${t("caches.none")} />
    <${Tile} name=${t("caches.hits")} value=${data.hits} />
    <${Tile} name=${t("caches.misses")} value=${data.misses} />
    <${Tile} name=${t("caches.commands")} value=${data.calls.perSecond} unit="perSecond" />
    <${Tile} name=${t("caches.commandP95")} value=${data.calls.p95} unit="ms" />
  </div>`;
}

/** By key template: where reads miss most. */
function Keys({ filters }) {
  const answer = useAnswer("/measures", { ...filters, ...range.value.parameters, name: READS, groupBy: ["key"], limit: 100, step: 86_400 });
  return html`<${Card} title=${t("caches.keys")} sub=${t("caches.keysSub")} span=${5}>
    <${Answer} of=${answer} isEmpty=${(data) => !keyRows(data).length} empty=${t("caches.noKeys")}>
      ${(data) => html`<${Table} label=${t("caches.keys")} rows=${keyRows(data)} sort="sort-keys" first="misses" rowKey=${(row) => row.key} columns=${[
        { key: "key", title: t("caches.key"), text: true, show: (row) => html`<code><bdi>${row.key}</bdi></code>` },
        ...levelColumns().slice(1),
      ]} />`}
    <//>
  <//>`;
}

function keyRows(data) {
  const rows = new Map();
  for (const { name, group, total } of data.measures) {
    if (!group.key) continue;
    const row = rows.get(group.key) ?? { key: group.key, hits: 0, misses: 0 };
    row[name === READS[0] ? "hits" : "misses"] += total.sum ?? 0;
    rows.set(group.key, row);
  }
  return [...rows.values()].map((row) => ({ ...row, hitRate: row.hits / (row.hits + row.misses || 1) }));
}

function Operations({ answer }) {
  const rows = Object.entries(answer.value.data?.operations ?? {}).map(([name, calls]) => ({ name, calls }));
  const columns = [{ key: "name", title: t("caches.command"), text: true }, ...callColumns(answer.value.data?.calls.totalTime)];
  return html`<${Card} title=${t("caches.operations")} span=${7} tools=${html`<${CsvButton} name="commands" rows=${() => rowsOf(columns, rows)} />`}>
    <${Answer} of=${answer} isEmpty=${() => !rows.length} empty=${t("caches.noCommands")}>
      ${() => html`<${Table} label=${t("caches.operations")} columns=${columns} rows=${rows} sort="sort" first="totalTime" rowKey=${(row) => row.name} />`}
    <//>
  <//>`;
}

function Servers({ data }) {
  return html`<${Card} title=${t("caches.servers")} sub=${t("targets.sub")}>
      ${data.servers.length ? html`<${Targets} label=${t("caches.servers")} targets=${data.servers} columns=${REDIS} />` : html`<${Empty} text=${t("caches.noServers")} />`}<//>
    ${data.slowCommands.length > 0 && html`<${Card} title=${t("caches.slow")} sub=${t("caches.slowSub")} span=${6}>
      <${Table} label=${t("caches.slow")} rows=${data.slowCommands} columns=${[
        { key: "command", title: t("caches.command"), text: true },
        { key: "count", title: t("caches.count"), value: (row) => row.calls.count },
        { key: "max", title: t("routes.max"), value: (row) => row.calls.max, unit: "ms" },
      ]} /><//>`}
    ${data.latencySpikes.length > 0 && html`<${Card} title=${t("caches.spikes")} span=${6}>
      <${Table} label=${t("caches.spikes")} rows=${data.latencySpikes} columns=${[
        { key: "event", title: t("caches.event"), text: true },
        { key: "latest", title: t("caches.latest"), unit: "ms" },
        { key: "longest", title: t("queries.longest"), unit: "ms" },
      ]} /><//>`}`;
}
