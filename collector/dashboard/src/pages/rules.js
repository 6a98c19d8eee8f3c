/** The rules by which alerts fire, besides thresholds. */

import { html } from "htm/preact";
import { href } from "../address.js";
import { useAnswer } from "../answers.js";
import { written } from "../figures.js";
import { Card } from "../parts/card.js";
import { Answer } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { isAdmin } from "../session.js";
import { named, t } from "../words.js";

export default function Rules() {
  const answer = useAnswer("/alert-configs", {}, { everyMs: 30_000 });
  const columns = [
    { key: "name", title: t("rule.name"), text: true, show: (row) => html`<a href=${href("rule", { id: row.id })}><bdi>${row.name}</bdi></a>${!row.enabled && html`<span class="sub2">${t("rule.off")}</span>`}` },
    { key: "metric", title: t("rule.metric"), text: true, show: (row) => html`<bdi>${named("metric", row.metric)}</bdi>${row.figure && html` <span class="sub2">${row.figure}</span>`}` },
    { key: "where", title: t("rule.where"), text: true, value: (row) => Object.values(row.where).join(" ") || t("rule.everywhere") },
    { key: "warning", title: t("severity.warning"), show: (row) => written(row.warning ?? (row.critical === null && row.severity === "warning" ? row.threshold : null), row.unit) },
    { key: "critical", title: t("severity.critical"), show: (row) => written(row.critical ?? (row.warning === null && row.severity === "critical" ? row.threshold : null), row.unit) },
    { key: "recipients", title: t("rule.recipients"), text: true, value: (row) => row.recipients.join(", ") || t("rule.defaultChannels") },
    { key: "source", title: t("rule.source"), text: true, value: (row) => named("source", row.source) },
  ];
  return html`<div class="title"><h1>${t("page.rules")}</h1>
      <a class="button plain" href=${href("thresholds")}>${t("page.thresholds")}</a>
      ${isAdmin.value && html`<a class="button" href=${href("rule")}>${t("rule.new")}</a>`}</div>
    <p class="lede">${t("rule.lede")}</p>
    <div class="grid"><${Card} title=${t("page.rules")}>
      <${Answer} of=${answer} isEmpty=${(data) => !data.configs.length} empty=${t("rule.none")}>
        ${(data) => html`${data.fileError && html`<p class="note warn">${data.fileError}</p>`}<${Table} stack=${true} label=${t("page.rules")} columns=${columns} rows=${data.configs} sort="sort" first="name" rowKey=${(row) => row.id} />`}
      <//>
    <//></div>`;
}
