/** One request that was kept whole: what took its time, and the line that failed. */

import { html } from "htm/preact";
import { href, query } from "../address.js";
import { useAnswer } from "../answers.js";
import { written } from "../figures.js";
import { Card } from "../parts/card.js";
import { Dot } from "../parts/icons.js";
import { Shares, SharesKey } from "../parts/spark.js";
import { Answer, Empty } from "../parts/states.js";
import { partsOf, Timeline } from "../sections/kept.js";
import { Queries } from "../sections/queries.js";
import { moment } from "../times.js";
import { named, t } from "../words.js";

export default function Request() {
  const { id } = query.value;
  const answer = useAnswer(id ? `/slow-requests/${encodeURIComponent(id)}` : null, {}, { everyMs: 0 });
  if (!id) return html`<${Empty} text=${t("request.which")} />`;
  return html`<${Answer} of=${answer} lines=${10}>${(data) => html`<${Whole} request=${data} />`}<//>`;
}

function Whole({ request }) {
  const { environment, service, route, method } = request;
  return html`<h1><bdi>${method} ${route}</bdi></h1>
    <p class="lede"><${Dot} state=${request.error || request.status >= 500 ? "critical" : "warning"} label=${named("reason", request.reason)} />${t("request.lede", { reason: named("reason", request.reason), time: written(request.duration, "ms"), at: moment(request.at) })}</p>
    ${request.error && html`<p class="note bad"><b><bdi>${request.error}</bdi></b> ${request.errorSite && html`${t("request.at")} <code><bdi>${request.errorSite}</bdi></code>`}</p>`}
    <div class="grid">
      <${Card} title=${t("timeline.title")} span=${8} tools=${html`<${SharesKey} />`}><${Timeline} request=${request} /><//>
      <${Card} title=${t("request.facts")} span=${4}><dl class="facts">
        ${factsOf(request).map(([name, value]) => html`<dt key=${name}>${name}</dt><dd>${value}</dd>`)}
      </dl><h3>${t("kept.parts")}</h3><${Shares} shares=${partsOf(request)} />
        <p class="actions"><a href=${href("route", { environment, service, route, method })}>${t("request.toRoute")}</a></p><//>
      <${Queries} scope=${{ environment, service, route }} />
    </div>`;
}

function factsOf(request) {
  const parts = partsOf(request);
  return [
    [t("kept.status"), request.status],
    [t("kept.duration"), written(request.duration, "ms")],
    ...Object.entries(parts).filter(([, ms]) => ms > 0).map(([part, ms]) => [t(`part.${part}`), written(ms, "ms")]),
    [t("request.queries"), request.database.calls],
    [t("field.service"), html`<a href=${href("service", { environment: request.environment, service: request.service })}><bdi>${request.service}</bdi></a>`],
    [t("shell.environment"), html`<bdi>${request.environment}</bdi>`],
    ...(request.version ? [[t("field.version"), html`<bdi>${request.version}</bdi>`]] : []),
    [t("field.instance"), html`<bdi>${request.instance}</bdi>`],
    [t("field.trace"), request.trace ? html`<code><bdi>${request.trace}</bdi></code>` : html`<span class="none" title=${t("request.noTrace")}>–</span>`],
  ];
}
