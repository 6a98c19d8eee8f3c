/** Queues: how much waits, for how long, and how tasks end. */

import { html } from "htm/preact";
import { useAnswer } from "../answers.js";
import { Card } from "../parts/card.js";
import { CsvButton } from "../parts/csv.js";
import { Answer } from "../parts/states.js";
import { rowsOf, Table } from "../parts/table.js";
import { Tile } from "../parts/tile.js";
import { range } from "../range.js";
import { callColumns } from "../sections/calls.js";
import { GaugesOverTime } from "../sections/overtime.js";
import { owners, OwnersHead } from "../sections/owners.js";
import { errorsText } from "../sections/targets.js";
import { t } from "../words.js";

export default function Queues() {
  const filters = owners();
  const answer = useAnswer("/queues", { ...filters, ...range.value.parameters, limit: 100 });
  const data = answer.value.data;
  const gauge = (name) => (row) => row.gauges[name] ?? null;
  const tasks = [
    { key: "task", title: t("queues.task"), text: true, show: (row) => html`<code><bdi>${row.task}</bdi></code><span class="sub2"><bdi>${row.system}</bdi> <bdi>${row.queue}</bdi></span>` },
    ...callColumns(data?.tasks.reduce((sum, row) => sum + row.calls.totalTime, 0)),
    { key: "wait", title: t("queues.wait"), value: (row) => row.wait?.p95 ?? null, unit: "ms" },
    { key: "successRate", title: t("queues.succeeded"), unit: "ratio" },
    { key: "states", title: t("queues.states"), text: true, value: (row) => errorsText(row.states, "taskState") },
  ];
  return html`<${OwnersHead} title=${t("page.queues")} lede=${t("queues.lede")} />
    <${Answer} of=${answer} lines=${3}>${(found) => html`<div class="tiles">
      <${Tile} name=${t("queues.waiting")} value=${found.queues.length ? found.queues.reduce((sum, row) => sum + (gauge("trimtab.queue.depth")(row) ?? 0), 0) : null} why=${t("queues.none")} />
      <${Tile} name=${t("queues.sent")} value=${found.sent} />
      <${Tile} name=${t("queues.lost")} value=${found.lost} kind=${found.lost ? "bad" : ""} below=${t("queues.lostWhy")} /></div>`}<//>
    <div class="grid">
      <${GaugesOverTime} title=${t("queues.depth")} names=${["trimtab.queue.depth"]} groupBy=${["instance"]} unit="count" span=${12} />
      <${Card} title=${t("page.queues")} span=${12}>
        <${Answer} of=${answer} isEmpty=${(found) => !found.queues.length} empty=${t("queues.none")}>
          ${(found) => html`<${Table} label=${t("page.queues")} rows=${found.queues} rowKey=${(row) => row.queue} columns=${[
            { key: "queue", title: t("queues.queue"), text: true },
            { key: "depth", title: t("queues.waiting"), value: gauge("trimtab.queue.depth") },
            { key: "started", title: t("queues.started"), value: gauge("trimtab.queue.started") },
            { key: "failed", title: t("queues.failed"), value: gauge("trimtab.queue.failed") },
            { key: "lag", title: t("queues.lag"), value: gauge("trimtab.queue.lag") },
          ]} />`}
        <//>
      <//>
      <${Card} title=${t("queues.tasks")} sub=${t("queues.tasksSub")} tools=${html`<${CsvButton} name="tasks" rows=${() => rowsOf(tasks, data?.tasks ?? [])} />`}>
        <${Answer} of=${answer} isEmpty=${(found) => !found.tasks.length} empty=${t("queues.noTasks")}>
          ${(found) => html`<${Table} label=${t("queues.tasks")} columns=${tasks} rows=${found.tasks} sort="sort" first="totalTime" leftOut=${found.tasksLeftOut} rowKey=${(row) => `${row.system} ${row.queue} ${row.task}`} />`}
        <//>
      <//>
    </div>`;
}
