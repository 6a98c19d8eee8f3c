/** Thresholds: the two lines of each metric that everybody gets. */

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { href, query } from "../address.js";
import { renewAll, useAnswer } from "../answers.js";
import { ask } from "../api.js";
import { written } from "../figures.js";
import { Card } from "../parts/card.js";
import { numberOf, Said, useSending } from "../parts/form.js";
import { Answer } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { isAdmin } from "../session.js";
import { lastedFully } from "../times.js";
import { named, t } from "../words.js";

const PER_CENT = (unit) => unit === "ratio";
const MIB = 2 ** 20;
/** What people type for a value of the API: per cent for shares, MiB for bytes. */
const typed = (value, unit) => (value === null ? "" : String(Number((PER_CENT(unit) ? value * 100 : unit === "bytes" ? value / MIB : value).toPrecision(10))));
const meant = (text, unit) => numberOf(text, PER_CENT(unit) ? 0.01 : unit === "bytes" ? MIB : 1);
const shownUnit = (unit) => (PER_CENT(unit) ? "%" : unit === "bytes" ? "MiB" : named("unit", unit));

export default function Thresholds() {
  const chosen = query.value.metric;
  const answer = useAnswer("/thresholds", {}, { everyMs: 60_000 });
  const [draft, setDraft] = useState({});
  const { busy, error, run } = useSending();
  async function save() {
    const all = answer.value.data.thresholds;
    const thresholds = Object.fromEntries(Object.entries(draft).map(([metric, lines]) => [metric, lines === null ? null : { warning: meant(lines.warning, all[metric].unit), critical: meant(lines.critical, all[metric].unit) }]));
    if (await run(() => ask("/thresholds", {}, { method: "PUT", body: { thresholds } }))) {
      setDraft({});
      renewAll();
    }
  }
  return html`<h1>${t("page.thresholds")}</h1><p class="lede">${t("thresholds.lede")}${chosen && html` <a href=${href("thresholds")}>${t("thresholds.all")}</a>`}</p>
    <div class="grid"><${Card} title=${t("page.thresholds")}>
      <${Answer} of=${answer} lines=${8}>
        ${(data) => html`<${Table} stack=${true} label=${t("page.thresholds")} rows=${Object.entries(data.thresholds).filter(([metric]) => !chosen || !(chosen in data.thresholds) || metric === chosen).map(([metric, each]) => ({ metric, ...each }))} columns=${columnsOf(draft, setDraft)} rowKey=${(row) => row.metric} />
          <${Said} error=${error} />
          ${isAdmin.value && html`<div class="actions"><button class="button" disabled=${busy || !Object.keys(draft).length} onClick=${save}>${t("thresholds.save")}</button>
            ${Object.keys(draft).length > 0 && html`<button class="button plain" onClick=${() => setDraft({})}>${t("dialog.cancel")}</button>`}</div>`}`}
      <//>
    <//></div>`;
}

function columnsOf(draft, setDraft) {
  const line = (severity) => ({
    key: severity,
    title: t(`severity.${severity}`),
    show: (row) => {
      if (!isAdmin.value || row.source === "file") return written(row[severity], row.unit);
      const lines = draft[row.metric] ?? { warning: typed(row.warning, row.unit), critical: typed(row.critical, row.unit) };
      return html`<input class="field short-field" inputmode="decimal" aria-label=${`${named("metric", row.metric)} ${t(`severity.${severity}`)} ${shownUnit(row.unit)}`} value=${draft[row.metric] === null ? "" : lines[severity]} onInput=${(event) => setDraft({ ...draft, [row.metric]: { ...lines, [severity]: event.target.value } })} /> <small>${shownUnit(row.unit)}</small>`;
    },
  });
  return [
    { key: "metric", title: t("rule.metric"), text: true, show: (row) => html`${named("metric", row.metric)}<span class="sub2">${t(`operator.${row.operator}`)}</span>` },
    line("warning"),
    line("critical"),
    { key: "for", title: t("thresholds.after"), show: (row) => html`${lastedFully(row.for * 1000)} <span class="sub2">${t("severity.critical")}: ${lastedFully(row.criticalFor * 1000)}</span>` },
    { key: "keepFiringFor", title: t("thresholds.over"), show: (row) => lastedFully(row.keepFiringFor * 1000) },
    { key: "source", title: t("rule.source"), text: true, show: (row) => html`${named("source", row.source)}${isAdmin.value && row.source === "api" && html` <button class="quiet" onClick=${() => setDraft({ ...draft, [row.metric]: null })}>${t("thresholds.back")}</button>`}` },
  ];
}
