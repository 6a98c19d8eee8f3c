/** How a page opens: the sentence, the tiles, what was chosen among versions and instances. */

import { html } from "htm/preact";
import { change, hrefOf, query } from "../address.js";
import { signed, written } from "../figures.js";
import { Figure } from "../parts/figure.js";
import { Dot, Icon } from "../parts/icons.js";
import { Spark } from "../parts/spark.js";
import { Answer } from "../parts/states.js";
import { lasted } from "../times.js";
import { named, t } from "../words.js";

const STATE_OF = { ok: "ok", warning: "warning", critical: "critical", empty: "none", late: "lost" };

/** The opening of a service's page; `answer` is that of /overview. */
export function Opening({ answer, title, scope }) {
  return html`<h1 class="thing">${title}<small><bdi>${scope.environment}</bdi></small></h1>
    <${Chosen} scope=${scope} fields=${["version", "instance"]} />
    <${Answer} of=${answer} lines=${2}>
      ${(data) => html`<${Sentence} sentence=${data.sentence} heading=${false} /><${Tiles} tiles=${data.tiles} />`}
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

/** A text in which the texts of links are links; each is set once, at its first place. */
function Linked({ text, links }) {
  let rest = text;
  const parts = [];
  const found = links
    .map((link) => ({ link, at: text.indexOf(link.text) }))
    .filter(({ link, at }) => link.text && at >= 0)
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

/** Figures beside what is usual for them; coloured only when out of the ordinary. `live` are values of now. */
export function Tiles({ tiles, live = {} }) {
  return html`<div class="tiles">${tiles.map((tile) => html`<${Tile} key=${tile.name} tile=${tile} live=${live[tile.name]} />`)}</div>`;
}

const UNITS = { "": "score" };
const JUDGED = { better: "good", worse: "bad", ordinary: "" };

function Tile({ tile, live }) {
  const unit = UNITS[tile.unit] ?? tile.unit;
  const value = live ?? tile.value;
  const usual = tile.usual && t("tile.usual", { value: written(tile.usual.value, unit), against: t(`against.${tile.usual.against}`) });
  return html`<div class="card tile">
    <div class="name">${named("tile", tile.name)}</div>
    <div class="value"><${Figure} value=${value} unit=${unit} why=${tile.why} /></div>
    <${Spark} values=${tile.series} width=${150} kind=${tile.judgement === "worse" ? "critical" : ""} />
    <div class=${`delta ${JUDGED[tile.judgement]}`} title=${usual || tile.why}>
      ${tile.change === null ? (tile.cores ? t("tile.cores", { count: tile.cores }) : (tile.why ?? usual ?? " ")) : html`${changed(tile)} ${t(`against.short.${tile.usual.against}`)}`}
    </div>
  </div>`;
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

/** How long something has lasted or did last, of times in ISO 8601. */
export const span = (from, to) => lasted((to ? Date.parse(to) : Date.now()) - Date.parse(from));
