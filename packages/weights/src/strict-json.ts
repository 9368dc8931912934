// JSON as the header of a safetensors file needs it: an integer is told from 2.0, integers beyond 2^53 are exact, every
// key of an object is kept in order (repeated ones too), nesting is limited. JSON.parse can do none of these.

/** Entries in file order; `__proto__` is a key like any other. */
export interface JsonObject {
  readonly entries: readonly (readonly [string, Json])[]
}
/** A bigint is a number that is written as an integer; a number is written with a point or an exponent, or is −0. */
export type Json = string | bigint | number | boolean | null | readonly Json[] | JsonObject

export const isObject = (value: Json): value is JsonObject =>
  typeof value === 'object' && value !== null && 'entries' in value && !Array.isArray(value)

export class JsonError extends Error {}

const maxDepth = 127 // as serde_json
const numberPattern = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y
export function parseStrict(text: string): Json {
  let at = 0

  const fail = (what: string): never => {
    throw new JsonError(`${what} at character ${at}`)
  }
  const skipSpace = () => {
    for (; at < text.length; at++) {
      const c = text.charCodeAt(at)
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return
    }
  }
  const word = <T>(letters: string, value: T): T => {
    if (!text.startsWith(letters, at)) fail('expected a value')
    at += letters.length
    return value
  }
  // by hand, not by expression: a header may be one string of 100 MB
  const string = (): string => {
    if (text[at] !== '"') return fail('expected a string')
    const start = at
    let escaped = false
    for (at++; at < text.length; at++) {
      const c = text.charCodeAt(at)
      if (c === 0x22) break
      if (c < 0x20) return fail('control character in a string')
      if (c !== 0x5c) continue
      escaped = true
      at++
    }
    if (at >= text.length) return fail('string without end')
    at++
    if (!escaped) return text.slice(start + 1, at - 1)
    let value = ''
    try {
      value = JSON.parse(text.slice(start, at)) as string
    } catch {
      return fail('unknown escape in the string before')
    }
    // half a character cannot be written as UTF-8: the name would not survive a round trip
    if (/\p{Surrogate}/u.test(value)) return fail('lone surrogate in the string before')
    return value
  }
  const number = (): bigint | number => {
    numberPattern.lastIndex = at
    const match = numberPattern.exec(text)
    if (!match) return fail('expected a value')
    const [digits, fraction, exponent] = match
    at += digits.length
    const isInteger = fraction === undefined && exponent === undefined && digits !== '-0'
    // beyond 64 bits it is no size anyway, and a bigint of a million digits takes seconds
    if (isInteger && digits.length <= 20) return BigInt(digits)
    const value = Number(digits)
    if (!Number.isFinite(value)) fail('number out of range before')
    return value
  }
  /** The inside of [ ] or { }: items separated by commas, none after the last. */
  const list = (close: string, item: () => void) => {
    at++
    skipSpace()
    if (text[at] === close) {
      at++
      return
    }
    for (;;) {
      item()
      skipSpace()
      const next = text[at]
      if (next !== ',' && next !== close) fail(`expected , or ${close}`)
      at++
      if (next === close) return
    }
  }
  const value = (depth: number): Json => {
    skipSpace()
    if (at >= text.length) fail('ends too early')
    switch (text[at]) {
      case '{': {
        if (depth >= maxDepth) fail('nested too deeply')
        const entries: [string, Json][] = []
        list('}', () => {
          skipSpace()
          const key = string()
          skipSpace()
          if (text[at] !== ':') fail('expected :')
          at++
          entries.push([key, value(depth + 1)])
        })
        return { entries }
      }
      case '[': {
        if (depth >= maxDepth) fail('nested too deeply')
        const items: Json[] = []
        list(']', () => {
          items.push(value(depth + 1))
        })
        return items
      }
      case '"':
        return string()
      case 't':
        return word('true', true)
      case 'f':
        return word('false', false)
      case 'n':
        return word('null', null)
      default:
        return number()
    }
  }

  const result = value(0)
  skipSpace()
  if (at < text.length) fail('more text after the end')
  return result
}
