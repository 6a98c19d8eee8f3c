/** Requests that were kept whole: slow ones, failed ones, a sample of the others. */

import { html } from "htm/preact";
import { change, query } from "../address.js";
import { useAnswer } from "../answers.js";
import { number, written } from "../figures.js";
import { Card } from "../parts/card.js";
import { CsvButton } from "../parts/csv.js";
import { Icon } from "../parts/icons.js";
import { Answer } from "../parts/states.js";
import { rowsOf, Table } from "../parts/table.js";
import { range } from "../range.js";
import { keptColumns } from "../sections/kept.js";
import { t } from "../words.js";

const FILTERS = ["service", "route", "method", "version", "instance", "code", "trace"];
const REASONS = ["", "slow", "failed", "sample"];

export default function Requests() {
  const asked = Object.fromEntries(["environment", "reason", "statusClass", "minDuration", "maxDuration", ...FILTERS].map((name) => [name, query.value[name]]));
  const answer = useAnswer("/slow-requests", { ...asked, ...range.value.parameters, by: query.value.by ?? "duration", limit: 200 });
  const columns = keptColumns();
  return html`<h1>${t("page.requests")}</h1><p class="lede">${t("requests.lede")}</p>
    <${Filters} />
    <div class="grid"><${Card} title=${t("kept.title")} sub=${answer.value.data ? t("requests.count", { count: answer.value.data.requests.length, number: number(answer.value.data.requests.length) }) : ""} tools=${html`<${CsvButton} name="requests" rows=${() => rowsOf(columns, answer.value.data?.requests ?? [])} />`}>
      <${Answer} of=${answer} lines=${8} isEmpty=${(data) => !data.requests.length} empty=${t("kept.none")}>
        ${(data) => html`<${Table} label=${t("kept.title")} columns=${columns} rows=${data.requests} sort="sort" first="duration" leftOut=${data.requestsLeftOut} rowKey=${(row) => row.id} />`}
      <//>
    <//></div>`;
}

function Filters() {
  const { reason = "", minDuration, maxDuration } = query.value;
  const chosen = FILTERS.filter((name) => query.value[name]);
  return html`<div class="filters" role="group" aria-label=${t("requests.filters")}>
    <label class="pick"><small>${t("requests.reason")}</small><select value=${reason} onChange=${(event) => change({ reason: event.target.value }, { push: true })}>
      ${REASONS.map((each) => html`<option key=${each} value=${each}>${t(`reason.${each || "any"}`)}</option>`)}</select></label>
    ${chosen.map((name) => html`<button key=${name} class="chip" aria-label=${t("chosen.drop", { name: t(`field.${name}`) })} onClick=${() => change({ [name]: "" }, { push: true })}><small>${t(`field.${name}`)}</small> <bdi>${query.value[name]}</bdi> <${Icon} name="close" /></button>`)}
    ${(minDuration || maxDuration) && html`<button class="chip" aria-label=${t("chosen.drop", { name: t("kept.duration") })} onClick=${() => change({ minDuration: "", maxDuration: "" }, { push: true })}><small>${t("kept.duration")}</small> ${written(Number(minDuration ?? 0), "ms")} – ${maxDuration ? written(Number(maxDuration), "ms") : "∞"} <${Icon} name="close" /></button>`}
  </div>`;
}
