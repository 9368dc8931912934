/**
 * NFC, NFD, NFKC and NFKD that also say, for every code point written, which one read it came from: 0 = takes the place of
 * the next one read, +1 = added beside the last, -n = takes the next one's place and n more vanish behind it.
 * Single decompositions and pairs are asked of the engine's `normalize`; the order of marks and the walk are done here.
 * Source: Unicode Standard Annex 15; the change counts are those of the Rust library, with its (older) tables.
 */
import { combiningClass, inert } from './ranges.js'

export type NormalForm = 'NFC' | 'NFD' | 'NFKC' | 'NFKD'
/** Code points and, for each, its change. */
export interface Changes {
  points: number[]
  changes: number[]
}

const decomposed = { NFD: new Map<number, number[]>(), NFKD: new Map<number, number[]>() }
const composed = new Map<number, number>()

function decompose(point: number, form: 'NFD' | 'NFKD'): number[] {
  let out = decomposed[form].get(point)
  if (!out) {
    const text = String.fromCodePoint(point)
    out = inert().has(point) ? [point] : Array.from(text.normalize(form), (c) => c.codePointAt(0) as number)
    decomposed[form].set(point, out)
  }
  return out
}

/** The one code point that a pair composes to, or -1. */
function compose(first: number, second: number): number {
  const key = first * 0x110000 + second
  let out = composed.get(key)
  if (out === undefined) {
    const pair = String.fromCodePoint(first, second)
    const text = pair.normalize('NFC')
    const point = text.codePointAt(0) as number
    out = text.length === (point > 0xffff ? 2 : 1) && !inert().has(point) ? point : -1
    composed.set(key, out)
  }
  return out
}

/** Whether the text is surely unchanged by the form: the engine's tables only ever know more than the library's. */
export function isStable(text: string, form: NormalForm): boolean {
  return !/[^\0-\x7f]/.test(text) || text.normalize(form) === text
}

export function normalForm(text: string, form: NormalForm): Changes {
  const how = form === 'NFC' || form === 'NFD' ? 'NFD' : 'NFKD'
  const classes = combiningClass()
  const out: Changes = { points: [], changes: [] }
  let marks: { point: number; change: number; order: number }[] = []
  const flush = () => {
    if (marks.length > 1) marks.sort((a, b) => a.order - b.order) // stable: equal classes keep their order
    for (const m of marks) {
      out.points.push(m.point)
      out.changes.push(m.change)
    }
    marks = []
  }
  for (const char of text) {
    const parts = decompose(char.codePointAt(0) as number, how)
    for (let i = 0; i < parts.length; i++) {
      const order = classes.get(parts[i]) ?? 0
      if (order === 0) {
        flush()
        out.points.push(parts[i])
        out.changes.push(i === 0 ? 0 : 1)
      } else marks.push({ point: parts[i], change: i === 0 ? 0 : 1, order })
    }
  }
  flush()
  return form === 'NFC' || form === 'NFKC' ? recompose(out, classes) : out
}

function recompose(from: Changes, classes: Map<number, number>): Changes {
  const out: Changes = { points: [], changes: [] }
  let starter = -1 // place in `out` of the last starter, -1 before the first
  let last = 0 // class of the last mark kept behind it; 0 = none
  for (let i = 0; i < from.points.length; i++) {
    const point = from.points[i]
    const order = classes.get(point) ?? 0
    if (starter >= 0 && (last === 0 || last < order)) {
      const whole = compose(out.points[starter], point)
      if (whole >= 0) {
        out.points[starter] = whole
        out.changes[starter] += from.changes[i] - 1
        continue
      }
    }
    if (order === 0) {
      starter = out.points.length
      last = 0
    } else if (starter >= 0) last = order
    out.points.push(point)
    out.changes.push(from.changes[i])
  }
  return out
}
