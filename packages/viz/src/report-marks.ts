// The pieces of the report that exist twice: as static markup when the file is written, and as live nodes when the
// page's own script redraws them. Each is a function from data to a tree; none knows which of the two it becomes.
import type { ExplainData, ExplainToken, LensCell } from './explain-data.js'
import { visibleToken } from './glyphs.js'
import { type HeadRows, headLimit } from './head-rows.js'
import { h, type Mark } from './markup.js'
import { levelClass, levels, limitOf, percent, pretty, rounded } from './scale.js'

export const labelOf = (token: ExplainToken): string => visibleToken(token.text, token.bytes)

/** ` store` at position 7 as `·store (7)` in running text; isolated, so that its direction moves nothing around it. */
export const named = (data: ExplainData, i: number): string => `\u2068${labelOf(data.tokens[i])}\u2069 (${i})`

/** A token as a table cell or heading: isolated from the direction of its surroundings. */
export const bdi = (text: string): Mark => h('bdi', { class: 'tk', translate: 'no' }, text)

/** True when most letters of the text are of right-to-left scripts. */
export function runsRightToLeft(text: string): boolean {
  const rtl = text.match(/[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/g)?.length ?? 0
  const letters = text.match(/\p{L}/gu)?.length ?? 0
  return rtl * 2 > letters
}

/** Values per token with their scale: what a text heat-map shows. */
export interface Colouring {
  values: ArrayLike<number | string | null>
  limit: number
  signed: boolean
  /** What the colours mean, one line. */
  caption: string
}

export type ColourSource = 'from' | 'to' | number

/**
 * The colours of the text: attention from the selected token (a row), to it (a column), or attribution method number
 * `source`. Without a selected token: the largest attention each token receives.
 */
export function colouring(
  data: ExplainData,
  rows: HeadRows | null,
  source: ColourSource,
  token: number | null,
  sinks: ReadonlySet<number>,
  where: string,
): Colouring {
  if (typeof source === 'number') {
    const a = (data.attributions ?? [])[source]
    return { values: a.values, limit: limitOf(a.values), signed: a.signed, caption: `${a.name}: ${a.target}` }
  }
  const count = data.tokens.length
  if (!rows)
    return {
      values: new Array(count).fill(null),
      limit: 1,
      signed: false,
      caption: 'attention was not computed',
    }
  const values: (number | string | null)[] = new Array(count).fill(0)
  const limit = headLimit(rows, sinks)
  const scale = 'the scale ends at the head’s largest weight'
  if (token === null) {
    rows.forEach((_, key, v) => {
      if (v > (values[key] as number)) values[key] = v
    })
    for (const k of sinks) values[k] = null
    const caption = `${where}: the strongest attention each token receives; ${scale}`
    return { values, limit, signed: false, caption }
  }
  const name = named(data, token)
  if (source === 'from') {
    const row = rows.row(token)
    if (row.state !== 'ok')
      return {
        values: values.fill(row.state === 'not a number' ? 'NaN' : null),
        limit,
        signed: false,
        caption: `${where}, ${name}: ${row.state}`,
      }
    row.keys.forEach((key, i) => {
      values[key] = row.values[i]
    })
    for (const k of sinks) values[k] = null
    if (rows.causal) values.fill(null, token + 1)
    return { values, limit, signed: false, caption: `${where}: attention from ${name}; ${scale}` }
  }
  rows.column(token).forEach((v, q) => {
    values[q] = rows.causal && q < token ? null : v
  })
  const own = sinks.has(token)
  return {
    values,
    limit: own ? limitOf(values) : limit,
    signed: false,
    caption: `${where}: attention to ${name}; ${own ? 'the scale ends at the largest weight here' : scale}`,
  }
}

/** The tokens in reading order; `data-i` is the position. */
export function tokenSpans(
  data: ExplainData,
  c: Colouring,
  selected: number | null,
  role: string | null,
): Mark[] {
  return data.tokens.flatMap((t, i) => {
    const span = h(
      'span',
      {
        class: `tok ${levelClass(c.values[i], c.limit, c.signed)}${i === selected ? ' on' : ''}${t.special ? ' special' : ''}`,
        'data-i': i,
        role,
        id: role ? `t${i}` : null,
        'aria-selected': role ? String(i === selected) : null,
        dir: 'auto',
        translate: 'no',
        title: role ? null : `${named(data, i)}: ${valueText(c.values[i])}`,
      },
      labelOf(t),
    )
    return /\n/.test(t.text) ? [span, h('br')] : [span, h('wbr')]
  })
}

export const valueText = (v: number | string | null): string =>
  v === null ? 'not shown here' : typeof v === 'string' ? 'not a number' : pretty(v)

/** The printed scale: steps of the ramp, both ends, and what the steps mean. */
export function legend(limit: number, signed: boolean, caption: string): Mark {
  const steps: Mark[] = []
  for (let i = signed ? -levels : 0; i <= levels; i += signed ? 4 : 2)
    steps.push(h('i', { class: levelClass(i, levels, signed) }))
  return h(
    'p',
    { class: 'legend' },
    h('span', {}, signed ? pretty(-limit) : '0'),
    h('span', { class: 'ramp', 'aria-hidden': 'true' }, steps),
    h('span', {}, pretty(limit)),
    h('span', { class: 'quiet' }, caption),
  )
}

export interface LookEntry {
  position: number
  value: number
}

/** The largest entries of one row and one column of a head: where a token looks, and who looks at it. */
export function looks(
  rows: HeadRows,
  token: number,
  top: number,
): { at: LookEntry[]; by: LookEntry[]; mass: number; state: string } {
  const row = rows.row(token)
  const largest = (list: LookEntry[]): LookEntry[] =>
    list
      .filter((e) => e.value > 0)
      .sort((a, b) => b.value - a.value || a.position - b.position)
      .slice(0, top)
  return {
    at: largest(row.keys.map((position, i) => ({ position, value: row.values[i] }))),
    by: largest(Array.from(rows.column(token), (value, position) => ({ position, value }))),
    mass: row.mass,
    state: row.state,
  }
}

/** One of the two small tables beside the head view. */
export function lookTable(
  data: ExplainData,
  caption: string,
  entries: LookEntry[],
  limit: number,
  empty: string,
  sinks: ReadonlySet<number>,
  bound: number,
): Mark {
  return h(
    'table',
    { class: 'look' },
    h('caption', {}, caption),
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        h('th', { scope: 'col' }, 'token'),
        h('th', { scope: 'col' }, 'position'),
        h('th', { scope: 'col' }, 'weight'),
      ),
    ),
    h(
      'tbody',
      {},
      entries.length === 0
        ? h('tr', {}, h('td', { colspan: 3 }, empty))
        : entries.map((e) =>
            h(
              'tr',
              {},
              h('th', { scope: 'row' }, bdi(labelOf(data.tokens[e.position]))),
              h('td', {}, e.position),
              sinks.has(e.position)
                ? h(
                    'td',
                    { class: 'none', title: 'a sink, left out of the colours' },
                    `(${rounded(e.value, bound)})`,
                  )
                : h('td', { class: levelClass(e.value, limit, false) }, rounded(e.value, bound)),
            ),
          ),
    ),
  )
}

/** Columns of the logit lens that fit a page at once. */
export const lensWindow = 24

/** Columns `from … from + lensWindow` of the logit lens. */
export function lensTable(data: ExplainData, from: number, selected: number | null): Mark {
  const lens = data.logitLens
  if (!lens) return h('table', {})
  const columns = lens.positions.map((p, c) => [p, c]).slice(from, from + lensWindow)
  const final = lens.rows.at(-1)
  const cell = (c: LensCell, column: number, p: number): Mark => {
    const same = final?.cells[column].token === c.token
    return h(
      'td',
      {
        class: `${levelClass(c.probability, 1, false)}${p === selected ? ' on' : ''}`,
        title: `probability of the final prediction here: ${percent(c.final)}`,
      },
      h(
        'span',
        { class: same ? 'tk same' : 'tk', dir: 'auto', translate: 'no' },
        visibleToken(c.token, c.bytes),
      ),
      h('small', {}, percent(c.probability)),
    )
  }
  return h(
    'table',
    { class: 'lens' },
    h(
      'caption',
      {},
      h(
        'span',
        { class: 'stay' },
        `What each layer would predict after each token${columns.length < lens.positions.length ? `: columns ${from + 1} to ${from + columns.length} of ${lens.positions.length}` : ''}`,
      ),
    ),
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        h('th', { scope: 'col' }, 'layer'),
        columns.map(([p]) =>
          h(
            'th',
            { scope: 'col', class: p === selected ? 'on' : null },
            bdi(labelOf(data.tokens[p])),
            h('small', {}, p),
          ),
        ),
      ),
    ),
    h(
      'tbody',
      {},
      lens.rows.map((r) =>
        h(
          'tr',
          {},
          h('th', { scope: 'row' }, r.name),
          columns.map(([p, c]) => cell(r.cells[c], c, p)),
        ),
      ),
    ),
  )
}

/** First column of the window that shows column `c`, moved as little as possible. */
export function lensFrom(count: number, from: number, c: number): number {
  const last = Math.max(0, count - lensWindow)
  return Math.min(last, c < from ? c : c >= from + lensWindow ? c - lensWindow + 1 : from)
}

/** The tap that a head's weights were read from. */
export const tapOf = (layer: number): string => `blocks.${layer}.attn.pattern`
