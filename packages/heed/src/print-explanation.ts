/** An explanation as text for a terminal or a pipe: the same data as the report, in reading order. */
import {
  failedChecks,
  type HeadRow,
  type Prediction,
  terminalBar,
  terminalHeat,
  terminalTable,
  visibleText,
  visibleToken,
} from '@heed/viz'
import { harmless } from './errors.js'
import type { Explanation } from './explain.js'

export interface PrintOptions {
  readonly color: boolean
  readonly width: number
  readonly top: number
  /** No text was given and the demo sentence stands in. */
  readonly isDemo: boolean
}

export function printExplanation(data: Explanation, o: PrintOptions): string {
  const styled =
    (code: number) =>
    (text: string): string =>
      o.color ? `\u001b[${code}m${text}\u001b[0m` : text
  const [bold, dim, red] = [styled(1), styled(2), styled(31)]
  const say = (text: string): string => wrapped(text, o.width).map(dim).join('\n')
  const parts: string[] = []
  const section = (heading: string, ...body: (string | undefined)[]): void => {
    parts.push(
      [
        ...wrapped(heading, o.width).map(bold),
        ...body.filter((b): b is string => b !== undefined && b !== ''),
      ].join('\n'),
    )
  }
  const { provenance: p } = data
  const about = [
    `${p.model}: ${p.family} ${data.architecture}, ${counted(data.layers, 'layer')} × ${counted(data.heads, 'head')}, ${p.parameters.toLocaleString('en')} parameters, on ${p.backend} ${p.precision}`,
    `${counted(data.tokens.length, 'token')}; ${p.specialTokensAdded.length > 0 ? `the tokenizer added ${p.specialTokensAdded.join(' ')}` : 'the tokenizer added no special token'}`,
  ]
  parts.push(
    [
      ...wrapped(shortened(data.text, 400), o.width).map(bold),
      ...(o.isDemo ? [dim('(the demo sentence: give your own in quotes)')] : []),
      ...about.map((line) => say(harmless(line))),
    ].join('\n'),
  )
  const failed = failedChecks(data)
  for (const c of failed)
    parts.push(
      red(
        `SELF-CHECK FAILED: ${c.name} is off by ${small(c.error)}, allowed ${small(c.tolerance ?? 0)}. Do not trust these numbers.`,
      ),
    )
  if (data.predictions) section('Next token', bars(data.predictions.top, o))
  for (const m of data.masked ?? [])
    section(`At ${data.tokens[m.position].text} (token ${m.position})`, bars(m.top, o))
  if (data.classes) section('Classes', classBars(data.classes, o))
  if (data.tokenClasses)
    section(
      'Class of each token',
      table(
        data.tokenClasses.map((c) => [label(data, c.position), harmless(c.label), percent(c.probability)]),
        ['token', 'class', 'probability'],
        o,
      ),
    )
  if (data.answer !== undefined)
    section(
      'Answer',
      data.answer
        ? `${visibleText(data.answer.text)}   ${dim(`(tokens ${data.answer.start} to ${data.answer.end}, start + end logit ${data.answer.score.toFixed(3)})`)}`
        : 'none: the likeliest span is “no answer”',
    )
  if (data.nearest)
    section(
      `Nearest lines by ${data.nearest.measure}`,
      table(
        data.nearest.lines.map((l) => [l.score.toFixed(3), visibleText(l.text)]),
        ['score', 'line'],
        o,
      ),
    )
  for (const a of data.attributions ?? []) {
    const scale = unitOf(a.values)
    section(
      `${a.name}: ${a.target}${scale.name}`,
      terminalHeat(
        data.tokens,
        a.values.map((v) => (v === null ? null : v * scale.by)),
        { color: o.color, width: o.width, signed: a.signed },
      ),
      a.note && say(a.note),
      a.deletion && wrapped(a.deletion.sentence, o.width).join('\n'),
    )
  }
  if (data.headTable) {
    const { rows, target, note } = data.headTable
    const hasEffect = target !== null
    const scores = o.width < 72 ? ['prev.', 'dupl.', 'ind.'] : ['previous', 'duplicate', 'induction']
    section(
      hasEffect ? `Heads that matter most for ${target}` : 'Heads by kind',
      table(
        rows.slice(0, o.top).map((r) => headCells(r, hasEffect)),
        ['layer', 'head', ...(hasEffect ? ['effect'] : []), ...scores, 'kind'],
        o,
      ),
      note && say(note),
    )
  }
  if (data.logitLens) {
    const last = data.logitLens.positions.length - 1
    const rows = data.logitLens.rows.map(({ name, cells }) => {
      const cell = cells[last]
      return [name, visibleToken(cell.token, cell.bytes), percent(cell.probability), percent(cell.final)]
    })
    const final = data.predictions?.top[0]
    const column = final ? visibleToken(final.token, final.bytes) : 'final'
    section(
      'Logit lens at the last token',
      table(rows, ['after', 'would say', 'with', column], o),
      data.logitLens.note && say(data.logitLens.note),
    )
  }
  if (data.pattern) {
    const { layer, head } = data.pattern
    const hint = 'The three largest weights of each row; --json has the whole matrix, --out draws it.'
    section(`Layer ${layer} head ${head}`, patternTable(data, o), say(hint))
  }
  if (data.notes.length > 0) parts.push(data.notes.map((note) => say(`Note: ${harmless(note)}`)).join('\n'))
  const passed = p.selfChecks.filter((c) => !failed.includes(c))
  if (passed.length > 0)
    parts.push(say(`${passed.length} self-checks passed: ${passed.map(checkText).join(', ')}.`))
  return parts.join('\n\n')
}

/** Where every token looks most in one head. */
function patternTable(data: Explanation, o: PrintOptions): string {
  const { weights } = data.pattern as NonNullable<Explanation['pattern']>
  const rows = weights.map((row, q) => {
    const order = row.map((_, k) => k).sort((a, b) => row[b] - row[a] || a - b)
    const cells = order
      .slice(0, 3)
      .flatMap((k) => (row[k] > 0.005 ? [label(data, k), row[k].toFixed(2)] : ['', '']))
    return [label(data, q), ...cells, ...new Array<string>(6 - cells.length).fill('')]
  })
  return table(rows, ['token', 'looks at', 'weight', 'then', 'weight', 'then', 'weight'], o)
}

const label = (data: Explanation, i: number): string =>
  `${visibleToken(data.tokens[i].text, data.tokens[i].bytes)} ${i}`

/** Columns of small values are printed in thousandths and so on, so that digits say something. */
function unitOf(values: readonly (number | null)[]): { by: number; name: string } {
  const limit = Math.max(...values.map((v) => (v !== null && Number.isFinite(v) ? Math.abs(v) : 0)))
  if (limit >= 0.05 || limit === 0) return { by: 1, name: '' }
  const power = 3 * Math.ceil(-Math.log10(limit) / 3)
  return { by: 10 ** power, name: ` (in units of 1e-${power})` }
}

const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`
/** Never rounds a possible thing to 0 % or 100 %. */
const percent = (v: number): string =>
  v > 0 && v < 0.0005 ? '< 0.1 %' : v < 1 && v > 0.9995 ? '> 99.9 %' : `${(100 * v).toFixed(1)} %`
const small = (v: number): string => (v === 0 ? '0' : v.toExponential(1))
const checkText = (c: { name: string; error: number }): string =>
  `${c.name} (${c.error === 0 ? 'exactly' : `to ${small(c.error)}`})`

function bars(list: readonly Prediction[], o: PrintOptions): string {
  return list.map((t) => bar(t.probability, visibleToken(t.token, t.bytes), o)).join('\n')
}
const classBars = (list: NonNullable<Explanation['classes']>, o: PrintOptions): string =>
  list
    .slice(0, Math.max(o.top, 5))
    .map((c) => bar(c.probability, harmless(c.label), o))
    .join('\n')
const bar = (share: number, text: string, o: PrintOptions): string =>
  `${terminalBar(share, { width: 20, color: o.color })} ${percent(share).padStart(8)}  ${text}`

function headCells(r: HeadRow, hasEffect: boolean): string[] {
  const score = (v: number | null): string => (v === null ? '–' : v.toFixed(2))
  const effect = r.value === null ? '–' : `${r.value < 0 ? '−' : '+'}${Math.abs(r.value).toFixed(3)}`
  return [
    `${r.layer}`,
    `${r.head}`,
    ...(hasEffect ? [effect] : []),
    score(r.previous),
    score(r.duplicate),
    score(r.induction),
    r.kind ?? '–',
  ]
}

const LEFT = ['line', 'kind', 'would say', 'after', 'token', 'class', 'looks at', 'then']
function table(rows: readonly string[][], head: readonly string[], o: PrintOptions): string {
  return terminalTable(rows, {
    head,
    width: o.width,
    color: o.color,
    align: head.map((h) => (LEFT.includes(h) ? 'left' : 'right')),
  })
}

const shortened = (text: string, limit: number): string => {
  const plain = visibleText(text)
  return plain.length <= limit ? plain : `${Array.from(plain.slice(0, limit)).join('')}…`
}

/** Words on lines of at most `width` columns, counting one a character. */
function wrapped(text: string, width: number): string[] {
  const lines = ['']
  for (const word of text.split(' ')) {
    const line = lines[lines.length - 1]
    if (line !== '' && line.length + 1 + word.length > width) lines.push(word)
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`
  }
  return lines
}
