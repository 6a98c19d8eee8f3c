/** Hosts: CPU, memory, disk, network and pressure. */

import { html } from "htm/preact";
import { query } from "../address.js";
import { useAnswer } from "../answers.js";
import { Card } from "../parts/card.js";
import { CsvButton } from "../parts/csv.js";
import { Dot } from "../parts/icons.js";
import { Answer } from "../parts/states.js";
import { rowsOf, Table } from "../parts/table.js";
import { Chosen } from "../sections/opening.js";
import { GaugesOverTime } from "../sections/overtime.js";
import { t } from "../words.js";

export default function Hosts() {
  const { environment, instance } = query.value;
  const answer = useAnswer("/system", { environment, instance });
  const thresholds = useAnswer("/thresholds", {}, { everyMs: 60_000 }).value.data?.thresholds;
  const gauge = (name) => (row) => row.gauges[name] ?? null;
  const use = (name) => (row) => row.use[name];
  const columns = [
    {
      key: "host",
      title: t("hosts.host"),
      text: true,
      show: (row) => html`<${Dot} state=${stateOf(row.use, thresholds)} /><bdi>${row.host}</bdi><span class="sub2"><bdi>${row.agent}</bdi></span>`,
    },
    { key: "cpu", title: t("hosts.cpu"), value: use("cpu"), unit: "ratio" },
    { key: "cores", title: t("hosts.cores"), value: gauge("system.cpu.logical.count") },
    { key: "load", title: t("hosts.load"), value: gauge("system.cpu.load_1m") },
    { key: "memory", title: t("hosts.memory"), value: use("memory"), unit: "ratio" },
    { key: "disk", title: t("hosts.disk"), value: use("disk"), unit: "ratio" },
    { key: "latency", title: t("hosts.latency"), value: gauge("system.disk.latency"), unit: "s" },
    { key: "received", title: t("hosts.received"), value: gauge("system.network.receive.rate"), unit: "bytesPerSecond" },
    { key: "sent", title: t("hosts.sent"), value: gauge("system.network.transmit.rate"), unit: "bytesPerSecond" },
    { key: "pressure", title: t("hosts.pressureCpu"), value: gauge("trimtab.pressure.cpu"), unit: "ratio" },
  ];
  const chart = { filters: { instance }, groupBy: ["instance"], span: 6 };
  return html`<h1>${t("page.hosts")}</h1><p class="lede">${t("hosts.lede")}</p><${Chosen} scope=${query.value} fields=${["instance"]} />
    <div class="grid">
      <${Card} title=${t("page.hosts")} sub=${t("memory.now")} tools=${html`<${CsvButton} name="hosts" rows=${() => rowsOf(columns, answer.value.data?.hosts ?? [])} />`}>
        <${Answer} of=${answer} isEmpty=${(data) => !data.hosts.length} empty=${t("hosts.none")}>
          ${(data) => html`<${Table} label=${t("page.hosts")} columns=${columns} rows=${data.hosts} sort="sort" first="cpu" rowKey=${(row) => `${row.host} ${row.agent}`} />`}
        <//>
      <//>
      <${GaugesOverTime} ...${chart} title=${t("hosts.cpu")} names=${["cpuUsage"]} unit="ratio" floor=${1} />
      <${GaugesOverTime} ...${chart} title=${t("hosts.memory")} names=${["memoryUsage"]} unit="ratio" floor=${1} />
      <${GaugesOverTime} ...${chart} title=${t("hosts.pressure")} sub=${t("hosts.pressureSub")} names=${["trimtab.pressure.cpu", "trimtab.pressure.memory", "trimtab.pressure.io"]} unit="ratio" floor=${0.2}
        titles=${{ "trimtab.pressure.cpu": "CPU", "trimtab.pressure.memory": t("hosts.memory"), "trimtab.pressure.io": "I/O" }} />
      <${GaugesOverTime} ...${chart} title=${t("hosts.load")} names=${["system.cpu.load_1m"]} unit="count" />
      <${GaugesOverTime} ...${chart} title=${t("hosts.diskRates")} names=${["system.disk.read.rate", "system.disk.write.rate"]} unit="bytesPerSecond" titles=${{ "system.disk.read.rate": t("hosts.read"), "system.disk.write.rate": t("hosts.written") }} />
      <${GaugesOverTime} ...${chart} title=${t("hosts.network")} names=${["system.network.receive.rate", "system.network.transmit.rate"]} unit="bytesPerSecond" titles=${{ "system.network.receive.rate": t("hosts.received"), "system.network.transmit.rate": t("hosts.sent") }} />
    </div>`;
}

/** Return on which side of the present thresholds a host is; "none" while they are not known. */
function stateOf(use, thresholds) {
  if (!thresholds) return "none";
  const isOver = (severity) =>
    Object.entries(use).some(([name, value]) => {
      const line = thresholds[`${name}Usage`]?.[severity];
      return Number.isFinite(line) && Number.isFinite(value) && value > line;
    });
  return isOver("critical") ? "critical" : isOver("warning") ? "warning" : "ok";
}
