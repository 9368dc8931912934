// The bar that says and sets what is shown: layer, head, token, colours, sinks, row scale.
import type { ExplainData } from '../explain-data.js'
import { shorten } from '../glyphs.js'
import { h, type Mark, toDom } from '../markup.js'
import { named } from '../report-marks.js'
import type { Heads } from './heads.js'
import type { State, Store } from './store.js'

const option = (value: string | number, text: string): Mark => h('option', { value }, text)

export function controls(store: Store, heads: Heads | null, data: ExplainData, open: () => void): void {
  const form = document.getElementById('controls') as HTMLFormElement
  const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)
  const label = (text: string, control: Mark): Mark => h('label', {}, text, control)
  const marks: (Mark | null)[] = [
    heads &&
      label(
        'Layer',
        h(
          'select',
          { id: 'layer' },
          range(data.layers).map((i) => option(i, String(i))),
        ),
      ),
    heads &&
      label(
        'Head',
        h(
          'select',
          { id: 'head' },
          range(data.heads).map((i) => option(i, String(i))),
        ),
      ),
    label(
      'Token',
      h(
        'select',
        { id: 'token' },
        option('', 'none'),
        data.tokens.map((_, i) => option(i, shorten(named(data, i), 24))),
      ),
    ),
    label(
      'Colours',
      h(
        'select',
        { id: 'source' },
        heads && option('from', 'attention from the token'),
        heads && option('to', 'attention to the token'),
        (data.attributions ?? []).map((a, i) => option(i, a.name)),
      ),
    ),
    heads && heads.sinks.size > 0
      ? h(
          'label',
          { title: 'Sinks: the first token and special tokens that the tokenizer added' },
          h('input', { type: 'checkbox', id: 'sinks' }),
          'leave out sinks',
        )
      : null,
    heads && h('label', {}, h('input', { type: 'checkbox', id: 'rows' }), 'scale each row'),
  ]
  for (const mark of marks) if (mark) form.append(toDom(mark))
  form.addEventListener('submit', (event) => event.preventDefault())

  const select = (id: string): HTMLSelectElement | null => form.querySelector<HTMLSelectElement>(`#${id}`)
  const box = (id: string): HTMLInputElement | null => form.querySelector<HTMLInputElement>(`#${id}`)
  const source = (text: string): State['source'] => (text === 'from' || text === 'to' ? text : Number(text))
  form.addEventListener('change', (event) => {
    const target = event.target as HTMLSelectElement & HTMLInputElement
    if (target.id === 'layer') store.set({ layer: Number(target.value) })
    else if (target.id === 'head') store.set({ head: Number(target.value) })
    else if (target.id === 'token')
      store.set({ token: target.value === '' ? null : Number(target.value), hover: null })
    else if (target.id === 'source') store.set({ source: source(target.value) })
    else if (target.id === 'sinks') store.set({ hideSinks: target.checked })
    else if (target.id === 'rows') store.set({ rowScale: target.checked })
  })
  const put = (control: HTMLSelectElement | null, value: string): void => {
    if (control && control.value !== value) control.value = value
  }
  store.subscribe((s) => {
    put(select('layer'), String(s.layer))
    put(select('head'), String(s.head))
    put(select('token'), s.token === null ? '' : String(s.token))
    put(select('source'), String(s.source))
    const [sinks, rows] = [box('sinks'), box('rows')]
    if (sinks) sinks.checked = s.hideSinks
    if (rows) rows.checked = s.rowScale
  })

  const modes = document.getElementById('head-mode')
  if (modes) {
    const kinds: [State['mode'], string][] = [
      ['lines', 'lines'],
      ['matrix', 'matrix'],
      ['near', 'matrix near the token'],
    ]
    for (const [value, text] of kinds)
      if (value !== 'near' || data.tokens.length > 32)
        modes.append(
          toDom(
            h(
              'label',
              {},
              h('input', { type: 'radio', name: 'mode', value, checked: value === store.state.mode }),
              text,
            ),
          ),
        )
    modes.addEventListener('change', (event) =>
      store.set({ mode: (event.target as HTMLInputElement).value as State['mode'] }),
    )
  }
  // Heads named anywhere on the page become buttons that open them.
  if (heads)
    for (const span of document.querySelectorAll('[data-open]')) {
      const [layer, head] = (span.getAttribute('data-open') ?? '').split(',').map(Number)
      const button = document.createElement('button')
      button.type = 'button'
      button.textContent = span.textContent
      button.addEventListener('click', () => {
        store.set({ layer, head })
        open()
      })
      span.replaceChildren(button)
    }
}
