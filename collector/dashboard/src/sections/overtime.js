/** Gauges and measures over time, a line for each group. */

import { html } from "htm/preact";
import { useMemo } from "preact/hooks";
import { useAnswer } from "../answers.js";
import { Card } from "../parts/card.js";
import { Chart } from "../parts/chart.js";
import { Answer } from "../parts/states.js";
import { range, stepOf } from "../range.js";
import { t } from "../words.js";

/** The order of colours of lines that have no colour of their own. */
const LINES = ["accent", "second", "external", "cache", "queue", "third", "database", "edge"];

/** Return the text of a group of the API: its values, without those that all groups share. */
function groupTexts(groups) {
  const names = Object.keys(groups[0] ?? {});
  const telling = names.filter((name) => new Set(groups.map((each) => each[name])).size > 1);
  const used = telling.length ? telling : names.slice(-1);
  return groups.map((group) => used.map((name) => group[name]).filter(Boolean).join(" ") || t("group.none"));
}

/** Return {times, series} for Chart of series of the API: `value(row)` is what is drawn of each step. */
function lined(found, value, titles, step) {
  const times = withGaps([...new Set(found.flatMap((each) => each.series.map((row) => row.t)))].sort(), step);
  const texts = titles ?? groupTexts(found.map((each) => each.group));
  return {
    times: times.map((each) => Date.parse(each)),
    series: found.map((each, index) => {
      const rows = new Map(each.series.map((row, at) => [row.t, value(row, each.series[at - 1])]));
      return { key: `${each.name} ${JSON.stringify(each.group)}`, title: texts[index], colour: LINES[index % LINES.length], values: times.map((time) => rows.get(time) ?? null) };
    }),
  };
}

/** What rules call a gauge besides its own name. */
const JUDGED = { "trimtab.app.loop_delay": ["eventLoopDelay"] };

/** Return times with one more in each gap of over two steps (s), so that no line crosses it. */
function withGaps(times, step) {
  if (typeof step !== "number") return times;
  return times.flatMap((time, index) => {
    const next = times[index + 1];
    const isGap = next && Date.parse(next) - Date.parse(time) > 2500 * step;
    return isGap ? [time, new Date(Date.parse(time) + step * 1000).toISOString()] : [time];
  });
}

const VALUES = {
  mean: (row) => row.mean,
  max: (row) => row.max,
  last: (row) => row.last ?? row.mean,
  /** Of a counter that is told as a gauge: by how much it grew per second; a restart begins anew. */
  rate: (row, before) => {
    if (!before) return null;
    const seconds = (Date.parse(row.t) - Date.parse(before.t)) / 1000;
    return row.max >= before.max ? (row.max - before.max) / seconds : null;
  },
};

/**
 * Gauges of the catalogue. `names` are one or several; `groupBy` the fields that make a line each, `figure` is
 * "mean", "max", "last" or "rate"; `filters` go to the API. `lines` is how many at most.
 */
export function GaugesOverTime({ title, sub, names, unit, groupBy = ["service", "instance"], filters = {}, figure = "mean", span = 6, height = 170, lines = 8, from0 = true, moments, titles, floor }) {
  const answer = useAnswer("/gauges", { ...filters, ...range.value.parameters, name: names, groupBy, step: stepOf(range.value.seconds, 90), limit: lines });
  return html`<${Drawn} answer=${answer} list=${(data) => data.gauges} leftOut=${(data) => data.gaugesLeftOut} value=${VALUES[figure]}
    ...${{ title, sub, unit, span, height, from0, moments, floor, titles: titles && titlesOf(titles) }} />`;
}

const titlesOf = (titles) => (found) => found.map((each) => titles[each.name] ?? each.name);

/** Measures; `figure` is a key of their figures: perSecond, p95, sum, mean, last. */
export function MeasuresOverTime({ title, sub, names, unit, groupBy = [], filters = {}, figure = "perSecond", span = 6, height = 170, lines = 8, scale = 1, titles, from0 = true }) {
  const answer = useAnswer("/measures", { ...filters, ...range.value.parameters, name: names, groupBy, step: stepOf(range.value.seconds, 90), limit: lines });
  return html`<${Drawn} answer=${answer} list=${(data) => data.measures} leftOut=${(data) => data.measuresLeftOut} value=${(row) => (row[figure] === null ? null : row[figure] * scale)}
    ...${{ title, sub, unit, span, height, from0, titles: titles && titlesOf(titles) }} />`;
}

function Drawn({ answer, list, leftOut, value, title, sub, unit, span, height, from0, moments, titles, floor }) {
  return html`<${Card} title=${title} sub=${sub} span=${span}>
    <${Answer} of=${answer} lines=${5} isEmpty=${(data) => !list(data).some((each) => each.series.length)} empty=${t("overtime.none")}>
      ${(data) => html`<${Lines} found=${list(data)} step=${data.step} value=${value} titles=${titles} label=${title} ...${{ unit, height, from0, floor, moments }} />
        ${leftOut(data) > 0 && html`<p class="hint">${t("overtime.leftOut", { count: leftOut(data) })}</p>`}`}
    <//>
  <//>`;
}

function Lines({ found, step, value, titles, label, unit, height, from0, floor, moments }) {
  const { times, series } = useMemo(() => lined(found, value, titles?.(found), step), [found]);
  return html`<${Chart} label=${label} unit=${unit ?? found[0].unit} height=${height} times=${times} series=${series} from0=${from0} floor=${floor} marks=${moments?.marks} spans=${moments?.spansOf?.([found[0].name, ...JUDGED[found[0].name] ?? []])} />`;
}
