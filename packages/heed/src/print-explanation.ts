/** An explanation as text for a terminal or a pipe: the same data as the report, in reading order. */
import {
  type ExplainData,
  type HeadRow,
  openPatterns,
  terminalBar,
  terminalHeat,
  terminalTable,
  visibleToken,
} from '@heed/viz'

export interface PrintOptions {
  readonly color: boolean
  readonly width: number
  readonly top: number
  /** No text was given and the demo sentence stands in. */
  readonly isDemo: boolean
  readonly layer?: number
  readonly head?: number
}

export function printExplanation(data: ExplainData, o: PrintOptions): string {
  const title = (text: string): string => (o.color ? `\u001b[1m${text}\u001b[0m` : text)
  const dim = (text: string): string => (o.color ? `\u001b[2m${text}\u001b[0m` : text)
  const parts: string[] = []
  const section = (heading: string, ...body: (string | undefined)[]): void => {
    parts.push([title(heading), ...body.filter((b): b is string => b !== undefined && b !== '')].join('\n'))
  }
  const { provenance: p } = data
  parts.push(
    [
      `${title(data.text)}${o.isDemo ? dim('   (the demo sentence; give your own in quotes)') : ''}`,
      dim(
        `${p.model}, ${p.family} ${data.architecture}, ${data.layers} layers × ${data.heads} heads, ${p.parameters.toLocaleString('en')} parameters; ` +
          `${data.tokens.length} tokens${p.specialTokensAdded.length > 0 ? ` with ${p.specialTokensAdded.join(' ')} added` : ''}; ${p.backend}`,
      ),
    ].join('\n'),
  )
  if (data.predictions) section('Next token', bars(data.predictions.top, o))
  for (const m of data.masked ?? [])
    section(`At ${data.tokens[m.position].text}, token ${m.position}`, bars(m.top, o))
  if (data.classes)
    section(
      'Classes',
      bars(
        data.classes.map((c) => ({ token: c.label, probability: c.probability })),
        o,
        false,
      ),
    )
  if (data.nearest)
    section(
      `Nearest lines (${data.nearest.measure})`,
      table(
        data.nearest.lines.slice(0, o.top).map((l) => [l.score.toFixed(3), l.text]),
        ['score', 'line'],
        o,
      ),
    )
  for (const a of data.attributions ?? [])
    section(
      `${a.name}: ${a.target}`,
      terminalHeat(data.tokens, a.values, { color: o.color, width: o.width, signed: a.signed }),
      a.note && dim(a.note),
      a.deletion && dim(a.deletion.sentence),
    )
  if (data.headTable) {
    const { rows, target, note } = data.headTable
    section(
      target === null ? 'Heads by kind' : `Heads that matter most for ${target}`,
      table(
        rows.slice(0, o.top).map(headCells),
        ['layer', 'head', target === null ? '' : 'effect', 'previous', 'duplicate', 'induction', 'kind'],
        o,
      ),
      note && dim(note),
    )
  }
  if (data.logitLens) {
    const last = data.logitLens.positions.length - 1
    const rows = data.logitLens.rows.map((r) => [
      r.name,
      visibleToken(r.cells[last].token),
      percent(r.cells[last].probability),
      percent(r.cells[last].final),
    ])
    section(
      'Logit lens at the last token',
      table(rows, ['after', 'would say', 'with', 'final token'], o),
      data.logitLens.note && dim(data.logitLens.note),
    )
  }
  if (data.patterns && (o.layer !== undefined || o.head !== undefined)) {
    const layer = o.layer ?? 0
    const head = o.head ?? 0
    const opened = openPatterns(data.patterns)
    const last = data.tokens.length - 1
    const row = opened.row(layer, head, last)
    const values = data.tokens.map((_, k) => opened.at(layer, head, last, k))
    section(
      `Layer ${layer} head ${head}: where the last token looks`,
      row.state === 'ok'
        ? terminalHeat(data.tokens, values, { color: o.color, width: o.width, signed: false })
        : row.state,
      dim(`weights within ${opened.bound.toExponential(1)}; the row's shown mass is ${row.mass.toFixed(3)}`),
    )
  }
  for (const note of data.notes) parts.push(dim(`Note: ${note}`))
  const checks = p.selfChecks.map((c) => `${c.name} ${c.error.toExponential(1)}`).join('; ')
  if (checks) parts.push(dim(`Self-checks: ${checks}`))
  return parts.join('\n\n')
}

const percent = (v: number): string => `${(100 * v).toFixed(1)} %`

function bars(
  list: readonly { token: string; probability: number }[],
  o: PrintOptions,
  quoted = true,
): string {
  return list
    .slice(0, o.top)
    .map(
      (t) =>
        `${terminalBar(t.probability, { width: 20, color: o.color })} ${percent(t.probability).padStart(7)}  ${quoted ? visibleToken(t.token) : t.token}`,
    )
    .join('\n')
}

function headCells(r: HeadRow): string[] {
  const score = (v: number | null): string => (v === null ? '–' : v.toFixed(2))
  return [
    `${r.layer}`,
    `${r.head}`,
    r.value === null ? '–' : `${r.value < 0 ? '−' : '+'}${Math.abs(r.value).toFixed(3)}`,
    score(r.previous),
    score(r.duplicate),
    score(r.induction),
    r.kind ?? '',
  ]
}

function table(rows: readonly string[][], head: readonly string[], o: PrintOptions): string {
  return terminalTable(rows, {
    head,
    width: o.width,
    color: o.color,
    align: head.map((h) =>
      h === 'line' || h === 'kind' || h === 'would say' || h === 'after' ? 'left' : 'right',
    ),
  })
}
