/** One alert: what it is about, since when, how its figure went, and what to do with it. */

import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { href, hrefOf, query } from "../address.js";
import { renewAll, useAnswer } from "../answers.js";
import { ask } from "../api.js";
import { besideLine } from "../figures.js";
import { Card } from "../parts/card.js";
import { Said, useSending } from "../parts/form.js";
import { Answer, Empty } from "../parts/states.js";
import { backTo } from "../range.js";
import { AlertDot, endedMs, lastedMs, lateText, lineText, linesText, metricText, ruleText, subjectOf } from "../sections/alertrow.js";
import { Issues } from "../sections/issues.js";
import { matchersOf, NewSilence } from "../sections/silence.js";
import { isAdmin } from "../session.js";
import { lastAlert } from "../stream.js";
import { lastedFully, moment } from "../times.js";
import { named, t } from "../words.js";

/** Rules that are always there, and no configurations: the pages that show what they judge. */
const BUILT_IN = { slo: "objectives", analysis: "advice" };

export default function Alert() {
  const { id } = query.value;
  const answer = useAnswer(id ? `/alerts/${encodeURIComponent(id)}` : null, {}, { everyMs: 10_000 });
  const changed = lastAlert.value;
  useEffect(() => {
    if (changed?.id === id) answer.again();
  }, [changed]);
  if (!id) return html`<${Empty} text=${t("alert.which")} />`;
  return html`<${Answer} of=${answer} lines=${8}>${(data) => html`<${Whole} alert=${data} />`}<//>`;
}

function Whole({ alert }) {
  const [silencing, setSilencing] = useState(false);
  const [isSilenced, setSilenced] = useState(false);
  const { busy, error, run } = useSending();
  const isOver = Boolean(alert.resolvedAt);
  const acknowledge = () => run(() => ask(`/alerts/${encodeURIComponent(alert.id)}/acknowledge`, {}, { method: "POST", body: {} })).then(renewAll);
  // What goes on is looked at live: a range that is fixed would hold on other pages too.
  const lookAt = isOver ? {} : { from: backTo(Date.parse(alert.since) - 1_800_000), to: "" };
  const around = { from: new Date(Date.parse(alert.since) - 1_800_000).toISOString(), to: isOver ? new Date(endedMs(alert) + 600_000).toISOString() : "" };
  return html`<h1><${AlertDot} alert=${alert} /><bdi>${subjectOf(alert)}</bdi>: ${alert.metadata?.title ?? metricText(alert.metric)}</h1>
    <p class="lede">${alert.metadata?.message ?? (alert.metric === "analysis" ? t(isOver || alert.state === "keeping" || alert.value < alert.threshold ? "alert.analysisWas" : "alert.analysisIs", { severity: named("severity", alert.severity) }) : t(isOver ? "alert.was" : alert.noData ? "alert.wasLast" : "alert.is", { metric: metricText(alert.metric), value: besideLine(isOver ? alert.worst : alert.value, alert.threshold, alert.unit), line: lineText(alert), severity: named("severity", alert.severity) }))}</p>
    <div class="actions spaced">
      ${alert.service && html`<a class="button" href=${href(alert.route ? "route" : "service", { environment: alert.environment, service: alert.service, route: alert.route || undefined, ...around, ...lookAt })}>${t("alert.look", { name: alert.service })}</a>`}
      ${!alert.service && alert.instance && html`<a class="button" href=${href("hosts", { instance: alert.instance, ...around, ...lookAt })}>${t("alert.look", { name: alert.instance })}</a>`}
      ${isAdmin.value && !isOver && !alert.acknowledgedBy && html`<button class="button plain" disabled=${busy} onClick=${acknowledge}>${t("alert.take")}</button>`}
      ${isAdmin.value && !isOver && html`<button class="button plain" onClick=${() => setSilencing(true)}>${t("silence.new")}</button>`}
      ${alert.ruleId.startsWith("threshold.") ? html`<a class="button plain" href=${href("thresholds", { metric: alert.metric })}>${t("page.thresholds")}</a>` : html`<a class="button plain" href=${BUILT_IN[alert.ruleId] ? href(BUILT_IN[alert.ruleId], { environment: alert.environment || undefined, service: alert.service || undefined }) : href("rule", { id: alert.ruleId })}>${t(BUILT_IN[alert.ruleId] ? `page.${BUILT_IN[alert.ruleId]}` : "alert.rule")}</a>`}
    </div>
    <${Said} error=${error} />
    ${isSilenced && !alert.held && html`<p class="note" role="status">${t("silence.made")}</p>`}
    <div class="grid">
      <${Card} title=${t("alert.course")} span=${5}><dl class="facts">${factsOf(alert).map(([name, value]) => html`<dt key=${name}>${name}</dt><dd>${value}</dd>`)}</dl><//>
      <${Card} title=${t("alert.found")} span=${7}>
        <${Changes} alert=${alert} isOver=${isOver} />
        ${alert.metadata?.analysis ? html`<${Issues} issues=${alert.metadata.analysis.issues} />` : html`<${Related} alert=${alert} around=${around} />`}
      <//>
    </div>
    ${silencing && html`<${NewSilence} matchers=${matchersOf(alert)} close=${() => setSilencing(false)} made=${() => setSilenced(true)} />`}`;
}

function factsOf(alert) {
  return [
    [t("alerts.state"), html`${named("alertState", alert.state)}${lateText(alert) && html` (${lateText(alert)})`}${alert.held && html` (${named("held", alert.held)})`}`],
    // Levels of the analysis are severities: as numbers they say nothing.
    ...(alert.metric === "analysis" ? [] : [
      [t("alerts.value"), html`${besideLine(alert.value, alert.threshold, alert.unit)}${alert.over && html` ${t("alert.over", { time: lastedFully(alert.over * 1000) })}`} <span class="none">${t("alerts.line", { line: linesText(alert) })}</span>`],
      [t("alerts.worst"), besideLine(alert.worst, alert.threshold, alert.unit)],
    ]),
    [t("alerts.since"), moment(alert.since)],
    ...(alert.severitySince && alert.severitySince !== alert.since ? [[t("alert.severitySince", { severity: named("severity", alert.severity) }), moment(alert.severitySince)]] : []),
    ...(alert.firedAt ? [[t("alert.fired"), moment(alert.firedAt)]] : []),
    [t("alerts.lasts"), lastedFully(lastedMs(alert))],
    ...(alert.recoveredAt ? [[t("alert.recovered"), moment(alert.recoveredAt)]] : []),
    ...(alert.resolvedAt ? [[t("alert.resolved"), moment(alert.resolvedAt)]] : []),
    [t("alert.lastData"), moment(alert.lastData)],
    [t("alert.takenBy"), alert.acknowledgedBy ? html`<bdi>${alert.acknowledgedBy}</bdi>, ${moment(alert.acknowledgedAt)}` : "–"],
    [t("alert.rule"), html`<bdi>${ruleText(alert)}</bdi>`],
    ...Object.entries(alert.labels).filter(([, value]) => value).map(([name, value]) => [named("field", name), html`<bdi>${value}</bdi>`]),
  ];
}

/** What the message says of why: the route and line of most errors, where time went, a deploy before. */
function Changes({ alert, isOver }) {
  const answer = useAnswer(`/alerts/${encodeURIComponent(alert.id)}/changes`, {}, { everyMs: isOver ? 0 : 30_000 });
  // Deploys have their place among what happened.
  const found = (answer.value.data?.changes ?? []).filter((each) => each.kind !== "mark");
  return html`${found.map((each) => html`<div class="event" key=${each.text}><i class="dot"></i><p>${each.page ? html`<a class="plainly" href=${hrefOf(each.page)}><bdi>${each.text}</bdi></a>` : html`<bdi>${each.text}</bdi>`}</p><time></time></div>`)}`;
}

/** What happened in the time of an alert: marks, and other alerts. */
function Related({ alert, around }) {
  const asked = { from: around.from, to: around.to };
  const marks = useAnswer("/marks", { ...asked, service: alert.service, limit: 10 }, { everyMs: 0 });
  const others = useAnswer("/alerts", { ...asked, state: "all", limit: 10 }, { everyMs: 0 });
  const found = [
    ...(marks.value.data?.marks ?? []).map((each) => ({ at: each.at, dot: "mark", text: `${named("mark", each.kind)}: ${each.service} ${each.name}`, detail: each.detail })),
    ...(others.value.data?.alerts ?? []).filter((each) => each.id !== alert.id && each.firedAt).map((each) => ({ at: each.since, dot: each.severity, text: `${subjectOf(each)}: ${ruleText(each)}`, id: each.id })),
  ].sort((a, b) => (a.at < b.at ? 1 : -1));
  if (!found.length) return html`<${Empty} text=${t("alert.nothing")} />`;
  return html`${found.map((each, index) => html`<div class="event" key=${index}><i class=${`dot ${each.dot}`}></i><p>${each.id ? html`<a class="plainly" href=${href("alert", { id: each.id })}><bdi>${each.text}</bdi></a>` : html`<bdi>${each.text}</bdi>`}${each.detail && html`<br /><small><bdi>${each.detail}</bdi></small>`}</p><time>${moment(each.at)}</time></div>`)}`;
}
