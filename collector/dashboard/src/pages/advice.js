/** What is not well, and what to change in settings: each with its evidence. Nothing is run by itself. */

import { html } from "htm/preact";
import { useAnswer } from "../answers.js";
import { Card } from "../parts/card.js";
import { Evidence } from "../parts/evidence.js";
import { Answer, Empty } from "../parts/states.js";
import { range } from "../range.js";
import { owners, OwnersHead } from "../sections/owners.js";
import { locale, named, t } from "../words.js";
import { Issues } from "../sections/issues.js";

export default function AdvicePage() {
  const filters = { ...owners(), ...range.value.parameters, lang: locale.value };
  const analysis = useAnswer("/analysis", filters, { everyMs: 60_000 });
  const advice = useAnswer("/advice", filters, { everyMs: 60_000 });
  return html`<${OwnersHead} title=${t("page.advice")} lede=${t("advice.lede")} />
    <div class="grid">
      <${Card} title=${t("advice.issues")} span=${6}><${Answer} of=${analysis} lines=${6}>
        ${(data) => html`${data.issues.length ? html`<${Issues} issues=${data.issues} />` : html`<${Empty} text=${t("advice.well")} />`}
          ${data.notJudged.length > 0 && html`<details><summary>${t("advice.notJudged", { count: data.notJudged.length + data.notJudgedLeftOut })}</summary><ul class="notes">${data.notJudged.map((each, index) => html`<li key=${index}>${named("issue", each.type)}: ${each.reason}</li>`)}</ul></details>`}`}<//><//>
      <${Card} title=${t("advice.settings")} span=${6}><${Answer} of=${advice} lines=${6}>
        ${(data) => html`${data.advice.length ? data.advice.map((each, index) => html`<${Item} key=${index} item=${each} />`) : html`<${Empty} text=${t("advice.fine")} />`}
          ${data.fine.length > 0 && html`<h3>${t("advice.sound")}</h3><ul class="notes">${data.fine.map((each, index) => html`<li key=${index}>${each.text}</li>`)}</ul>`}
          ${data.notLookedAt.length > 0 && html`<details><summary>${t("advice.notLooked", { count: data.notLookedAt.length + data.notLookedAtLeftOut })}</summary><ul class="notes">${data.notLookedAt.map((each, index) => html`<li key=${index}>${each.reason}</li>`)}</ul></details>`}`}<//><//>
    </div>`;
}

const DOTS = { high: "critical", medium: "warning", low: "mark" };

function Item({ item }) {
  return html`<div class="event"><i class=${`dot ${DOTS[item.priority]}`}></i><div>
    <p><b><bdi>${item.title}</bdi></b></p><p>${item.why} ${item.impact}</p>
    <dl class="facts"><dt>${t("advice.set")}</dt><dd><bdi>${item.set}</bdi></dd><dt>${t("advice.change")}</dt><dd><bdi>${item.change}</bdi></dd></dl>
    <${Evidence} list=${item.evidence} />
    ${item.commands.map((each, index) => html`<pre key=${index}><code><bdi>${each}</bdi></code></pre>`)}
  </div></div>`;
}
