/**
 * Sets of code points, unpacked from the strings in tables.ts when first asked. It refuses to use `\p{…}` of the engine,
 * whose Unicode version differs from browser to browser.
 */
import * as tables from './tables.js'

/** [first, last] pairs, ascending, both included. */
export type Ranges = [number, number][]

function unpack(packed: string): Ranges {
  const out: Ranges = []
  let at = 0
  for (const item of packed === '' ? [] : packed.split(' ')) {
    const [gap, more = '0'] = item.split(',')
    const first = at + Number.parseInt(gap, 36)
    const last = first + Number.parseInt(more, 36)
    out.push([first, last])
    at = last + 1
  }
  return out
}

/** The union, sorted, touching ranges joined. */
export function union(...sets: Ranges[]): Ranges {
  const out: Ranges = []
  for (const [first, last] of sets.flat().sort((a, b) => a[0] - b[0])) {
    const top = out[out.length - 1]
    if (top && first <= top[1] + 1) top[1] = Math.max(top[1], last)
    else out.push([first, last])
  }
  return out
}

/** Everything else up to U+10FFFF. */
export function complement(set: Ranges): Ranges {
  const out: Ranges = []
  let at = 0
  for (const [first, last] of union(set)) {
    if (first > at) out.push([at, first - 1])
    at = last + 1
  }
  if (at <= 0x10ffff) out.push([at, 0x10ffff])
  return out
}

const codes =
  'ALu BLl CLt DLm ELo FMn GMc HMe INd JNl KNo LPc MPd NPs OPe PPi QPf RPo SSm TSc USk VSo WZs XZl YZp ZCc !Cf *Co +Cn -Cs'
let byCategory: Map<string, Ranges> | undefined

function categories(): Map<string, Ranges> {
  if (byCategory) return byCategory
  const name = new Map(codes.split(' ').map((c) => [c[0], c.slice(1)]))
  byCategory = new Map([...name.values()].map((n) => [n, []]))
  let at = 0
  for (const [, length, code] of tables.GENERAL_CATEGORY.matchAll(/([0-9a-z]*)([A-Z!*+-])/g)) {
    const n = length === '' ? 1 : Number.parseInt(length, 36)
    byCategory.get(name.get(code) as string)?.push([at, at + n - 1])
    at += n
  }
  return byCategory
}

/** The ranges of a general category ('Lu') or of a group ('L'); undefined for any other name. */
export function category(name: string): Ranges | undefined {
  const found = [...categories()].filter(([n]) => n === name || (name.length === 1 && n[0] === name))
  return found.length === 0 ? undefined : union(...found.map(([, r]) => r))
}

/** White_Space: has U+0085, has not U+FEFF, unlike `\s` of JavaScript. */
export const whiteSpace: Ranges = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0x85, 0x85],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
] // prettier-ignore

const words = (extra: string) =>
  lazy(() => union(...['L', 'M', 'Nd', 'Nl', 'Pc'].map((c) => category(c) as Ranges), unpack(extra)))
/** `\w` of a regex in the file. */
export const word = words(tables.WORD_EXTRA)
/** `\w` between brackets in a regex of the file: without ½ and ². */
export const wordInClass = words(tables.WORD_EXTRA_IN_CLASS)
/** `\w` of the Whitespace pre-tokenizer and of `single_word`. */
export const plainWord = words(tables.WORD_EXTRA_PLAIN)

function lazy<T>(make: () => T): () => T {
  let made: T | undefined
  return () => (made ??= make())
}

/** Membership by binary search; the first 128 code points by table. */
export class CodePointSet {
  private readonly bounds: Int32Array
  private readonly ascii = new Uint8Array(128)

  constructor(ranges: Ranges) {
    this.bounds = Int32Array.from(union(ranges).flatMap(([a, b]) => [a, b + 1]))
    for (const [a, b] of ranges) for (let c = a; c <= b && c < 128; c++) this.ascii[c] = 1
  }

  has(point: number): boolean {
    if (point < 128) return this.ascii[point] === 1
    let low = 0
    let high = this.bounds.length // number of bounds <= point is odd inside a range
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.bounds[middle] <= point) low = middle + 1
      else high = middle
    }
    return (low & 1) === 1
  }
}

const setOf = (packed: string) => lazy(() => new CodePointSet(unpack(packed)))
export const numeric = setOf(tables.NUMERIC)
export const oldPunctuation = setOf(tables.OLD_PUNCTUATION)
export const bertRemoved = setOf(tables.BERT_REMOVED)
export const bertAccents = setOf(tables.BERT_ACCENTS)
export const accents = setOf(tables.ACCENTS)
export const inert = setOf(tables.INERT)
export const whiteSpaceSet = lazy(() => new CodePointSet(whiteSpace))
export const plainWordSet = lazy(() => new CodePointSet(plainWord()))

/** Canonical combining class of the code points that have one. */
export const combiningClass = lazy(() => {
  const out = new Map<number, number>()
  for (const part of tables.COMBINING.split('|')) {
    const [value, packed] = part.split(':')
    for (const [a, b] of unpack(packed)) for (let c = a; c <= b; c++) out.set(c, Number(value))
  }
  return out
})

/** The Chinese characters of BERT: eight blocks of ideographs, no kana, no hangul. */
export function isChinese(c: number): boolean {
  return (
    (c >= 0x4e00 && c <= 0x9fff) ||
    (c >= 0x3400 && c <= 0x4dbf) ||
    (c >= 0x20000 && c <= 0x2a6df) ||
    (c >= 0x2a700 && c <= 0x2b81f) ||
    (c >= 0x2b920 && c <= 0x2ceaf) ||
    (c >= 0xf900 && c <= 0xfaff) ||
    (c >= 0x2f800 && c <= 0x2fa1f)
  ) // prettier-ignore
}

/** The body of a character class for a regular expression with the `u` flag. */
export function classBody(ranges: Ranges): string {
  const one = (c: number) => `\\u{${c.toString(16)}}`
  return union(ranges)
    .map(([a, b]) => (a === b ? one(a) : `${one(a)}-${one(b)}`))
    .join('')
}
