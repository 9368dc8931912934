// All heads at once: one canvas, one tile a head, one colour scale for all. Tiles smaller than the text merge cells by
// their largest value, and the legend says so. The raster is kept; a key press only moves the ring.

import { toDom } from '../markup.js'
import { legend } from '../report-marks.js'
import { font, hatch, type Palette, sized, wordOf } from './canvas.js'
import type { Heads } from './heads.js'
import type { State, Store } from './store.js'

const gap = 3
const left = 26
const top = 18

/** @param open called when a head is chosen by Enter or a click, so that focus can follow. */
export function atlasView(store: Store, heads: Heads, palette: () => Palette, open: () => void): void {
  const box = document.getElementById('atlas-box') as HTMLElement
  const scale = document.getElementById('atlas-legend') as HTMLElement
  const canvas = document.createElement('canvas')
  canvas.tabIndex = 0
  canvas.setAttribute('role', 'application')
  canvas.setAttribute('aria-describedby', 'atlas-help')
  box.append(canvas)
  const { layers, heads: count, queries, keys } = heads.patterns
  let cursor = { layer: store.state.layer, head: store.state.head }
  let tile = 24
  let width = 0
  let raster: { key: string; canvas: HTMLCanvasElement } | null = null

  const rasterise = (s: Readonly<State>, ratio: number): HTMLCanvasElement => {
    const p = palette()
    const key = [p.theme, tile, ratio, s.hideSinks, s.rowScale].join()
    if (raster?.key === key) return raster.canvas
    const px = Math.max(1, Math.round(tile * ratio))
    const hidden = heads.hidden(s.hideSinks)
    let limit = 0
    for (let l = 0; l < layers; l++)
      for (let i = 0; i < count; i++) limit = Math.max(limit, heads.get(l, i).limit(s.hideSinks))
    const out = document.createElement('canvas')
    out.width = count * px
    out.height = layers * px
    const context = out.getContext('2d') as CanvasRenderingContext2D
    const image = context.createImageData(out.width, out.height)
    const pixels = new Uint32Array(image.data.buffer)
    pixels.fill(p.words[0])
    const cells = new Uint8Array(px * px)
    const rowMax = new Float32Array(queries)
    const bad = wordOf(p.bad)
    for (let l = 0; l < layers; l++)
      for (let i = 0; i < count; i++) {
        const { rows } = heads.get(l, i)
        cells.fill(0)
        if (s.rowScale) {
          rowMax.fill(0)
          rows.forEach((q, k, v) => {
            if (v > rowMax[q] && !hidden.has(k)) rowMax[q] = v
          })
        }
        rows.forEach((q, k, v) => {
          if (hidden.has(k)) return
          const byte = Math.round((255 * v) / (s.rowScale ? rowMax[q] : limit))
          const x0 = Math.floor((k * px) / keys)
          const y0 = Math.floor((q * px) / queries)
          const x1 = Math.max(x0 + 1, Math.floor(((k + 1) * px) / keys))
          const y1 = Math.max(y0 + 1, Math.floor(((q + 1) * px) / queries))
          for (let y = y0; y < y1; y++)
            for (let x = x0; x < x1; x++) if (byte > cells[y * px + x]) cells[y * px + x] = byte
        })
        for (let y = 0; y < px; y++) {
          const at = (l * px + y) * out.width + i * px
          const broken = heads.patterns.state(l, i, Math.floor((y * queries) / px)) === 'not a number'
          for (let x = 0; x < px; x++) pixels[at + x] = broken ? bad : p.words[cells[y * px + x]]
        }
      }
    context.putImageData(image, 0, 0)
    raster = { key, canvas: out }
    scale.replaceChildren(
      toDom(
        legend(
          s.rowScale ? 1 : limit,
          false,
          `${s.rowScale ? 'each row as a share of its largest weight' : 'weight, one scale for all heads'}; ${queries > px ? `tiles merge cells by their largest; ` : ''}${hidden.size > 0 ? 'sinks left out' : 'sinks shown'}`,
        ),
      ),
    )
    return out
  }

  const draw = (s: Readonly<State>): void => {
    const p = palette()
    if (width === 0) width = box.clientWidth
    tile = Math.min(72, Math.max(14, Math.floor((width - left) / count) - gap))
    const [w, h] = [left + count * (tile + gap), top + layers * (tile + gap)]
    const c = sized(canvas, w, h)
    const ratio = canvas.width / w
    const image = rasterise(s, ratio)
    const px = image.width / count
    c.clearRect(0, 0, w, h)
    c.imageSmoothingEnabled = false
    c.font = font(11)
    c.textBaseline = 'middle'
    for (let l = 0; l < layers; l++) {
      c.fillStyle = l === s.layer ? p.ink : p.quiet
      c.textAlign = 'right'
      c.fillText(String(l), left - 6, top + l * (tile + gap) + tile / 2)
      for (let i = 0; i < count; i++) {
        const [x, y] = [left + i * (tile + gap), top + l * (tile + gap)]
        c.drawImage(image, i * px, l * px, px, px, x, y, tile, tile)
        if (heads.patterns.state(l, i, 0) === 'not computed') hatch(c, x, y, tile, tile, p.quiet)
        c.strokeStyle = p.line
        c.lineWidth = 1
        c.strokeRect(x - 0.5, y - 0.5, tile + 1, tile + 1)
      }
    }
    c.textAlign = 'center'
    const every = tile < 16 ? 4 : tile < 22 ? 2 : 1
    for (let i = 0; i < count; i += every) {
      c.fillStyle = i === s.head ? p.ink : p.quiet
      c.fillText(String(i), left + i * (tile + gap) + tile / 2, top / 2)
    }
    const ring = (layer: number, head: number, colour: string, dash: number[]): void => {
      c.strokeStyle = colour
      c.lineWidth = 2.5
      c.setLineDash(dash)
      c.strokeRect(left + head * (tile + gap) - 1, top + layer * (tile + gap) - 1, tile + 2, tile + 2)
      c.setLineDash([])
    }
    ring(s.layer, s.head, p.ink, [])
    if (cursor.layer !== s.layer || cursor.head !== s.head) ring(cursor.layer, cursor.head, p.accent, [4, 3])
    canvas.setAttribute(
      'aria-label',
      `all heads; cursor on layer ${cursor.layer} head ${cursor.head}${cursor.layer === s.layer && cursor.head === s.head ? ', open' : ''}`,
    )
  }

  const tileAt = (event: PointerEvent | MouseEvent): { layer: number; head: number } | null => {
    const r = canvas.getBoundingClientRect()
    const head = Math.floor((event.clientX - r.left - left) / (tile + gap))
    const layer = Math.floor((event.clientY - r.top - top) / (tile + gap))
    return head >= 0 && head < count && layer >= 0 && layer < layers ? { layer, head } : null
  }
  const touch = (): void => store.set({ look: store.state.look + 1 })
  canvas.addEventListener('pointermove', (event) => {
    const at = tileAt(event)
    canvas.title = at ? `layer ${at.layer} head ${at.head}` : ''
    canvas.style.cursor = at ? 'pointer' : ''
  })
  canvas.addEventListener('click', (event) => {
    const at = tileAt(event)
    if (!at) return
    cursor = at
    store.set(at)
    touch()
  })
  canvas.addEventListener('keydown', (event) => {
    const move: Record<string, [number, number]> = {
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
    }
    const by = move[event.key]
    if (by)
      cursor = {
        layer: Math.min(layers - 1, Math.max(0, cursor.layer + by[0])),
        head: Math.min(count - 1, Math.max(0, cursor.head + by[1])),
      }
    else if (event.key === 'Home') cursor = { layer: cursor.layer, head: 0 }
    else if (event.key === 'End') cursor = { layer: cursor.layer, head: count - 1 }
    else if (event.key === 'Escape') cursor = { layer: store.state.layer, head: store.state.head }
    else if (event.key === 'Enter' || event.key === ' ') {
      store.set(cursor)
      open()
    } else return
    event.preventDefault()
    touch()
  })
  store.subscribe((s, before) => {
    if (before && (before.layer !== s.layer || before.head !== s.head))
      cursor = { layer: s.layer, head: s.head }
    if (
      !before ||
      before.look !== s.look ||
      before.layer !== s.layer ||
      before.head !== s.head ||
      before.hideSinks !== s.hideSinks ||
      before.rowScale !== s.rowScale
    )
      draw(s)
  })
  new ResizeObserver(() => {
    width = 0
    touch()
  }).observe(box)
}
