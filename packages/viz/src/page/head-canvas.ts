// One head on a canvas: lines between two columns of tokens (only the rows in view are drawn, so 4,096 tokens scroll
// as 12 do), or the matrix. It draws numbers and names them under the pointer; the tables beside it are another view.
import type { ExplainData } from '../explain-data.js'
import { headViewMark } from '../head-view.js'
import { toDom, toHtml } from '../markup.js'
import { labelOf, legend, named, tapOf } from '../report-marks.js'
import { hex, ink, percent, pretty, rounded, sequential } from '../scale.js'
import { fitted, font, hatch, type Palette, sized, wordOf } from './canvas.js'
import type { Head, Heads } from './heads.js'
import { type State, type Store, shown } from './store.js'

const rowHeight = 24
const pad = 6
const tallest = 560
const nearCells = 32

/** Returns a function that moves the focus to the view. */
export function headCanvas(
  store: Store,
  heads: Heads,
  data: ExplainData,
  palette: () => Palette,
): () => void {
  const box = document.getElementById('head-box') as HTMLElement
  const title = document.getElementById('head-title') as HTMLElement
  const scale = document.getElementById('head-legend') as HTMLElement
  const readout = document.getElementById('readout') as HTMLElement
  const spacer = document.createElement('div')
  const canvas = document.createElement('canvas')
  canvas.tabIndex = 0
  canvas.id = 'head-canvas'
  canvas.setAttribute('role', 'application')
  canvas.setAttribute('aria-describedby', 'head-help')
  canvas.style.position = 'sticky'
  canvas.style.top = '0'
  spacer.append(canvas)
  box.append(spacer)
  const labels = data.tokens.map(labelOf)
  const count = data.tokens.length
  let cell: { query: number; key: number } | null = null
  let geometry = { left: 0, right: 0, side: 0, x: 0, y: 0, from: 0, cells: 0 }
  // Sizes are read when they change, never while drawing: a read after a write makes the browser lay out twice.
  let width = 0
  let scroll = 0
  let height = 0
  let matrix: { key: string; canvas: HTMLCanvasElement } | null = null

  const rowLimits = (head: Head, s: Readonly<State>): Float32Array => {
    const hidden = heads.hidden(s.hideSinks)
    const out = new Float32Array(count)
    if (s.rowScale)
      head.rows.forEach((q, k, v) => {
        if (v > out[q] && !hidden.has(k)) out[q] = v
      })
    else out.fill(head.limit(s.hideSinks))
    return out
  }

  const drawLines = (s: Readonly<State>, head: Head): void => {
    const p = palette()
    const tall = count * rowHeight + 2 * pad
    height = Math.min(tall, tallest)
    spacer.style.height = `${tall}px`
    box.style.height = `${height + 2}px`
    const c = sized(canvas, width, height)
    const columnWidth = Math.min(210, Math.max(84, width * 0.31))
    const [left, right] = [columnWidth, width - columnWidth]
    geometry = { ...geometry, left, right }
    const y = (i: number): number => pad + i * rowHeight + rowHeight / 2 - scroll
    const first = Math.max(0, Math.floor((scroll - pad) / rowHeight))
    const last = Math.min(count - 1, Math.floor((scroll + height - pad) / rowHeight))
    const active = shown(s)
    const hidden = heads.hidden(s.hideSinks)
    const limits = rowLimits(head, s)
    c.fillStyle = p.ground
    c.fillRect(0, 0, width, height)

    const buckets = 8
    const paths = Array.from({ length: buckets }, () => new Path2D())
    const out: [number, number][] = []
    const into: [number, number, number][] = []
    head.rows.forEach((q, k, v) => {
      if (hidden.has(k)) return
      if (q === active) out.push([k, v])
      if (k === active && q !== active) into.push([q, v, v / limits[q]])
      if (q === active || k === active) return
      if ((q < first && k < first) || (q > last && k > last)) return
      const path = paths[Math.min(buckets - 1, Math.floor((v / limits[q]) * buckets))]
      path.moveTo(left, y(q))
      path.lineTo(right, y(k))
    })
    c.strokeStyle = p.ink
    paths.forEach((path, i) => {
      const t = (i + 0.5) / buckets
      c.globalAlpha = (active === null ? 0.85 : 0.16) * t
      c.lineWidth = 0.5 + 2 * t
      c.stroke(path)
    })
    const strong = (
      list: [number, number, number][],
      colour: string,
      dash: number[],
      end: (i: number) => [number, number],
    ): void => {
      c.strokeStyle = colour
      c.setLineDash(dash)
      for (const [i, , t] of list) {
        const [from, to] = end(i)
        c.globalAlpha = 0.2 + 0.8 * Math.min(1, t)
        c.lineWidth = 0.8 + 3.2 * Math.min(1, t)
        c.beginPath()
        c.moveTo(left, y(from))
        c.lineTo(right, y(to))
        c.stroke()
      }
      c.setLineDash([])
    }
    if (active !== null) {
      strong(into, p.into, [5, 4], (i) => [i, active])
      strong(
        out.map(([k, v]) => [k, v, v / limits[active]]),
        p.accent,
        [],
        (i) => [active, i],
      )
    }
    c.globalAlpha = 1

    const looksAt = new Map(out)
    const lookedBy = new Map(into.map(([q, v]) => [q, v]))
    if (active !== null && looksAt.has(active)) lookedBy.set(active, looksAt.get(active) as number)
    c.textBaseline = 'middle'
    const side = (i: number, isKey: boolean): void => {
      const v = isKey ? looksAt.get(i) : lookedBy.get(i)
      const [x0, x1] = isKey ? [right, width] : [0, left]
      const top = y(i) - rowHeight / 2
      let text = p.ink
      if (v !== undefined) {
        const rgb = sequential(v / (isKey ? limits[active as number] : limits[i]), p.theme)
        c.fillStyle = hex(rgb)
        c.fillRect(x0, top, x1 - x0, rowHeight - 1)
        text = hex(ink(rgb))
      }
      const left_out = isKey && hidden.has(i)
      if (left_out) hatch(c, x0, top, x1 - x0, rowHeight - 1, p.line)
      c.font = font(11)
      const number = v === undefined || v < 0.005 ? '' : v.toFixed(2).replace(/^0/, '')
      const room = number && columnWidth > 96 ? 28 : 0
      c.fillStyle = text
      if (room) {
        c.textAlign = isKey ? 'right' : 'left'
        c.fillText(number, isKey ? x1 - 4 : x0 + 4, y(i))
      }
      c.font = i === active ? `600 ${font(13)}` : font(13)
      c.fillStyle = left_out ? p.quiet : text
      c.textAlign = isKey ? 'left' : 'right'
      c.fillText(fitted(c, labels[i], columnWidth - 12 - room), isKey ? x0 + 6 : x1 - 6, y(i))
      if (i === active) {
        c.strokeStyle = p.ink
        c.lineWidth = 2
        c.strokeRect(x0 + 1, top + 0.5, x1 - x0 - 2, rowHeight - 2)
      }
    }
    for (let i = first; i <= last; i++) {
      side(i, false)
      side(i, true)
      const state = heads.patterns.state(s.layer, s.head, i)
      if (state !== 'ok') {
        c.font = font(11)
        c.textAlign = 'left'
        c.fillStyle = state === 'not a number' ? p.bad : p.quiet
        c.fillText(state === 'not a number' ? '× not a number' : `∅ ${state}`, left + 8, y(i))
      }
    }
  }

  const drawMatrix = (s: Readonly<State>, head: Head): void => {
    const p = palette()
    const active = shown(s)
    const near = s.mode === 'near' && count > nearCells
    const cells = near ? nearCells : count
    const from = near ? Math.min(count - cells, Math.max(0, (s.token ?? active ?? 0) - (cells >> 1))) : 0
    const labelled = Math.min(width - 96, tallest) / cells >= 11
    const [x, y0] = labelled ? [96, 84] : [8, 8]
    const side = Math.min(width - x - 8, tallest)
    geometry = { ...geometry, side, x, y: y0, from, cells }
    height = y0 + side + 8
    spacer.style.height = `${height}px`
    box.style.height = `${height + 2}px`
    const c = sized(canvas, width, height)
    const hidden = heads.hidden(s.hideSinks)
    const limits = rowLimits(head, s)
    const size = near ? cells : Math.min(cells, Math.floor((side * canvas.width) / width))
    const key = [s.layer, s.head, s.hideSinks, s.rowScale, p.theme, from, cells, size].join()
    if (matrix?.key !== key) {
      const off = document.createElement('canvas')
      off.width = off.height = size
      const oc = off.getContext('2d') as CanvasRenderingContext2D
      const image = oc.createImageData(size, size)
      const pixels = new Uint32Array(image.data.buffer)
      const [none, bad] = [wordOf(p.none), wordOf(p.bad)]
      const at = (i: number): number => Math.floor(((i - from) * size) / cells)
      for (let q = from; q < from + cells; q++) {
        const state = heads.patterns.state(s.layer, s.head, q)
        for (let k = from; k < from + cells; k++)
          pixels[at(q) * size + at(k)] =
            state === 'not a number' ? bad : state !== 'ok' || (head.rows.causal && k > q) ? none : p.words[0]
      }
      const best = new Uint8Array(size * size)
      head.rows.forEach((q, k, v) => {
        if (q < from || k < from || q >= from + cells || k >= from + cells || hidden.has(k)) return
        const i = at(q) * size + at(k)
        const byte = Math.min(255, Math.round((255 * v) / limits[q]))
        if (byte >= best[i]) {
          best[i] = byte
          pixels[i] = p.words[byte]
        }
      })
      oc.putImageData(image, 0, 0)
      matrix = { key, canvas: off }
    }
    c.fillStyle = p.ground
    c.fillRect(0, 0, width, height)
    c.imageSmoothingEnabled = false
    c.drawImage(matrix.canvas, x, y0, side, side)
    const step = side / cells
    for (const k of hidden)
      if (k >= from && k < from + cells) hatch(c, x + (k - from) * step, y0, Math.max(2, step), side, p.quiet)
    c.strokeStyle = p.line
    c.lineWidth = 1
    c.strokeRect(x - 0.5, y0 - 0.5, side + 1, side + 1)
    if (active !== null && active >= from && active < from + cells) {
      c.lineWidth = 1.5
      c.strokeStyle = p.accent
      c.strokeRect(x - 1, y0 + (active - from) * step - 0.5, side + 2, Math.max(2, step + 1))
      c.setLineDash([4, 3])
      c.strokeStyle = p.into
      c.strokeRect(x + (active - from) * step - 0.5, y0 - 1, Math.max(2, step + 1), side + 2)
      c.setLineDash([])
    }
    if (labelled) {
      const px = Math.min(13, Math.max(9, Math.floor(step) - 2))
      c.textBaseline = 'middle'
      for (let i = 0; i < cells; i++) {
        const at = from + i
        c.font = at === active ? `600 ${font(px)}` : font(px)
        c.fillStyle = at === active ? p.ink : p.quiet
        c.textAlign = 'right'
        c.fillText(fitted(c, labels[at], 86), x - 5, y0 + (i + 0.5) * step)
        c.save()
        c.translate(x + (i + 0.5) * step, y0 - 5)
        c.rotate(-Math.PI / 2)
        c.textAlign = 'left'
        c.fillText(fitted(c, labels[at], 74), 0, 0)
        c.restore()
      }
    }
  }

  const say = (s: Readonly<State>, head: Head): void => {
    const p = data.provenance
    const active = shown(s)
    const tap = `${tapOf(s.layer)}[0, ${s.head}`
    const tail = `${p.backend} ${p.precision}`
    if (cell) {
      const state = heads.patterns.state(s.layer, s.head, cell.query)
      const v = heads.patterns.at(s.layer, s.head, cell.query, cell.key)
      const value =
        state !== 'ok'
          ? state
          : head.rows.causal && cell.key > cell.query
            ? 'not allowed: the key comes later'
            : v > 0
              ? `${rounded(v, head.rows.bound)} ± ${pretty(head.rows.bound)}`
              : `not stored: smaller than the row's shown weights`
      readout.textContent = `${named(data, cell.query)} → ${named(data, cell.key)}: ${value} · ${tap}, ${cell.query}, ${cell.key}] of [1, ${heads.patterns.heads}, ${count}, ${count}] · ${tail}`
      return
    }
    if (active === null) {
      readout.textContent = `No token chosen: all lines are shown · ${tap}] · ${tail}`
      return
    }
    const state = heads.patterns.state(s.layer, s.head, active)
    const mass = heads.patterns.massOf(s.layer, s.head, active)
    readout.textContent =
      state === 'ok'
        ? `${named(data, active)}: stored weights carry ${percent(mass)} of its attention · ${tap}, ${active}] · ${tail}`
        : `${named(data, active)}: ${state} · ${tap}, ${active}] · ${tail}`
  }

  const draw = (s: Readonly<State>): void => {
    const head = heads.get(s.layer, s.head)
    if (width === 0) width = box.clientWidth
    // A box without room for more than the margins (hidden, or a window in the middle of a change): the observer draws it
    // once it has some.
    if (width > 16) {
      if (s.mode === 'lines') drawLines(s, head)
      else drawMatrix(s, head)
    }
    const text = `Layer ${s.layer}, head ${s.head}`
    if (title.textContent !== text) title.textContent = text
    canvas.setAttribute(
      'aria-label',
      `${text}, ${s.mode === 'lines' ? 'lines' : 'matrix'}${s.token === null ? '' : `, token ${named(data, s.token)}`}`,
    )
    const sinks = heads.hidden(s.hideSinks)
    scale.replaceChildren(
      toDom(
        legend(
          s.rowScale ? 1 : head.limit(s.hideSinks),
          false,
          [
            s.rowScale ? 'share of the row’s largest weight' : 'weight, this head’s scale',
            sinks.size > 0
              ? `${sinks.size === 1 ? `${named(data, [...sinks][0])} left out: it takes` : `${sinks.size} sinks left out: they take`} ${percent(head.sinkShare)} on average`
              : 'sinks shown',
            heads.patterns.encoding === 'top-u8' ? `top ${heads.patterns.top} weights a row` : 'all weights',
            `error ≤ ${pretty(head.rows.bound)}`,
            s.mode === 'lines'
              ? '— looks at, - - is looked at by'
              : 'rows look, columns are looked at; grey: not allowed',
          ].join(' · '),
        ),
      ),
    )
    say(s, head)
  }

  const pointed = (
    event: MouseEvent,
  ): { token: number; cell: { query: number; key: number } | null } | null => {
    const r = canvas.getBoundingClientRect()
    const [px, py] = [event.clientX - r.left, event.clientY - r.top]
    if (store.state.mode === 'lines') {
      const i = Math.floor((py + scroll - pad) / rowHeight)
      if (i < 0 || i >= count) return null
      const s = store.state
      const onKey = px > geometry.right && s.token !== null && i !== s.token
      return px < geometry.left || px > geometry.right
        ? { token: i, cell: onKey ? { query: s.token as number, key: i } : null }
        : null
    }
    const { x, y, side, cells, from } = geometry
    const key = from + Math.floor(((px - x) * cells) / side)
    const query = from + Math.floor(((py - y) * cells) / side)
    if (query < from || query >= from + cells) return null
    return { token: query, cell: key >= from && key < from + cells ? { query, key } : null }
  }
  /** Moves the window of rows so that it shows the token; the box itself is scrolled after all views have drawn. */
  const show = (token: number): void => {
    const tall = count * rowHeight + 2 * pad
    const seen = Math.min(tall, tallest)
    const y = pad + token * rowHeight
    if (y - pad < scroll) scroll = y - pad
    else if (y + rowHeight + pad > scroll + seen) scroll = y + rowHeight + pad - seen
    scroll = Math.max(0, Math.min(tall - seen, scroll))
  }
  const again = (): void => store.set({ look: store.state.look + 1 })

  canvas.addEventListener('pointermove', (event) => {
    if (event.pointerType === 'touch') return
    const at = pointed(event)
    cell = at?.cell ?? null
    // On the key side of the locked token's lines, the pointer asks about that pair and must not change the lines.
    store.set({ hover: cell && store.state.mode === 'lines' ? null : (at?.token ?? null) })
    again()
  })
  canvas.addEventListener('pointerleave', () => {
    cell = null
    store.set({ hover: null })
    again()
  })
  canvas.addEventListener('click', (event) => {
    const at = pointed(event)
    if (at) store.set({ token: at.token, hover: null })
  })
  canvas.addEventListener('keydown', (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return
    const s = store.state
    const token = (by: number): number =>
      s.token === null ? (by > 0 ? 0 : count - 1) : Math.min(count - 1, Math.max(0, s.token + by))
    const change: Record<string, () => Partial<State>> = {
      ArrowLeft: () => ({ head: Math.max(0, s.head - 1) }),
      ArrowRight: () => ({ head: Math.min(data.heads - 1, s.head + 1) }),
      ArrowUp: () => ({ token: token(-1) }),
      ArrowDown: () => ({ token: token(1) }),
      PageUp: () => ({ layer: Math.max(0, s.layer - 1) }),
      PageDown: () => ({ layer: Math.min(data.layers - 1, s.layer + 1) }),
      Home: () => ({ token: 0 }),
      End: () => ({ token: count - 1 }),
      Enter: () => ({ token: s.hover ?? s.token }),
      Escape: () => ({ token: null }),
    }
    const made = change[event.key]
    if (!made) return
    event.preventDefault()
    cell = null
    store.set({ ...made(), hover: null })
    again()
  })
  box.addEventListener(
    'scroll',
    () => {
      if (store.state.mode !== 'lines' || Math.abs(box.scrollTop - scroll) < 1) return
      scroll = box.scrollTop
      again()
    },
    { passive: true },
  )
  new ResizeObserver(() => {
    width = 0
    again()
  }).observe(box)

  const saveButton = document.getElementById('save-svg') as HTMLButtonElement
  saveButton.addEventListener('click', () => {
    const s = store.state
    const { rows } = heads.get(s.layer, s.head)
    const long = s.mode === 'lines' && count * rowHeight > tallest
    const from = long ? Math.max(0, Math.floor((scroll - pad) / rowHeight)) : 0
    const mark = headViewMark({
      rows,
      tokens: data.tokens,
      keyTokens: data.tokens,
      sinks: heads.hidden(s.hideSinks),
      top: heads.patterns.top,
      title: `${data.provenance.model}: layer ${s.layer} head ${s.head}`,
      from,
      to: long ? from + Math.floor(tallest / rowHeight) : Math.min(count, 256),
    })
    const link = document.createElement('a')
    link.href = URL.createObjectURL(new Blob([toHtml(mark)], { type: 'image/svg+xml' }))
    link.download = `layer-${s.layer}-head-${s.head}.svg`
    link.click()
    setTimeout(() => URL.revokeObjectURL(link.href), 1000)
  })

  store.subscribe((s, before) => {
    const moved = !before || before.token !== s.token || before.mode !== s.mode
    if (moved && s.mode === 'lines' && s.token !== null && s.hover === null) show(s.token)
    draw(s)
  })
  store.after((s) => {
    if (s.mode === 'lines' && Math.abs(box.scrollTop - scroll) >= 1) box.scrollTop = scroll
  })
  return () => canvas.focus()
}
