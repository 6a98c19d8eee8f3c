/** What a team lead sees first: what is wrong, since when, where. */

import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { href, hrefOf, query } from "../address.js";
import { useAnswer } from "../answers.js";
import { useLiveHistory } from "../livehistory.js";
import { useMoments } from "../moments.js";
import { Card } from "../parts/card.js";
import { CsvButton } from "../parts/csv.js";
import { Figure } from "../parts/figure.js";
import { Dot } from "../parts/icons.js";
import { Shares, SharesKey, Spark } from "../parts/spark.js";
import { Answer, Empty } from "../parts/states.js";
import { rowsOf, Table } from "../parts/table.js";
import { range } from "../range.js";
import { useHistory } from "../scope.js";
import { FIRST_MS, FirstRun } from "../sections/firstrun.js";
import { Latency } from "../sections/latency.js";
import { Sentence, Tiles } from "../sections/opening.js";
import { Unsent } from "../sections/unsent.js";
import { metricsNow, useLiveFigures } from "../stream.js";
import { whenShort } from "../times.js";
import { locale, t } from "../words.js";

export default function Overview() {
  const { environment } = query.value;
  const [empty, setEmpty] = useState(false);
  const asked = { environment, ...range.value.parameters, lang: locale.value };
  const answer = useAnswer("/overview", asked, { everyMs: empty ? FIRST_MS : undefined });
  useEffect(() => setEmpty(isEmpty(answer.value.data)), [answer.value.data]);
  const history = useHistory({ environment });
  const live = useLiveHistory({ environment }, history);
  const moments = useMoments({ environment });
  useLiveFigures({ environment }, range.value.isLive);
  return html`<${Answer} of=${answer} lines=${10}>
    ${(data) =>
      isEmpty(data)
        ? html`<${FirstRun} sentence=${data.sentence} />`
        : html`<${Sentence} sentence=${data.sentence} />
            <${Unsent} />
            <${Tiles} data=${data} live=${liveFigures()} />
            <div class="grid">
              <${Latency} history=${live} moments=${moments} sub=${t("overview.all")} height=${292} />
              <${Happened} list=${data.happened} />
              <${Services} rows=${data.services} from=${data.latelyFrom} leftOut=${data.servicesLeftOut} />
            </div>`}
  <//>`;
}

const isEmpty = (data) => data?.sentence.severity === "empty" && !data.services.length;

/** Figures of the last ten seconds, each second, while the range moves and the stream is there. */
function liveFigures() {
  const now = range.value.isLive ? metricsNow.value?.data.application : null;
  return now ? { requests: now.throughput, p95: now.responseTime.p95, errorRate: now.errorRate } : {};
}

function Happened({ list }) {
  return html`<${Card} title=${t("overview.happened")} span=${4} kind="tall">
    ${list.length ? list.map((each, index) => html`<${Event} key=${index} event=${each} />`) : html`<${Empty} text=${t("overview.nothingHappened")} />`}
  <//>`;
}

const DOTS = { critical: "critical", warning: "warning", info: "mark" };

function Event({ event }) {
  const text = html`<bdi>${event.text}</bdi>`;
  return html`<div class="event"><${Dot} state=${DOTS[event.severity]} label=${t(`kind.${event.kind}`)} />
    <p>${event.link ? html`<a class="plainly" href=${hrefOf(event.link)}>${text}</a>` : text}${event.detail && html`<br /><small><bdi>${event.detail}</bdi></small>`}</p>
    <time>${event.at ? whenShort(event.at) : ""}</time></div>`;
}

/** Since when a figure is, where that is not what stands above all of them: requests have stopped, or nothing is known. */
function Since({ row, from }) {
  return row.from === from ? null : html`<span class="sub2 below">${t("tile.since", { time: whenShort(row.from) })}</span>`;
}

function Services({ rows, from, leftOut }) {
  const columns = [
    { key: "service", title: t("services.service"), text: true, show: (row) => html`<span class="named"><${Dot} state=${row.instances === null ? "none" : row.state} label=${t(`state.${row.state}`)} /><a class="plainly" href=${href("service", { environment: row.environment, service: row.service })}><bdi>${row.service}</bdi></a></span><span class="sub2 below"><bdi>${row.environment}</bdi> · ${row.instances === null ? "–" : t("services.instances", { count: row.instances })}</span>` },
    { key: "requestsPerSecond", title: t("services.rate"), unit: "perSecond", show: (row) => html`<${Figure} value=${row.requestsPerSecond} unit="perSecond" /><${Since} row=${row} from=${from} />` },
    { key: "p50", title: "p50", unit: "ms" },
    { key: "p95", title: "p95", unit: "ms" },
    { key: "p99", title: "p99", unit: "ms" },
    { key: "errorRate", title: t("services.errors"), unit: "ratio" },
    { key: "shares", title: t("services.where"), sorts: false, show: (row) => html`<${Shares} shares=${row.shares} />` },
    { key: "p95Series", title: t("services.p95Series"), sorts: false, show: (row) => html`<${Spark} values=${row.p95Series} kind=${row.state} />` },
  ];
  return html`<${Card} title=${t("page.services")} span=${8} tools=${html`<${SharesKey} /><${CsvButton} name="services" rows=${() => rowsOf(columns, rows)} />`}>
    <${Table} label=${t("page.services")} columns=${columns} rows=${rows} leftOut=${leftOut} rowKey=${(row) => `${row.environment} ${row.service}`} />
  <//>`;
}
