/** Alerts: those that are open, those that were, and silences. */

import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { change, href, query } from "../address.js";
import { useAnswer } from "../answers.js";
import { Card } from "../parts/card.js";
import { CsvButton } from "../parts/csv.js";
import { Answer } from "../parts/states.js";
import { range } from "../range.js";
import { AlertTable, metricText, subjectOf } from "../sections/alertrow.js";
import { NewSilence, SilenceTable } from "../sections/silence.js";
import { Unsent } from "../sections/unsent.js";
import { isAdmin } from "../session.js";
import { lastAlert } from "../stream.js";
import { t } from "../words.js";

const TABS = ["open", "ended", "silences"];

export default function Alerts() {
  const tab = TABS.includes(query.value.tab) ? query.value.tab : "open";
  const [isNew, setNew] = useState(false);
  return html`<div class="title"><h1>${t("page.alerts")}</h1>
      <a class="button plain" href=${href("rules")}>${t("page.rules")}</a>
      ${isAdmin.value && html`<button class="button plain" onClick=${() => setNew(true)}>${t("silence.new")}</button>`}</div>
    <${Unsent} />
    <div class="tabs">${TABS.map((each) => html`<button key=${each} aria-pressed=${each === tab} onClick=${() => change({ tab: each }, { push: true })}>${t(`alerts.${each}`)}</button>`)}</div>
    <div class="grid">${tab === "silences" ? html`<${Silences} />` : html`<${List} key=${tab} state=${tab} />`}</div>
    ${isNew && html`<${NewSilence} matchers=${{ service: query.value.service ?? "" }} close=${() => setNew(false)} made=${() => change({ tab: "silences" }, { push: true })} />`}`;
}

function List({ state }) {
  const { environment, service } = query.value;
  const asked = state === "open" ? {} : range.value.parameters;
  const answer = useAnswer("/alerts", { environment, service, state, ...asked, limit: 500 }, { everyMs: 10_000 });
  const alert = lastAlert.value;
  useEffect(() => {
    if (alert) answer.again();
  }, [alert]);
  const rows = () => [["what", "metric", "severity", "state", "value", "worst", "since", "fired", "resolved"], ...(answer.value.data?.alerts ?? []).map((each) => [subjectOf(each), metricText(each.metric), each.severity, each.state, each.value, each.worst, each.since, each.firedAt, each.resolvedAt])];
  return html`<${Card} title=${t(`alerts.${state}`)} tools=${html`<${CsvButton} name="alerts" rows=${rows} />`}>
    <${Answer} of=${answer} lines=${6} isEmpty=${(data) => !data.alerts.length} empty=${t(`alerts.none.${state}`)}>
      ${(data) => html`<${AlertTable} alerts=${data.alerts} leftOut=${data.alertsLeftOut} />`}
    <//>
  <//>`;
}

function Silences() {
  const answer = useAnswer("/silences", {}, { everyMs: 30_000 });
  return html`<${Card} title=${t("alerts.silences")}>
    <${Answer} of=${answer} isEmpty=${(data) => !data.silences.length} empty=${t("silence.none")}>${(data) => html`<${SilenceTable} silences=${data.silences} />`}<//>
  <//>`;
}
