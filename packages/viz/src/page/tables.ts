// The numbers behind the head view as tables: where the chosen token looks, who looks at it, and, on request, the
// whole head. For readers of numbers and for screen readers.
import type { ExplainData } from '../explain-data.js'
import { h, toDom } from '../markup.js'
import { bdi, labelOf, lensFrom, lensTable, looks, lookTable, named } from '../report-marks.js'
import { limitOf, percent, rounded } from '../scale.js'
import type { Heads } from './heads.js'
import { type State, type Store, shown } from './store.js'

export function lookTables(store: Store, heads: Heads, data: ExplainData): void {
  const box = document.getElementById('looks') as HTMLElement
  const details = document.getElementById('whole-head') as HTMLDetailsElement
  const whole = document.getElementById('whole-head-box') as HTMLElement
  let waiting: ReturnType<typeof setTimeout> | undefined
  let filled = ''
  const fill = (): void => {
    const { layer, head } = store.state
    const key = `${layer},${head}`
    if (!details.open || filled === key) return
    filled = key
    const { rows } = heads.get(layer, head)
    const body = data.tokens.map((t, q) => {
      const found = looks(rows, q, 8)
      return h(
        'tr',
        {},
        h('th', { scope: 'row' }, bdi(labelOf(t)), ` ${q}`),
        h('td', {}, found.state === 'ok' ? percent(found.mass) : '–'),
        h(
          'td',
          { class: 'left' },
          found.state === 'ok'
            ? found.at.flatMap((e, i) => [
                i > 0 ? ', ' : '',
                bdi(labelOf(data.tokens[e.position])),
                ` (${e.position}) ${rounded(e.value, rows.bound)}`,
              ])
            : found.state,
        ),
      )
    })
    whole.replaceChildren(
      toDom(
        h(
          'table',
          {},
          h('caption', {}, `Layer ${layer} head ${head}: the eight largest weights of each token`),
          h(
            'thead',
            {},
            h(
              'tr',
              {},
              ['token', 'mass stored', 'looks at'].map((t) => h('th', { scope: 'col' }, t)),
            ),
          ),
          h('tbody', {}, body),
        ),
      ),
    )
  }
  details.addEventListener('toggle', fill)
  store.subscribe((s) => {
    clearTimeout(waiting)
    if (details.open) waiting = setTimeout(fill, 150)
    const token = shown(s)
    if (token === null) {
      box.replaceChildren(
        toDom(
          h(
            'p',
            { class: 'quiet' },
            'No token chosen. Choose one to see where it looks and who looks at it.',
          ),
        ),
      )
      return
    }
    const head = heads.get(s.layer, s.head)
    const found = looks(head.rows, token, 8)
    const limit = head.limit(s.hideSinks)
    const hidden = heads.hidden(s.hideSinks)
    box.replaceChildren(
      toDom(
        lookTable(
          data,
          `${named(data, token)} looks at`,
          found.at,
          limit,
          found.state,
          hidden,
          head.rows.bound,
        ),
      ),
      toDom(
        lookTable(
          data,
          `${named(data, token)} is looked at by`,
          found.by,
          hidden.has(token) ? limitOf(found.by.map((e) => e.value)) : limit,
          'nobody',
          new Set(),
          head.rows.bound,
        ),
      ),
    )
  })
}

/** The logit lens: follows the locked token, and shows a window of columns when the text is long. */
export function lensView(store: Store, data: ExplainData): void {
  const box = document.getElementById('lens-box')
  const lens = data.logitLens
  if (!box || !lens) return
  const columns = new Map(lens.positions.map((p, c) => [p, c]))
  let from = -1
  const mark = (token: number | null, on: boolean): void => {
    const c = token === null ? undefined : columns.get(token)
    if (c === undefined || c < from) return
    for (const row of box.querySelectorAll('tr')) row.children[c - from + 1]?.classList.toggle('on', on)
  }
  store.subscribe((s: Readonly<State>, before: Readonly<State> | null) => {
    if (before && before.token === s.token) return
    const c = s.token === null ? undefined : columns.get(s.token)
    const next = lensFrom(
      lens.positions.length,
      from < 0 ? Number.MAX_SAFE_INTEGER : from,
      c ?? Math.max(0, from),
    )
    if (next !== from) {
      from = next
      box.replaceChildren(toDom(lensTable(data, from, s.token)))
    } else {
      mark(before?.token ?? null, false)
      mark(s.token, true)
    }
  })
  store.after((s, before) => {
    // a page opens at its left edge; what is chosen later comes into view
    if (!before || before.token === s.token) return
    const c = s.token === null ? undefined : columns.get(s.token)
    if (c === undefined) return
    const cell = box.querySelector('thead tr')?.children[c - from + 1] as HTMLElement | undefined
    if (!cell) return
    const [x, w, seen, room] = [cell.offsetLeft, cell.offsetWidth, box.scrollLeft, box.clientWidth]
    if (x - 90 < seen) box.scrollLeft = x - 90
    else if (x + w > seen + room) box.scrollLeft = x + w - room
  })
}
