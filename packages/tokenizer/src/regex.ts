/**
 * Regular expressions of tokenizer files (Oniguruma, Ruby syntax) as JavaScript ones: other meanings of `\s \w \b . ^ $`,
 * inline flags, atomic groups and possessive quantifiers, Unicode classes from the library's own tables. What has no
 * JavaScript counterpart (recursion, back references, callouts) is refused by name; nothing is approximated.
 */
import { UnsupportedComponentError } from './errors.js'
import {
  category,
  classBody,
  complement,
  type Ranges,
  union,
  whiteSpace,
  word,
  wordInClass,
} from './unicode/ranges.js'

const cache = new Map<string, RegExp>()

/** A RegExp with flags `gu` that matches what the pattern matches in Oniguruma. `path` is for errors. */
export function translateRegex(pattern: string, path: string): RegExp {
  let regex = cache.get(pattern)
  if (!regex) {
    const source = new Translator(pattern, path).whole()
    try {
      regex = new RegExp(source, 'gu')
    } catch (error) {
      throw new UnsupportedComponentError(
        `regex ${JSON.stringify(pattern)}`,
        path,
        `cannot be translated (${error})`,
      )
    }
    if (cache.size > 200) cache.clear()
    cache.set(pattern, regex)
  }
  return new RegExp(regex.source, regex.flags)
}

const digit = (): Ranges => category('Nd') as Ranges
const hex: Ranges = [
  [0x30, 0x39],
  [0x41, 0x46],
  [0x61, 0x66],
] // prettier-ignore
const punctuation = (): Ranges => category('P') as Ranges
/** `\\p{…}` beside general categories and scripts. */
const properties: Record<string, () => Ranges> = {
  any: () => [[0, 0x10ffff]],
  letter: () => category('L') as Ranges,
  mark: () => category('M') as Ranges,
  number: () => category('N') as Ranges,
  punctuation,
  symbol: () => category('S') as Ranges,
  cntrl: () => category('Cc') as Ranges,
  digit,
  punct: punctuation,
  space: () => whiteSpace,
  word,
  xdigit: () => hex,
}
/** `[:…:]`. Those that need the property Alphabetic are refused. */
const posix: Record<string, () => Ranges> = {
  ...properties,
  punct: () => union(punctuation(), category('S') as Ranges),
  word: wordInClass,
}
const controls: Record<string, number> = { n: 10, r: 13, t: 9, f: 12, v: 11, a: 7, e: 27 }
/** Characters that are equal but for case beyond what toLowerCase and toUpperCase say. */
const alsoFolded: Record<string, string> = {
  s: 'ſ',
  ſ: 's',
  k: '\u212a',
  '\u212a': 'k',
  å: '\u212b',
  '\u212b': 'å',
}

class Translator {
  private at = 0
  private groups = 0

  constructor(
    private readonly pattern: string,
    private readonly path: string,
  ) {}

  whole(): string {
    const out = this.alternatives(false)
    if (this.at < this.pattern.length) this.refuse('an unmatched )')
    return out
  }

  private refuse(what: string): never {
    throw new UnsupportedComponentError(
      `regex ${JSON.stringify(this.pattern)}`,
      this.path,
      `uses ${what}, which is not supported`,
    )
  }

  private eat(text: string): boolean {
    if (!this.pattern.startsWith(text, this.at)) return false
    this.at += text.length
    return true
  }

  private next(): number {
    const point = this.pattern.codePointAt(this.at)
    if (point === undefined) this.refuse('an unfinished escape or class')
    this.at += point > 0xffff ? 2 : 1
    return point
  }

  private alternatives(fold: boolean): string {
    let out = ''
    while (this.at < this.pattern.length && this.pattern[this.at] !== ')') {
      if (this.eat('|')) {
        out += '|'
        continue
      }
      const flags = /^\(\?([imx]*)(?:-([imx]*))?\)/.exec(this.pattern.slice(this.at))
      if (flags) {
        // from here to the end of the group, alternatives included
        if (/[mx]/.test(flags[1] + (flags[2] ?? ''))) this.refuse(`the flags ${flags[0]}`)
        this.at += flags[0].length
        return `${out}(?:${this.alternatives(flags[1].includes('i') || (fold && !flags[2]?.includes('i')))})`
      }
      out += this.quantified(fold)
    }
    return out
  }

  private quantified(fold: boolean): string {
    let out = this.atom(fold)
    for (;;) {
      const found = /^(?:[?*+]|\{\d+(?:,\d*)?\}|\{,\d+\})/.exec(this.pattern.slice(this.at))
      if (!found) return out
      this.at += found[0].length
      const count = found[0].replace('{,', '{0,')
      if (this.eat('?')) out = `(?:${out}${count}?)`
      else if (found[0][0] !== '{' && this.eat('+')) out = this.atomic(`${out}${count}`)
      else out = `(?:${out}${count})` // `{n,m}+` is no possessive in Ruby syntax: the next round repeats the repetition
    }
  }

  private atomic(body: string): string {
    const name = `a${this.groups++}`
    return `(?:(?=(?<${name}>${body}))\\k<${name}>)`
  }

  private group(fold: boolean): string {
    const body = (inner = fold) => {
      const out = this.alternatives(inner)
      if (!this.eat(')')) this.refuse('an unclosed (')
      return out
    }
    if (!this.eat('?')) return `(?:${body()})`
    if (this.eat('#')) {
      this.at = this.pattern.indexOf(')', this.at) + 1 || this.refuse('an unclosed comment')
      return '(?:)'
    }
    for (const look of ['<=', '<!', '=', '!']) if (this.eat(look)) return `(?${look}${body()})`
    if (this.eat('>')) return this.atomic(body())
    if (this.eat(':')) return `(?:${body()})`
    const name = /^<([A-Za-z_]\w*)>/.exec(this.pattern.slice(this.at))
    if (name) {
      this.at += name[0].length
      return `(?:${body()})`
    }
    const flags = /^([i]*)(?:-(i*))?:/.exec(this.pattern.slice(this.at))
    if (!flags) this.refuse(`the group (?${this.pattern[this.at] ?? ''}`)
    this.at += flags[0].length
    return `(?:${body(flags[1] !== '' || (fold && !flags[2]))})`
  }

  private atom(fold: boolean): string {
    if (this.eat('(')) return this.group(fold)
    if (this.eat('[')) return this.set(this.classRanges(fold))
    if (this.eat('.')) return '[^\\n]'
    if (this.eat('^')) return '(?:(?<![^])|(?<=\\n)(?=[^]))'
    if (this.eat('$')) return '(?:(?![^])|(?=\\n))'
    if (!this.eat('\\')) {
      const point = this.next()
      if (point === 0x3f || point === 0x2a || point === 0x2b)
        this.refuse('a quantifier with nothing before it')
      return this.set(folded([[point, point]], fold))
    }
    if (this.eat('A')) return '(?<![^])'
    if (this.eat('z')) return '(?![^])'
    if (this.eat('Z')) return '(?=\\n?(?![^]))'
    if (this.pattern[this.at] === 'b' || this.pattern[this.at] === 'B') {
      const inside = `[${classBody(word())}]`
      const edge = `(?:(?<=${inside})(?!${inside})|(?<!${inside})(?=${inside}))`
      return this.next() === 0x62 ? edge : `(?!${edge})`
    }
    return this.set(this.escape(fold))
  }

  private set(ranges: Ranges): string {
    return ranges.length === 0 ? '[]' : `[${classBody(ranges)}]`
  }

  /** What stands behind a backslash, inside a class or outside. */
  private escape(fold: boolean, wordSet = word): Ranges {
    const char = String.fromCodePoint(this.next())
    const shorthand: Record<string, () => Ranges> = {
      s: () => whiteSpace,
      d: digit,
      w: wordSet,
      h: () => hex,
    }
    if (shorthand[char]) return shorthand[char]()
    if (shorthand[char.toLowerCase()]) return complement(shorthand[char.toLowerCase()]())
    if (char === 'p' || char === 'P') return this.property(char === 'P')
    let point = char.codePointAt(0) as number
    if (controls[char] !== undefined) point = controls[char]
    else if (char === 'x' || char === 'u') {
      const code = (char === 'x' ? /^(?:\{([0-9a-fA-F]+)\}|([0-9a-fA-F]{1,2}))/ : /^()([0-9a-fA-F]{4})/).exec(
        this.pattern.slice(this.at),
      )
      if (!code) this.refuse(`\\${char}`)
      this.at += code[0].length
      point = Number.parseInt(code[1] || code[2], 16)
    } else if (/[A-Za-z0-9]/.test(char)) this.refuse(`\\${char}`)
    return folded([[point, point]], fold)
  }

  private property(negated: boolean): Ranges {
    const found = /^\{(\^?)([^}]+)\}/.exec(this.pattern.slice(this.at))
    if (!found) this.refuse('\\p without {}')
    this.at += found[0].length
    const ranges = category(found[2]) ?? properties[found[2].toLowerCase()]?.() ?? this.script(found[2])
    return negated !== (found[1] === '^') ? complement(ranges) : ranges
  }

  /** Scripts are the one thing asked of the engine, less what is newer than the tables. */
  private script(name: string): Ranges {
    let inside: RegExp
    try {
      inside = new RegExp(`^\\p{Script=${name}}$`, 'u')
    } catch {
      return this.refuse(`\\p{${name}}`)
    }
    const out: Ranges = []
    for (const [first, last] of complement(category('Cn') as Ranges))
      for (let c = first; c <= last; c++) if (inside.test(String.fromCodePoint(c))) out.push([c, c])
    return union(out)
  }

  /** The inside of [...], up to and with the closing bracket. */
  private classRanges(fold: boolean): Ranges {
    const negated = this.eat('^')
    let out: Ranges = []
    let others: Ranges | undefined // what `&&` intersects with
    const closed = () => (others ? intersect(others, out) : out)
    for (let first = true; ; first = false) {
      if (!first && this.eat(']')) break
      if (this.eat('&&')) {
        others = closed()
        out = []
        continue
      }
      const bracket = /^\[:(\^?)(\w+):\]/.exec(this.pattern.slice(this.at))
      if (bracket) {
        this.at += bracket[0].length
        const ranges = posix[bracket[2]]?.() ?? this.refuse(bracket[0])
        out = union(out, bracket[1] ? complement(ranges) : ranges)
        continue
      }
      if (this.eat('[')) {
        out = union(out, this.classRanges(fold))
        continue
      }
      const low = this.classItem()
      const isRange =
        low.single !== undefined && this.pattern[this.at] === '-' && this.pattern[this.at + 1] !== ']'
      if (!isRange) {
        out = union(out, folded(low.ranges, fold && low.single !== undefined))
        continue
      }
      this.at++
      const high = this.classItem()
      if (high.single === undefined || (low.single as number) > high.single)
        this.refuse('a range without an end')
      out = union(out, folded([[low.single as number, high.single]], fold))
    }
    const all = union(closed())
    return negated ? complement(all) : all
  }

  private classItem(): { ranges: Ranges; single?: number } {
    if (!this.eat('\\')) {
      const point = this.next()
      return { ranges: [[point, point]], single: point }
    }
    const isClass = /[sSdDwWhHpP]/.test(this.pattern[this.at] ?? '')
    if (this.eat('b')) return { ranges: [[8, 8]], single: 8 }
    const ranges = this.escape(false, wordInClass)
    return isClass ? { ranges } : { ranges, single: ranges[0][0] }
  }
}

function intersect(a: Ranges, b: Ranges): Ranges {
  return complement(union(complement(a), complement(b)))
}

/** The same characters in the other case too. */
function folded(ranges: Ranges, fold: boolean): Ranges {
  if (!fold) return ranges
  const out: Ranges = [...ranges]
  const add = (text: string) => {
    const point = text.codePointAt(0) as number
    if (text.length === (point > 0xffff ? 2 : 1)) out.push([point, point])
  }
  for (const [first, last] of ranges)
    for (let c = first; c <= last; c++) {
      const char = String.fromCodePoint(c)
      for (const other of [char.toLowerCase(), char.toUpperCase()]) {
        add(other)
        const also = alsoFolded[other] ?? alsoFolded[other.toLowerCase()]
        if (also) add(also)
      }
    }
  return union(out)
}
