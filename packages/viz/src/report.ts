// The report: one HTML file that opens from disk, asks the network for nothing and can be read without script. This
// room writes the static page; src/page brings it to life; the data it embeds is exactly the ExplainData it was given.
import { escapeHtml, escapeJson } from './escape.js'
import {
  type Attribution,
  checkExplainData,
  type DeletionCheck,
  type ExplainData,
  failedChecks,
  type HeadRow,
  type Prediction,
  sinkPositions,
} from './explain-data.js'
import { pageScript, pageScriptHash, pageStyle, pageStyleHash } from './generated/page.js'
import { shorten, visibleText, visibleToken } from './glyphs.js'
import { type HeadRows, headLimit, headRows } from './head-rows.js'
import { headViewMark } from './head-view.js'
import { initialSelection } from './initial.js'
import { type Child, h, type Mark, toHtml } from './markup.js'
import { openPatterns } from './patterns.js'
import {
  bdi,
  colouring,
  legend,
  lensTable,
  lensWindow,
  looks,
  lookTable,
  named,
  runsRightToLeft,
  tapOf,
  tokenSpans,
} from './report-marks.js'
import { levelClass, limitOf, percent, pretty } from './scale.js'

const section = (id: string, title: string, ...children: Child[]): Mark =>
  h('section', { id, 'aria-labelledby': `${id}-title` }, h('h2', { id: `${id}-title` }, title), ...children)

/** A bar whose length is a share of 1: a drawing beside a printed number, never instead of it. */
const bar = (share: number, negative = false): Mark =>
  h(
    'svg',
    { class: 'bar', viewBox: '0 0 100 8', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    h('rect', { class: 'track', width: 100, height: 8 }),
    h('rect', {
      class: negative ? 'fill against' : 'fill',
      width: Math.max(0, Math.min(100, share * 100)).toFixed(2),
      height: 8,
    }),
  )

function predictionTable(caption: string, top: Prediction[]): Mark {
  const most = Math.max(...top.map((p) => p.probability), 1e-9)
  return h(
    'table',
    { class: 'bars' },
    h('caption', {}, caption),
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        h('th', { scope: 'col' }, 'token'),
        h('th', { scope: 'col' }, 'probability'),
        h('td', { class: 'quiet' }, `bars: 0 to ${percent(most)}`),
      ),
    ),
    h(
      'tbody',
      {},
      top.map((p) =>
        h(
          'tr',
          {},
          h('th', { scope: 'row', title: `id ${p.id}` }, bdi(visibleToken(p.token, p.bytes))),
          h('td', {}, percent(p.probability)),
          h('td', {}, bar(p.probability / most)),
        ),
      ),
    ),
  )
}

/** Rows of text, the first cell of each its head. */
const plainTable = (caption: string, head: string[], rows: string[][]): Mark =>
  h(
    'div',
    { class: 'scroll tall', tabindex: 0, role: 'region', 'aria-label': caption },
    h(
      'table',
      { class: 'bars' },
      h('caption', {}, caption),
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          head.map((t) => h('th', { scope: 'col' }, t)),
        ),
      ),
      h(
        'tbody',
        {},
        rows.map(([first, ...rest]) =>
          h(
            'tr',
            {},
            h('th', { scope: 'row' }, h('bdi', {}, first)),
            rest.map((t) => h('td', {}, t)),
          ),
        ),
      ),
    ),
  )

function answers(data: ExplainData): Mark[] {
  const out: Mark[] = []
  if (data.predictions) out.push(predictionTable('Next token', data.predictions.top))
  for (const m of data.masked ?? []) out.push(predictionTable(`At ${named(data, m.position)}`, m.top))
  if (data.classes)
    out.push(
      predictionTable(
        'Class',
        data.classes.map((c, id) => ({ token: c.label, id, probability: c.probability })),
      ),
    )
  if (data.tokenClasses) {
    const rows = data.tokenClasses.map((c) => [named(data, c.position), c.label, percent(c.probability)])
    out.push(plainTable('Class of each token', ['token', 'class', 'probability'], rows))
  }
  if (data.answer !== undefined)
    out.push(
      plainTable(
        'Answer',
        ['text', 'tokens', 'start + end logit'],
        data.answer
          ? [
              [
                shorten(visibleText(data.answer.text), 160),
                `${data.answer.start} to ${data.answer.end}`,
                pretty(data.answer.score),
              ],
            ]
          : [['the model finds no answer', '–', '–']],
      ),
    )
  if (data.nearest)
    out.push(
      h(
        'table',
        { class: 'bars' },
        h('caption', {}, `Nearest lines (${data.nearest.measure})`),
        h(
          'thead',
          {},
          h('tr', {}, h('th', { scope: 'col' }, 'line'), h('th', { scope: 'col' }, data.nearest.measure)),
        ),
        h(
          'tbody',
          {},
          data.nearest.lines.map((l) =>
            h(
              'tr',
              {},
              h('th', { scope: 'row' }, h('bdi', {}, shorten(visibleText(l.text), 160))),
              h('td', {}, pretty(l.score)),
            ),
          ),
        ),
      ),
    )
  return out
}

/** Twenty grey ticks for random orders and one mark for the method, on one axis with its ends printed. */
function deletionStrip(check: DeletionCheck): Mark {
  const all = [check.auc, ...check.random].filter(Number.isFinite)
  const [low, high] = [Math.min(...all), Math.max(...all)]
  const span = high - low || 1
  const x = (v: number): string => (10 + ((v - low) / span) * 280).toFixed(1)
  const mean = check.random.reduce((a, b) => a + b, 0) / Math.max(1, check.random.length)
  return h(
    'div',
    { class: 'deletion' },
    h(
      'svg',
      {
        viewBox: '0 0 300 46',
        role: 'img',
        'aria-label': `deletion area ${pretty(check.auc)}; random orders from ${pretty(Math.min(...check.random))} to ${pretty(Math.max(...check.random))}`,
      },
      h('line', { class: 'axis', x1: 10, x2: 290, y1: 26, y2: 26 }),
      check.random.map((r) => h('line', { class: 'random', x1: x(r), x2: x(r), y1: 18, y2: 34 })),
      Number.isFinite(check.auc) ? h('path', { class: 'method', d: `M${x(check.auc)} 26l-6 -14h12z` }) : null,
      h('text', { x: 10, y: 45, 'font-size': 10 }, pretty(low)),
      h('text', { x: 290, y: 45, 'font-size': 10, 'text-anchor': 'end' }, pretty(high)),
    ),
    h('p', {}, h('b', {}, check.sentence)),
    h(
      'p',
      { class: 'quiet' },
      `Deletion check: ▼ this method ${pretty(check.auc)}, | ${check.random.length} random orders, mean ${pretty(mean)}; lower is better.`,
    ),
  )
}

function attributionPanel(data: ExplainData, a: Attribution, selected: number): Mark {
  const limit = limitOf(a.values)
  return h(
    'article',
    { class: 'panel' },
    h('h3', {}, a.name),
    h('p', { class: 'quiet' }, h('bdi', {}, a.target)),
    legend(
      limit,
      a.signed,
      a.signed
        ? '0 is the ground colour; bar below a token: towards, above: against'
        : 'bar below a token: the same value',
    ),
    h(
      'p',
      { class: 'tokens', dir: runsRightToLeft(data.text) ? 'rtl' : 'ltr' },
      tokenSpans(data, { values: a.values, limit, signed: a.signed, caption: a.name }, selected, null),
    ),
    a.note ? h('p', { class: 'quiet' }, a.note) : null,
    a.deletion
      ? deletionStrip(a.deletion)
      : h('p', { class: 'quiet' }, 'No deletion check was run for this method: take it as a hint only.'),
  )
}

const effect = (v: number): string =>
  Number.isFinite(v) ? `${v < 0 ? '−' : '+'}${Math.abs(v).toFixed(3)}` : pretty(v)

function headTable(table: NonNullable<ExplainData['headTable']>): Mark[] {
  const values = table.rows.map((r) => r.value)
  const limit = limitOf(values)
  const defined = values.some((v) => v !== null)
  const score = (v: number | null): Mark =>
    h(
      'td',
      { class: levelClass(v, 1, false) },
      v === null ? '–' : Number.isFinite(v) ? v.toFixed(2) : pretty(v),
    )
  return [
    h(
      'div',
      { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'heads' },
      h(
        'table',
        { class: 'heads' },
        h(
          'caption',
          {},
          defined
            ? `Heads that matter for ${table.target ?? 'the prediction'}, largest direct effect first`
            : 'Heads by their kind, highest score first',
        ),
        h(
          'thead',
          {},
          h(
            'tr',
            {},
            ['head', defined ? 'effect' : null, 'kind', 'previous token', 'duplicate', 'induction'].map(
              (t) => (t ? h('th', { scope: 'col', class: t === 'kind' ? 'left' : null }, t) : null),
            ),
          ),
        ),
        h(
          'tbody',
          {},
          table.rows.map((r: HeadRow) =>
            h(
              'tr',
              {},
              h(
                'th',
                { scope: 'row' },
                h(
                  'span',
                  { class: 'open', 'data-open': `${r.layer},${r.head}` },
                  `layer ${r.layer} head ${r.head}`,
                ),
              ),
              defined
                ? h(
                    'td',
                    { class: levelClass(r.value, limit, true) },
                    r.value === null ? '–' : effect(r.value),
                  )
                : null,
              h('td', { class: 'left' }, r.kind ?? '–'),
              score(r.previous),
              score(r.duplicate),
              score(r.induction),
            ),
          ),
        ),
      ),
    ),
    defined ? legend(limit, true, 'effect: blue towards, orange against') : h('p'),
    table.note ? h('p', { class: 'quiet' }, table.note) : h('p'),
  ]
}

function provenance(data: ExplainData): Mark {
  const p = data.provenance
  const packed = data.patterns
  const text = h('bdi', { class: 'tk' }, visibleText(data.text))
  const row = (name: string, ...value: Child[]): Mark =>
    h('tr', {}, h('th', { scope: 'row' }, name), h('td', {}, ...value))
  const list = (items: string[], empty: string): Child =>
    items.length === 0
      ? empty
      : h(
          'ul',
          {},
          items.map((i) => h('li', {}, i)),
        )
  return h(
    'div',
    { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'provenance' },
    h(
      'table',
      { class: 'facts' },
      h('caption', {}, 'Everything that is needed to make these numbers again'),
      h(
        'tbody',
        {},
        row(
          'model',
          `${p.model} (${p.family}, ${p.parameters.toLocaleString('en')} parameters, ${data.layers} layers × ${data.heads} heads)`,
        ),
        row('weights', h('code', {}, p.weightsHash ?? 'hash not computed')),
        row('tokenizer', h('code', {}, p.tokenizerHash ?? 'hash not computed')),
        row(
          'text',
          data.text.length > 400
            ? h('details', {}, h('summary', {}, `${data.text.length} characters`), text)
            : text,
        ),
        row(
          'token ids',
          h(
            'details',
            {},
            h('summary', {}, `${data.tokens.length} ids`),
            h('code', {}, data.tokens.map((t) => t.id).join(' ')),
          ),
        ),
        row(
          'special tokens added',
          p.specialTokensAdded.length ? p.specialTokensAdded.map((t) => visibleToken(t)).join(', ') : 'none',
        ),
        row('backend', `${p.backend}, ${p.precision}`),
        row('fell back', list(p.fallbacks, 'nothing: every op ran on the chosen backend')),
        row(
          'self-checks',
          list(
            p.selfChecks.map((c) => {
              const verdict =
                c.tolerance === null
                  ? ''
                  : c.error <= c.tolerance
                    ? `, within ${pretty(c.tolerance)}`
                    : `, ABOVE the allowed ${pretty(c.tolerance)}`
              return `${c.name}: ${c.error === 0 ? 'exact' : `error ${pretty(c.error)}`}${verdict}`
            }),
            'none were run',
          ),
        ),
        row(
          'attention as stored',
          packed
            ? `${packed.encoding === 'dense-u8' ? 'every weight' : `the ${packed.top} largest weights of each row (their mass is shown)`}, 8 bits on the row's own scale: off by at most ${pretty(packed.bound)}`
            : 'not computed',
        ),
        row('edits', p.edits && p.edits.length > 0 ? h('code', {}, JSON.stringify(p.edits)) : 'none'),
        row('seed', p.seed),
        row('date', p.date),
        row(
          'packages',
          Object.entries(p.packages)
            .map(([n, v]) => `${n} ${v}`)
            .join(', ') || 'not stated',
        ),
        p.command ? row('command', h('code', {}, p.command)) : null,
      ),
    ),
  )
}

function attentionSection(
  data: ExplainData,
  rows: HeadRows | null,
  at: { layer: number; head: number; token: number },
): Mark | null {
  if (!rows) return null
  const sinks = new Set(sinkPositions(data.tokens))
  const limit = headLimit(rows, sinks)
  const found = looks(rows, at.token, 8)
  const name = named(data, at.token)
  const where = `layer ${at.layer} head ${at.head}`
  return section(
    'attention',
    'Attention',
    h(
      'div',
      { class: 'attention' },
      h(
        'figure',
        { class: 'live', id: 'atlas' },
        h(
          'figcaption',
          {},
          h('h3', {}, 'All heads'),
          h(
            'p',
            { class: 'quiet', id: 'atlas-help' },
            'A tile is a head: its rows look, its columns are looked at. Arrows move, Enter or a click opens.',
          ),
        ),
        h('div', { class: 'canvas-box', id: 'atlas-box' }),
        h('div', { id: 'atlas-legend' }),
      ),
      h(
        'figure',
        { id: 'head-figure' },
        h(
          'figcaption',
          {},
          h('h3', { id: 'head-title' }, `Layer ${at.layer}, head ${at.head}`),
          h(
            'p',
            { class: 'quiet live', id: 'head-help' },
            '← → head · ↑ ↓ token · Page Up/Down layer · Enter locks the token under the pointer · Esc clears',
          ),
        ),
        h(
          'div',
          { class: 'live tools' },
          h('span', { class: 'radios', role: 'radiogroup', 'aria-label': 'drawing', id: 'head-mode' }),
          h('button', { type: 'button', id: 'save-svg' }, 'Save as SVG'),
        ),
        h('div', { class: 'live canvas-box', id: 'head-box' }),
        h(
          'div',
          { class: 'static scroll tall', tabindex: 0, role: 'region', 'aria-label': 'head view' },
          headViewMark({
            rows,
            tokens: data.tokens,
            keyTokens: data.tokens,
            sinks,
            top: data.tokens.length > 64 ? 3 : 8,
            title: `${where}, ${data.provenance.model}`,
          }),
        ),
        h('div', { class: 'live', id: 'head-legend' }),
        h('p', { id: 'readout', class: 'readout', 'aria-live': 'polite' }, `${tapOf(at.layer)} · ${where}`),
      ),
      h(
        'div',
        { id: 'looks' },
        lookTable(data, `${name} looks at`, found.at, limit, found.state, sinks, rows.bound),
        lookTable(
          data,
          `${name} is looked at by`,
          found.by,
          sinks.has(at.token) ? limitOf(found.by.map((e) => e.value)) : limit,
          'nobody',
          new Set(),
          rows.bound,
        ),
      ),
    ),
    h(
      'details',
      { id: 'whole-head', class: 'live' },
      h('summary', {}, 'This head as a table'),
      h('div', {
        class: 'scroll tall',
        id: 'whole-head-box',
        tabindex: 0,
        role: 'region',
        'aria-label': 'weights of this head',
      }),
    ),
  )
}

/**
 * The report as one self-contained HTML file: a content policy that forbids every request, styles, script and data
 * inline, every piece of foreign text escaped, and the initial state readable without script.
 *
 * @throws VizError when the data contradicts itself (see `checkExplainData`).
 */
export function explainReport(data: ExplainData): string {
  checkExplainData(data)
  const at = initialSelection(data)
  const rows = data.patterns ? headRows(openPatterns(data.patterns), at.layer, at.head) : null
  const sinks = new Set(sinkPositions(data.tokens))
  const colours = colouring(
    data,
    rows,
    rows || !data.attributions?.length ? 'from' : 0,
    at.token,
    sinks,
    `layer ${at.layer} head ${at.head}`,
  )
  const title = shorten(visibleText(data.text), 160)
  const p = data.provenance
  const found = answers(data)
  const lensStart = Math.max(0, (data.logitLens?.positions.length ?? 0) - lensWindow)
  const body = h(
    'body',
    {},
    h('a', { class: 'skip', href: '#text' }, 'Skip to the text'),
    h(
      'header',
      {},
      h('p', { class: 'kicker' }, `heed explain · ${data.architecture} ${p.model}`),
      h('h1', {}, '“', h('bdi', {}, title), '”'),
      h(
        'p',
        { class: 'quiet' },
        `${data.tokens.length} tokens · ${data.layers} layers × ${data.heads} heads · ${p.backend} ${p.precision} · ${p.date.slice(0, 10)}`,
      ),
      failedChecks(data).map((c) =>
        h(
          'p',
          { class: 'warn', role: 'alert' },
          `SELF-CHECK FAILED: ${c.name} is off by ${pretty(c.error)}, allowed ${pretty(c.tolerance ?? 0)}. Do not trust the numbers of this page.`,
        ),
      ),
      h(
        'noscript',
        {},
        h(
          'p',
          { class: 'warn' },
          `Without script this page shows layer ${at.layer} head ${at.head} and the token ${named(data, at.token)}; with script every head and token can be chosen.`,
        ),
      ),
    ),
    h('form', { id: 'controls', class: 'live', 'aria-label': 'what is shown' }),
    h(
      'main',
      {},
      h(
        'div',
        { class: found.length > 0 ? 'two' : null },
        section(
          'text',
          'Text',
          h(
            'p',
            { class: 'quiet', id: 'text-help' },
            h('span', { class: 'live' }, 'Click a token or use the arrow keys. '),
            '· marks a space, ↵ a line break.',
          ),
          h(
            'div',
            {
              class: 'tokens big',
              id: 'tokens',
              role: 'listbox',
              'aria-label': 'tokens',
              dir: runsRightToLeft(data.text) ? 'rtl' : 'ltr',
              'aria-describedby': 'text-help',
            },
            tokenSpans(data, colours, at.token, 'option'),
          ),
          h('div', { id: 'text-legend' }, legend(colours.limit, colours.signed, colours.caption)),
        ),
        found.length > 0
          ? section('answers', data.architecture === 'decoder' ? 'Predictions' : 'Answers', found)
          : null,
      ),
      data.attributions?.length
        ? section(
            'attributions',
            'Which tokens mattered',
            h(
              'div',
              { class: 'panels' },
              data.attributions.map((a) => attributionPanel(data, a, at.token)),
            ),
          )
        : null,
      attentionSection(data, rows, at),
      data.headTable ? section('heads', 'Heads', headTable(data.headTable)) : null,
      data.logitLens
        ? section(
            'lens',
            'Logit lens',
            data.logitLens.note ? h('p', { class: 'quiet' }, data.logitLens.note) : null,
            h(
              'div',
              { class: 'scroll', id: 'lens-box', tabindex: 0, role: 'region', 'aria-label': 'logit lens' },
              lensTable(data, lensStart, at.token),
            ),
            legend(
              1,
              false,
              'probability of the top token; underlined: the layer already says what the last one says',
            ),
          )
        : null,
      data.notes.length > 0
        ? section(
            'notes',
            'Notes',
            h(
              'ul',
              {},
              data.notes.map((n) => h('li', {}, n)),
            ),
          )
        : null,
      section('provenance', 'Provenance', provenance(data)),
    ),
  )
  const policy = `default-src 'none'; script-src '${pageScriptHash}'; style-src '${pageStyleHash}'; img-src data:; base-uri 'none'; form-action 'none'`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${escapeHtml(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="heed-explain 1">
<link rel="icon" href="data:,">
<title>${escapeHtml(shorten(visibleText(data.text), 60))} · ${escapeHtml(p.model)}</title>
<style>${pageStyle}</style>
</head>
${toHtml(body).slice(0, -'</body>'.length)}
<script type="application/json" id="heed-data">${escapeJson(data)}</script>
<script>${pageScript}</script>
</body>
</html>
`
}

/** The data inside a report made by explainReport, for whoever reads a report back. @returns null when there is none. */
export function readReport(html: string): ExplainData | null {
  const found = /<script type="application\/json" id="heed-data">([^<]*)<\/script>/.exec(html)
  return found ? (JSON.parse(found[1]) as ExplainData) : null
}
