/** What is promised: objectives with their budgets, and the targets of key figures. */

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { href, query } from "../address.js";
import { renewAll, useAnswer } from "../answers.js";
import { ask } from "../api.js";
import { written } from "../figures.js";
import { Card } from "../parts/card.js";
import { Dialog } from "../parts/dialog.js";
import { Field, numberOf, Said, Select, useSending } from "../parts/form.js";
import { Dot } from "../parts/icons.js";
import { Answer } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { deleting, placed, useConfirmed } from "../sections/confirmed.js";
import { isAdmin } from "../session.js";
import { named, t } from "../words.js";

export default function Objectives() {
  const { environment, service } = query.value;
  const slos = useAnswer("/slos", { environment, service }, { everyMs: 60_000 });
  const kpis = useAnswer("/kpis", {}, { everyMs: 60_000 });
  const [edited, setEdited] = useState(null);
  const { start, dialog, error } = useConfirmed();
  const remove = ({ id, settings: { name } }) => start({ title: t("slo.remove"), text: t("slo.removeText", { name }), work: deleting("/slos", id) });
  return html`<div class="title"><h1>${t("page.objectives")}</h1>${isAdmin.value && html`<button class="button" onClick=${() => setEdited({})}>${t("slo.new")}</button>`}</div>
    <p class="lede">${t("slo.lede")}</p><${Said} error=${error} />
    <div class="grid">
      <${Card} title=${t("slo.title")}><${Answer} of=${slos} isEmpty=${(data) => !data.slos.length} empty=${t("slo.none")}>
        ${(data) => html`<${Table} label=${t("slo.title")} rows=${data.slos} columns=${sloColumns(setEdited, remove)} rowKey=${(row) => row.id} />`}<//><//>
      <${Card} title=${t("kpi.title")} sub=${t("kpi.sub")}><${Answer} of=${kpis}>
        ${(data) => html`<${Table} label=${t("kpi.title")} rows=${data.kpis} rowKey=${(row) => row.id} columns=${kpiColumns(data.units)} /><p class="actions"><a href=${href("reports")}>${t("kpi.toReport")}</a></p>`}<//><//>
    </div>
    ${edited && html`<${Editor} slo=${edited} close=${() => setEdited(null)} />`}
    ${dialog}`;
}

function stateOf(slo) {
  if (slo.burnRates.some((each) => each.burns && each.severity === "critical") || (slo.budget.left ?? 1) <= 0) return "critical";
  return slo.burnRates.some((each) => each.burns) ? "warning" : slo.budget.left === null ? "none" : "ok";
}

function sloColumns(edit, remove) {
  return [
    {
      key: "name",
      title: t("slo.promise"),
      text: true,
      show: (row) => html`<${Dot} state=${stateOf(row)} /><bdi>${row.settings.name}</bdi><span class="sub2"><bdi>${[row.settings.environment, row.settings.service, row.settings.route].filter(Boolean).join(" ") || t("alerts.everything")}</bdi></span>`,
    },
    {
      key: "target",
      title: t("slo.target"),
      show: (row) => html`${written(row.settings.target, "ratio", 5)}${row.settings.below && html` <span class="sub2">${"< "}${written(row.settings.below, "ms")}</span>`}`,
    },
    {
      key: "good",
      title: t("slo.good"),
      show: (row) => (row.budget.goodShare === null ? "–" : written(row.budget.goodShare, "ratio", 5)),
    },
    {
      key: "left",
      title: t("slo.left"),
      show: (row) => html`<span class=${row.budget.left !== null && row.budget.left <= 0 ? "bad" : ""}>${written(row.budget.left, "ratio")}</span>`,
    },
    { key: "burn", title: t("slo.burn"), show: (row) => written(row.burnRates[0]?.longRate ?? null, "count") },
    { key: "days", title: t("slo.days"), value: (row) => row.settings.windowDays },
    {
      key: "",
      title: "",
      show: (row) => isAdmin.value && row.source !== "file" && html`<button class="quiet" onClick=${() => edit(row)}>${t("slo.edit")}</button><button class="quiet" onClick=${() => remove(row)}>${t("slo.remove")}</button>`,
    },
  ];
}

function kpiColumns(units) {
  const unit = (row) => units[row.figure];
  return [
    {
      key: "name",
      title: t("kpi.name"),
      text: true,
      show: (row) => html`<bdi>${named("kpiName", row.name)}</bdi>${!row.enabled && html`<span class="sub2">${t("rule.off")}</span>`}`,
    },
    { key: "figure", title: t("metrics.figure"), text: true, value: (row) => named("kpi", row.figure) },
    { key: "target", title: t("slo.target"), show: (row) => written(row.target, unit(row)) },
    { key: "allowed", title: t("kpi.allowed"), show: (row) => written(row.allowed, unit(row)) },
  ];
}

function Editor({ slo, close }) {
  const settings = slo.settings ?? { name: "", target: 0.999, objective: "errors", below: null, windowDays: 30, minRequests: 300, environment: "", service: "", route: "" };
  const [draft, setDraft] = useState({ ...settings, target: String(Number((settings.target * 100).toPrecision(8))), below: settings.below ?? "" });
  const { busy, error, run } = useSending();
  const set = (name) => (value) => setDraft({ ...draft, [name]: value });
  async function submit(event) {
    event.preventDefault();
    const body = { ...draft, target: numberOf(draft.target, 0.01), below: draft.objective === "latency" ? numberOf(draft.below) : null, windowDays: numberOf(draft.windowDays), minRequests: numberOf(draft.minRequests) };
    const path = slo.id ? placed("/slos", slo.id) : "/slos";
    if (await run(() => ask(path, {}, { method: slo.id ? "PUT" : "POST", body }))) {
      renewAll();
      close();
    }
  }
  return html`<${Dialog} title=${t(slo.id ? "slo.edit" : "slo.new")} close=${close}><form onSubmit=${submit}>
    <${Field} name=${t("rule.name")} value=${draft.name} set=${set("name")} required=${true} autofocus=${true} />
    <div class="columns">
      <${Field} name=${`${t("slo.target")} %`} value=${draft.target} set=${set("target")} inputmode="decimal" required=${true} />
      <${Select} name=${t("slo.objective")} value=${draft.objective} set=${set("objective")} options=${["errors", "latency"].map((each) => [each, t(`slo.objective.${each}`)])} />
      ${draft.objective === "latency" && html`<${Field} name=${t("slo.below")} value=${draft.below} set=${set("below")} inputmode="decimal" required=${true} />`}
      <${Field} name=${t("slo.days")} value=${draft.windowDays} set=${set("windowDays")} inputmode="numeric" />
      <${Field} name=${t("field.environment")} value=${draft.environment} set=${set("environment")} />
      <${Field} name=${t("field.service")} value=${draft.service} set=${set("service")} />
      <${Field} name=${t("field.route")} value=${draft.route} set=${set("route")} />
      <${Field} name=${t("rule.minRequests")} value=${draft.minRequests} set=${set("minRequests")} inputmode="numeric" />
    </div>
    <${Said} error=${error} /><div class="actions"><button class="button" disabled=${busy}>${t("rule.save")}</button></div>
  </form><//>`;
}
