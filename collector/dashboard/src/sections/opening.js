/** How a page opens: the sentence, the tiles, what was chosen among versions and instances. */

import { html } from "htm/preact";
import { change, hrefOf, query } from "../address.js";
import { signed, written } from "../figures.js";
import { Figure } from "../parts/figure.js";
import { Dot, Icon } from "../parts/icons.js";
import { Spark } from "../parts/spark.js";
import { Answer } from "../parts/states.js";
import { range } from "../range.js";
import { lastedFully, whenShort } from "../times.js";
import { named, t } from "../words.js";

const STATE_OF = { ok: "ok", warning: "warning", critical: "critical", empty: "none", late: "lost" };

/** The opening of a service's page; `answer` is that of /overview. */
export function Opening({ answer, title, scope }) {
  return html`<h1 class="thing">${title}<small><bdi>${scope.environment}</bdi></small></h1>
    <${Chosen} scope=${scope} fields=${["version", "instance"]} />
    <${Answer} of=${answer} lines=${2}>
      ${(data) => html`<${Sentence} sentence=${data.sentence} heading=${false} /><${Tiles} data=${data} />`}
    <//>`;
}

/** What a colleague would say; pieces of it lead to the evidence. */
export function Sentence({ sentence, heading = true }) {
  const text = html`<${Dot} state=${STATE_OF[sentence.severity]} label=${named("state", sentence.severity)} /><${Linked} text=${sentence.text} links=${sentence.links} />`;
  return html`<div class=${`sentence ${sentence.severity}`}>
    ${heading ? html`<h1>${text}</h1>` : html`<p class="said">${text}</p>`}
    ${sentence.detail && html`<p class="lede"><${Linked} text=${sentence.detail} links=${sentence.links} /></p>`}
  </div>`;
}

const WORD = /[\p{N}A-Za-z_]/u;
const BEFORE = /[\p{N}A-Za-z_.:]/u;

/**
 * Return where a text stands by itself within another, -1 for nowhere: version 2 is not the 2 of 19:28. Korean
 * particles follow a name without a space.
 */
function placeOf(wanted, text) {
  for (let at = wanted ? text.indexOf(wanted) : -1; at >= 0; at = text.indexOf(wanted, at + 1)) {
    const goesOnBefore = WORD.test(wanted[0]) && BEFORE.test(text[at - 1] ?? "");
    const goesOnAfter = WORD.test(wanted.at(-1)) && WORD.test(text[at + wanted.length] ?? "");
    if (!goesOnBefore && !goesOnAfter) return at;
  }
  return -1;
}

/** A text in which the texts of links are links; each is set once, at its first place. */
function Linked({ text, links }) {
  let rest = text;
  const parts = [];
  const found = links
    .map((link) => ({ link, at: placeOf(link.text, text) }))
    .filter(({ at }) => at >= 0)
    .sort((a, b) => a.at - b.at);
  let done = 0;
  for (const { link, at } of found) {
    if (at < done) continue;
    parts.push(rest.slice(0, at - done), html`<a href=${hrefOf(link)}><bdi>${link.text}</bdi></a>`);
    rest = text.slice(at + link.text.length);
    done = at + link.text.length;
  }
  return html`${parts}${rest}`;
}

/**
 * Figures beside what is usual for them; coloured only when out of the ordinary. `data` is the answer of
 * /overview, `live` what some of them are in this second.
 */
export function Tiles({ data, live = {} }) {
  const spanMs = Date.parse(data.latelyTo) - Date.parse(data.latelyFrom);
  return html`<p class="hint">${range.value.isLive ? t("tile.of", { time: lastedFully(spanMs) }) : t("tile.ofPast")}</p>
    <div class="tiles">${data.tiles.map((tile) => html`<${FigureTile} key=${tile.name} tile=${tile} from=${data.latelyFrom} live=${live[tile.name]} />`)}</div>`;
}

const UNITS = { "": "score" };
const JUDGED = { better: "good", worse: "bad", ordinary: "" };

function FigureTile({ tile, from, live }) {
  const unit = UNITS[tile.unit] ?? tile.unit;
  return html`<div class="card tile">
    <div class="name">${named("tile", tile.name)}${tile.from !== from && html`<span class="now">${t("tile.since", { time: whenShort(tile.from) })}</span>`}${tile.value !== null && Number.isFinite(live) && html`<span class="now">${t("tile.now", { value: written(live, unit) })}</span>`}</div>
    <div class="value"><${Figure} value=${tile.value} unit=${unit} why=${tile.why} /></div>
    <${Spark} values=${tile.series} width=${150} kind=${tile.judgement === "worse" ? "critical" : ""} />
    <div class=${`delta ${JUDGED[tile.judgement]}`} title=${tile.usual ? t(`against.${tile.usual.against}`) : tile.why}>${beside(tile, unit)}</div>
  </div>`;
}

/** What stands below a figure: its change and what is usual, else why there is none. */
function beside(tile, unit) {
  if (tile.change !== null) return t("tile.beside", { change: changed(tile), usual: written(tile.usual.value, unit) });
  if (tile.cores) return t("tile.cores", { count: tile.cores });
  return tile.why ?? (tile.value === null ? " " : t("tile.noUsual"));
}

function changed({ change: value, changeUnit }) {
  if (changeUnit === "ratio") return signed(value);
  if (changeUnit === "points") return signed(value, "points");
  return signed(value, "score");
}

/** What the address has chosen besides service and route, each with a way to drop it. */
export function Chosen({ scope, fields }) {
  const chosen = fields.filter((field) => query.value[field]);
  if (!chosen.length) return null;
  return html`<p class="chosen">${chosen.map((field) => html`<button key=${field} class="chip" onClick=${() => change({ [field]: "" }, { push: true })} aria-label=${t("chosen.drop", { name: t(`sides.${field}`) })}><small>${t(`sides.${field}`)}</small> <bdi>${scope[field]}</bdi> <${Icon} name="close" /></button>`)}</p>`;
}
