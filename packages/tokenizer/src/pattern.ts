/**
 * Finding a pattern (string or regular expression of the file) and cutting a text along it, with the five behaviours of
 * the file format. It refuses to know what the pieces are for.
 */
import type { AlignedText } from './aligned-text.js'
import { UnsupportedComponentError } from './errors.js'
import type { Fields } from './json.js'
import { translateRegex } from './regex.js'
import type { CodePointSet } from './unicode/ranges.js'

/** [from, to, whether it matched]; the spans of one text cover it without gaps. */
export type Span = [from: number, to: number, match: boolean]
/** The matches in a text, in order, in UTF-16 units. */
export type Finder = (text: string) => [number, number][]

export function stringFinder(wanted: string): Finder {
  return (text) => {
    const out: [number, number][] = []
    if (wanted === '') return out
    for (let i = text.indexOf(wanted); i >= 0; i = text.indexOf(wanted, i + wanted.length))
      out.push([i, i + wanted.length])
    return out
  }
}

export function regexFinder(regex: RegExp): Finder {
  return (text) => {
    const out: [number, number][] = []
    let lastEnd = -1
    regex.lastIndex = 0
    for (let m = regex.exec(text); m; m = regex.exec(text)) {
      const from = m.index
      const to = from + m[0].length
      if (from === to) {
        regex.lastIndex = to + ((text.codePointAt(to) ?? 0) > 0xffff ? 2 : 1)
        if (from === lastEnd) continue // an empty match right behind another one does not count
      }
      out.push([from, to])
      lastEnd = to
      if (regex.lastIndex > text.length) break
    }
    return out
  }
}

/** `{ "String": … }` or `{ "Regex": … }`, or a plain string, as the file has it. */
export function patternFinder(owner: Fields, key: string): Finder {
  if (typeof owner.get(key) === 'string') return stringFinder(owner.string(key))
  const pattern = owner.object(key)
  if (pattern.has('String')) return stringFinder(pattern.string('String'))
  if (!pattern.has('Regex'))
    throw new UnsupportedComponentError(`pattern ${Object.keys(pattern.value).join()}`, pattern.path)
  return regexFinder(translateRegex(pattern.string('Regex'), pattern.at('Regex')))
}

/** All spans of the text: matches and what is between them. */
export function spansOf(text: string, find: Finder): Span[] {
  const out: Span[] = []
  let at = 0
  for (const [from, to] of find(text)) {
    if (at !== from) out.push([at, from, false])
    out.push([from, to, true])
    at = to
  }
  if (at !== text.length || text === '') out.push([at, text.length, false])
  return out
}

/** Every code point of the set is a match of its own. */
export function setFinder(set: CodePointSet): Finder {
  return (text) => {
    const out: [number, number][] = []
    for (let i = 0; i < text.length; ) {
      const point = text.codePointAt(i) as number
      const width = point > 0xffff ? 2 : 1
      if (set.has(point)) out.push([i, i + width])
      i += width
    }
    return out
  }
}

export const behaviors = [
  'Removed',
  'Isolated',
  'MergedWithPrevious',
  'MergedWithNext',
  'Contiguous',
] as const
export type Behavior = (typeof behaviors)[number]

/** Pieces of the text, empty ones left out. */
export function split(text: AlignedText, find: Finder, behavior: Behavior, invert = false): AlignedText[] {
  const spans = spansOf(text.text, find)
  if (invert) for (const span of spans) span[2] = !span[2]
  const out: AlignedText[] = []
  for (const [from, to] of cut(spans, behavior)) if (from < to) out.push(text.slice(from, to))
  return out
}

function cut(spans: Span[], behavior: Behavior): (readonly [number, number])[] {
  if (behavior === 'Isolated') return spans.map(([from, to]) => [from, to] as const)
  if (behavior === 'Removed') return spans.filter((s) => !s[2]).map(([from, to]) => [from, to] as const)
  const out: [number, number][] = []
  let previous = false
  if (behavior === 'MergedWithNext') {
    for (const [from, to, match] of spans.reverse()) {
      if (match && !previous && out.length > 0) out[out.length - 1][0] = from
      else out.push([from, to])
      previous = match
    }
    return out.reverse()
  }
  for (const [from, to, match] of spans) {
    const joins = behavior === 'Contiguous' ? match === previous : match && !previous
    if (joins && out.length > 0) out[out.length - 1][1] = to
    else out.push([from, to])
    previous = match
  }
  return out
}
