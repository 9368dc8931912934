// The text: tokens that are chosen by click or keyboard and coloured by attention or by an attribution method. It also
// marks the same token in every other list of tokens on the page.
import type { ExplainData } from '../explain-data.js'
import { toDom } from '../markup.js'
import { colouring, legend } from '../report-marks.js'
import { levelClass } from '../scale.js'
import type { Heads } from './heads.js'
import { type State, type Store, shown } from './store.js'

export function textView(store: Store, heads: Heads | null, data: ExplainData): void {
  const box = document.getElementById('tokens') as HTMLElement
  const scale = document.getElementById('text-legend') as HTMLElement
  const spans = Array.from(box.querySelectorAll<HTMLElement>('.tok'))
  const panels = Array.from(document.querySelectorAll<HTMLElement>('.panel .tokens'), (list) =>
    Array.from(list.querySelectorAll<HTMLElement>('.tok')),
  )
  const rtl = box.dir === 'rtl'
  box.tabIndex = 0

  const draw = (s: Readonly<State>, before: Readonly<State> | null): void => {
    const active = shown(s)
    const head = heads?.get(s.layer, s.head) ?? null
    const hidden = heads?.hidden(s.hideSinks) ?? new Set<number>()
    const c = colouring(data, head?.rows ?? null, s.source, active, hidden, `layer ${s.layer} head ${s.head}`)
    spans.forEach((span, i) => {
      const name = `tok ${levelClass(c.values[i], c.limit, c.signed)}${i === s.token ? ' on' : ''}${i === s.hover ? ' hover' : ''}${data.tokens[i].special ? ' special' : ''}`
      if (span.className !== name) span.className = name
    })
    scale.replaceChildren(toDom(legend(c.limit, c.signed, c.caption)))
    if (before?.token !== s.token) {
      if (before && before.token !== null) spans[before.token].setAttribute('aria-selected', 'false')
      if (s.token !== null) {
        spans[s.token].setAttribute('aria-selected', 'true')
        box.setAttribute('aria-activedescendant', `t${s.token}`)
      } else box.removeAttribute('aria-activedescendant')
    }
    for (const list of panels) {
      if (before && before.token !== null && before.token !== s.token)
        list[before.token].classList.remove('on')
      if (before && before.hover !== null && before.hover !== s.hover)
        list[before.hover].classList.remove('hover')
      if (s.token !== null) list[s.token].classList.add('on')
      if (s.hover !== null) list[s.hover].classList.add('hover')
    }
  }
  /** Scrolls the box, never the page. */
  const reveal = (span: HTMLElement): void => {
    const [r, b] = [span.getBoundingClientRect(), box.getBoundingClientRect()]
    if (r.top < b.top) box.scrollTop -= b.top - r.top + 6
    else if (r.bottom > b.bottom) box.scrollTop += r.bottom - b.bottom + 6
  }
  /** The token nearest in the line above (−1) or below (1). */
  const lineFrom = (i: number, by: number): number => {
    const middle = (n: number): number => spans[n].offsetLeft + spans[n].offsetWidth / 2
    const start = spans[i].offsetTop
    let best = i
    let line: number | null = null
    for (let n = i + by; n >= 0 && n < spans.length; n += by) {
      const top = spans[n].offsetTop
      if (Math.abs(top - start) < 4) continue
      if (line === null) line = top
      if (Math.abs(top - line) > 4) break
      if (best === i || Math.abs(middle(n) - middle(i)) < Math.abs(middle(best) - middle(i))) best = n
    }
    return best
  }
  box.addEventListener('keydown', (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return
    const { token } = store.state
    const last = spans.length - 1
    const here = token ?? 0
    const by = (n: number): number => Math.min(last, Math.max(0, token === null ? 0 : token + n))
    const to: Record<string, () => number | null> = {
      ArrowLeft: () => by(rtl ? 1 : -1),
      ArrowRight: () => by(rtl ? -1 : 1),
      ArrowUp: () => lineFrom(here, -1),
      ArrowDown: () => lineFrom(here, 1),
      Home: () => 0,
      End: () => last,
      Enter: () => store.state.hover ?? token,
      Escape: () => null,
    }
    if (!to[event.key]) return
    event.preventDefault()
    store.set({ token: to[event.key](), hover: null })
  })
  const indexOf = (event: Event): number | null => {
    const span = (event.target as Element).closest?.('.tok')
    const i = span?.getAttribute('data-i')
    return i === null || i === undefined ? null : Number(i)
  }
  for (const list of document.querySelectorAll('.tokens')) {
    list.addEventListener('click', (event) => {
      const i = indexOf(event)
      if (i !== null) store.set({ token: i, hover: null })
    })
    list.addEventListener('pointerover', (event) => {
      if ((event as PointerEvent).pointerType !== 'touch') store.set({ hover: indexOf(event) })
    })
    list.addEventListener('pointerleave', () => store.set({ hover: null }))
  }
  store.subscribe(draw)
  store.after((s, before) => {
    if (s.token !== null && before?.token !== s.token) reveal(spans[s.token])
  })
}
