/** The editor of a rule, with what it would have done over the last days. */

import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { go, query } from "../address.js";
import { renewAll, useAnswer } from "../answers.js";
import { ask } from "../api.js";
import { Card } from "../parts/card.js";
import { Check, Field, listOf, numberOf, Said, Select, useSending } from "../parts/form.js";
import { Answer } from "../parts/states.js";
import { deleting, placed, useConfirmed } from "../sections/confirmed.js";
import { MetricField } from "../sections/metricfield.js";
import { Preview, usePreview } from "../sections/preview.js";
import { isAdmin } from "../session.js";
import { t } from "../words.js";

const FRESH = { name: "", metric: "responseTime", figure: "", operator: "gt", warning: "", critical: "", enabled: true, for: "5m", criticalFor: "", keepFiringFor: "15m", over: "60s", cooldown: "4h", noData: "keep", minRequests: 20, groupBy: "", where: {}, recipients: "", description: "" };
const SHARES = ["ratio"];

export default function Rule() {
  const { id } = query.value;
  const answer = useAnswer(id ? placed("/alert-configs", id) : null, {}, { everyMs: 0 });
  const names = useAnswer("/alert-configs", {}, { everyMs: 0 });
  if (!id) return html`<${Editor} first=${startOf(query.value)} metrics=${names.value.data?.metrics ?? []} />`;
  return html`<${Answer} of=${answer} lines=${8}>${(data) => html`<${Editor} key=${data.id} id=${data.id} first=${draftOf(data)} readOnly=${data.readOnly} metrics=${names.value.data?.metrics ?? []} />`}<//>`;
}

/** A new rule may begin where somebody looked: a service, a metric. */
function startOf({ metric, service, environment }) {
  const where = { ...(environment && { environment }), ...(service && { service }) };
  return { ...FRESH, ...(metric && { metric }), where };
}

function draftOf(config) {
  const single = config.warning === null && config.critical === null;
  const shown = (value) => (value === null ? "" : SHARES.includes(config.unit) ? String(Number((value * 100).toPrecision(12))) : String(value));
  return {
    ...FRESH,
    ...config,
    warning: shown(single && config.severity === "warning" ? config.threshold : config.warning),
    critical: shown(single && config.severity === "critical" ? config.threshold : config.critical),
    for: `${config.for}s`,
    criticalFor: config.criticalFor === config.for ? "" : `${config.criticalFor}s`,
    keepFiringFor: `${config.keepFiringFor}s`,
    over: `${config.over}s`,
    cooldown: `${config.cooldown}s`,
    groupBy: config.groupBy.join(", "),
    recipients: config.recipients.join(", "),
  };
}

/** Return what the API takes for "5m", or for "300", which are seconds. */
const durationOf = (text) => (/^\s*\d+\s*$/.test(text) ? Number(text) : text.trim());

/** Return the body of the API for a draft; shares are typed in per cent. */
function bodyOf(draft, unit) {
  const scale = SHARES.includes(unit) ? 0.01 : 1;
  const line = (text) => numberOf(text, scale);
  const { name, metric, figure, operator, enabled, noData, description } = draft;
  return {
    ...{ name, metric, figure, operator, enabled, noData, description },
    warning: line(draft.warning),
    critical: line(draft.critical),
    for: durationOf(draft.for),
    criticalFor: draft.criticalFor ? durationOf(draft.criticalFor) : null,
    keepFiringFor: durationOf(draft.keepFiringFor),
    cooldown: durationOf(draft.cooldown),
    minRequests: numberOf(draft.minRequests) ?? 0,
    over: durationOf(draft.over),
    groupBy: draft.groupBy ? listOf(draft.groupBy) : null,
    where: Object.fromEntries(Object.entries(draft.where).filter(([, value]) => value)),
    recipients: listOf(draft.recipients),
  };
}

function Editor({ id, first, readOnly = false, metrics }) {
  const [draft, setDraft] = useState(first);
  const { busy, error, run } = useSending();
  const removal = useConfirmed(() => go("rules"));
  const names = useAnswer("/names", { limit: 200 }, { everyMs: 0 });
  const channels = useAnswer("/channels", {}, { everyMs: 0 });
  const unit = unitOf(draft.metric, names.value.data);
  const set = (name) => (value) => setDraft({ ...draft, [name]: value });
  const locked = readOnly || !isAdmin.value;
  const preview = usePreview(bodyOf(draft, unit));
  useEffect(() => {
    document.title = `${draft.name || t("rule.new")} · trimtab`;
  }, [draft.name]);

  async function save(event) {
    event.preventDefault();
    const body = bodyOf(draft, unit);
    const saved = await run(() => (id ? ask(placed("/alert-configs", id), {}, { method: "PUT", body }) : ask("/alert-configs", {}, { method: "POST", body })));
    if (saved) {
      renewAll();
      go("rules");
    }
  }
  const remove = () => removal.start({ title: t("rule.remove"), text: t("rule.removeText"), work: deleting("/alert-configs", id) });
  const percent = SHARES.includes(unit) ? "%" : unit;
  return html`<h1>${id ? html`<bdi>${draft.name}</bdi>` : t("rule.new")}</h1>
    ${readOnly && html`<p class="note">${t("rule.readOnly")}</p>`}
    <div class="grid">
      <${Card} span=${5}><form onSubmit=${save}><fieldset disabled=${locked}>
        <${Field} name=${t("rule.name")} value=${draft.name} set=${set("name")} placeholder=${t("rule.nameHint")} />
        <${MetricField} value=${draft.metric} set=${set("metric")} metrics=${metrics} names=${names.value.data} />
        <div class="columns">
          <${Select} name=${t("rule.operator")} value=${draft.operator} set=${set("operator")} options=${["gt", "gte", "lt", "lte"].map((each) => [each, t(`operator.${each}`)])} />
          <${Field} name=${`${t("severity.warning")} ${percent}`} value=${draft.warning} set=${set("warning")} inputmode="decimal" />
          <${Field} name=${`${t("severity.critical")} ${percent}`} value=${draft.critical} set=${set("critical")} inputmode="decimal" />
          <${Field} name=${t("rule.for")} value=${draft.for} set=${set("for")} hint=${t("rule.forHint")} />
          <${Field} name=${t("field.environment")} value=${draft.where.environment} set=${(value) => setDraft({ ...draft, where: { ...draft.where, environment: value } })} />
          <${Field} name=${t("field.service")} value=${draft.where.service} set=${(value) => setDraft({ ...draft, where: { ...draft.where, service: value } })} />
        </div>
        <${Field} name=${t("rule.recipients")} value=${draft.recipients} set=${set("recipients")} placeholder=${t("rule.defaultChannels")} hint=${t("rule.recipientsHint", { names: (channels.value.data?.channels ?? []).map((each) => each.name).join(", ") || "–" })} />
        <details><summary>${t("rule.more")}</summary><div class="columns">
          <${Field} name=${t("rule.figure")} value=${draft.figure} set=${set("figure")} hint=${t("rule.figureHint")} />
          <${Field} name=${t("rule.criticalFor")} value=${draft.criticalFor} set=${set("criticalFor")} />
          <${Field} name=${t("rule.keepFiringFor")} value=${draft.keepFiringFor} set=${set("keepFiringFor")} />
          <${Field} name=${t("rule.over")} value=${draft.over} set=${set("over")} />
          <${Field} name=${t("rule.cooldown")} value=${draft.cooldown} set=${set("cooldown")} />
          <${Field} name=${t("rule.minRequests")} value=${draft.minRequests} set=${set("minRequests")} inputmode="numeric" />
          <${Field} name=${t("rule.groupBy")} value=${draft.groupBy} set=${set("groupBy")} hint=${t("rule.groupByHint")} />
          <${Select} name=${t("rule.noData")} value=${draft.noData} set=${set("noData")} options=${["keep", "alert", "ok"].map((each) => [each, t(`noData.${each}`)])} />
          <${Field} name=${t("field.route")} value=${draft.where.route} set=${(value) => setDraft({ ...draft, where: { ...draft.where, route: value } })} />
        </div></details>
        <${Field} name=${t("rule.description")} value=${draft.description} set=${set("description")} />
        <${Check} name=${t("rule.enabled")} value=${draft.enabled} set=${set("enabled")} />
        <${Said} error=${error ?? removal.error} />
        ${!locked && html`<${Actions} id=${id} busy=${busy} remove=${remove} />`}
      </fieldset></form><//>
      <${Card} title=${t("preview.title")} sub=${t("preview.sub")} span=${7}><${Preview} preview=${preview} unit=${unit} /><//>
    </div>
    ${removal.dialog}`;
}

const Actions = ({ id, busy, remove }) => html`<div class="actions">
  <button class="button" disabled=${busy}>${t(id ? "rule.save" : "rule.make")}</button>
  ${id && html`<button type="button" class="button plain" onClick=${remove}>${t("rule.remove")}</button>`}
</div>`;

/** Return the unit in which the API takes the lines of a metric. */
function unitOf(metric, names) {
  const found = [...(names?.metrics ?? []), ...(names?.gauges ?? []), ...(names?.measures ?? [])].find((each) => each.name === metric);
  return { 1: "ratio", By: "bytes" }[found?.unit] ?? found?.unit ?? "";
}

