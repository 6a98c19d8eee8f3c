/** Memory and runtime of app processes: RSS, GC, event loop, threads, descriptors. */

import { html } from "htm/preact";
import { useAnswer } from "../answers.js";
import { useMoments } from "../moments.js";
import { Card } from "../parts/card.js";
import { CsvButton } from "../parts/csv.js";
import { Answer } from "../parts/states.js";
import { rowsOf, Table } from "../parts/table.js";
import { GaugesOverTime } from "../sections/overtime.js";
import { owners, OwnersHead } from "../sections/owners.js";
import { t } from "../words.js";

export default function Memory() {
  const filters = owners();
  const moments = useMoments(filters);
  const answer = useAnswer("/metrics/current", filters);
  const gauge = (name) => (row) => row.gauges[name] ?? null;
  const columns = [
    { key: "instance", title: t("field.instance"), text: true, value: (row) => `${row.service} ${row.instance}`, show: (row) => html`<bdi>${row.service}</bdi> <span class="sub2"><bdi>${row.instance}</bdi></span>` },
    { key: "rss", title: t("memory.rss"), value: gauge("process.memory.usage"), unit: "bytes" },
    { key: "cpu", title: t("memory.cpu"), value: gauge("process.cpu.utilization"), unit: "ratio" },
    { key: "loop", title: t("memory.loop"), value: gauge("trimtab.app.loop_delay"), unit: "s" },
    { key: "threads", title: t("memory.threads"), value: gauge("process.thread.count") },
    { key: "descriptors", title: t("memory.descriptors"), value: gauge("process.unix.file_descriptor.count") },
    { key: "blocks", title: t("memory.blocks"), value: gauge("cpython.memory.blocks") },
    { key: "overhead", title: t("memory.overhead"), value: gauge("trimtab.app.overhead"), unit: "ratio" },
    { key: "uptime", title: t("memory.uptime"), value: gauge("process.uptime"), unit: "s" },
  ];
  const chart = { filters, moments, span: 6 };
  return html`<${OwnersHead} title=${t("page.memory")} lede=${t("memory.lede")} />
    <div class="grid">
      <${GaugesOverTime} ...${chart} title=${t("memory.rss")} names=${["process.memory.usage"]} unit="bytes" />
      <${GaugesOverTime} ...${chart} title=${t("memory.loop")} names=${["trimtab.app.loop_delay"]} figure="max" unit="s" floor=${0.01} />
      <${GaugesOverTime} ...${chart} title=${t("memory.cpu")} names=${["process.cpu.utilization"]} unit="ratio" floor=${0.1} />
      <${GaugesOverTime} ...${chart} title=${t("memory.gc")} sub=${t("memory.gcSub")} names=${["cpython.gc.pause.time"]} figure="rate" unit="ratio" floor=${0.01} />
      <${GaugesOverTime} ...${chart} title=${t("memory.threads")} names=${["process.thread.count"]} figure="max" unit="count" />
      <${GaugesOverTime} ...${chart} title=${t("memory.descriptors")} names=${["process.unix.file_descriptor.count"]} figure="max" unit="count" />
      <${Card} title=${t("memory.processes")} sub=${t("memory.now")} tools=${html`<${CsvButton} name="processes" rows=${() => rowsOf(columns, answer.value.data?.instances ?? [])} />`}>
        <${Answer} of=${answer} isEmpty=${(data) => !data.instances.length} empty=${t("memory.none")}>
          ${(data) => html`<${Table} label=${t("memory.processes")} columns=${columns} rows=${data.instances} sort="sort" first="rss" rowKey=${(row) => `${row.environment} ${row.service} ${row.instance}`} />`}
        <//>
      <//>
    </div>`;
}
