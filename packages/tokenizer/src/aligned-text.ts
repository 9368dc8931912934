/**
 * A text on its way through normalisation that remembers where every unit of it came from. Places in the text itself are
 * UTF-16 units; places in the original are code points, as in the Rust library, so that arithmetic on offsets (trimming)
 * gives the same numbers; encoding.ts turns them into UTF-16 at the end. It refuses to know any rule of normalisation.
 */
import type { Changes } from './unicode/normal-forms.js'

export class AlignedText {
  /**
   * @param starts first original code point of every unit, null = unit i is original code point `base + i`
   * @param ends the code point after the last one
   * @param base where the original of this text starts
   */
  private constructor(
    readonly text: string,
    private readonly starts: Int32Array | null,
    private readonly ends: Int32Array | null,
    readonly base: number,
  ) {}

  /** An untouched text. Lone surrogates must be gone already. */
  static from(text: string): AlignedText {
    if (!/[\ud800-\udfff]/.test(text)) return new AlignedText(text, null, null, 0)
    const starts = new Int32Array(text.length)
    const ends = new Int32Array(text.length)
    let point = 0
    for (let i = 0; i < text.length; point++) {
      const width = widthAt(text, i)
      starts.fill(point, i, i + width)
      ends.fill(point + 1, i, i + width)
      i += width
    }
    return new AlignedText(text, starts, ends, 0)
  }

  startOf(unit: number): number {
    return this.starts ? this.starts[unit] : this.base + unit
  }

  endOf(unit: number): number {
    return this.ends ? this.ends[unit] : this.base + unit + 1
  }

  /** A part, in units of the text. */
  slice(from: number, to: number): AlignedText {
    if (from === 0 && to === this.text.length) return this
    return new AlignedText(
      this.text.slice(from, to),
      this.starts?.subarray(from, to) ?? null,
      this.ends?.subarray(from, to) ?? null,
      from < to ? this.startOf(from) : this.base,
    )
  }

  /** Other characters of the same widths in the same places. */
  withText(text: string): AlignedText {
    return new AlignedText(text, this.starts, this.ends, this.base)
  }

  /** Every code point becomes a string (perhaps empty) that stands where it stood. */
  mapPoints(map: (point: number, char: string) => string): AlignedText {
    const out = new Builder(this)
    for (let i = 0; i < this.text.length; ) {
      const width = widthAt(this.text, i)
      const char = width === 1 ? this.text[i] : this.text.slice(i, i + 2)
      out.add(map(this.text.codePointAt(i) as number, char), this.startOf(i), this.endOf(i))
      i += width
    }
    return out.done()
  }

  /** A rewriting given as code points and changes (see normal-forms.ts). */
  rewrite({ points, changes }: Changes): AlignedText {
    const at: number[] = [] // unit of every code point
    for (let i = 0; i < this.text.length; i += widthAt(this.text, i)) at.push(i)
    const out = new Builder(this)
    let read = 0
    for (let i = 0; i < points.length; i++) {
      const change = changes[i]
      const source = change > 0 ? read - 1 : read
      const start = source < 0 ? this.base : this.startOf(at[source])
      const end = source < 0 ? this.base : this.endOf(at[source])
      out.add(String.fromCodePoint(points[i]), start, end)
      if (change <= 0) read += 1 - change
    }
    return out.done()
  }

  /** The parts [from, to) replaced; what is written stands where the last unit of its part stood. */
  replace(parts: readonly (readonly [number, number])[], content: string): AlignedText {
    if (parts.length === 0) return this
    const out = new Builder(this)
    let at = 0
    for (const [from, to] of parts) {
      out.copy(at, from)
      out.add(content, to === 0 ? this.base : this.startOf(to - 1), to === 0 ? this.base : this.endOf(to - 1))
      at = to
    }
    out.copy(at, this.text.length)
    return out.done()
  }

  /** A string put before the first character; it stands where that one stands. Nothing happens to an empty text. */
  prepend(content: string): AlignedText {
    if (this.text === '') return this
    const out = new Builder(this)
    out.add(content, this.startOf(0), this.endOf(0))
    out.copy(0, this.text.length)
    return out.done()
  }

  static build(source: AlignedText, text: string, starts: Int32Array, ends: Int32Array): AlignedText {
    return new AlignedText(text, starts, ends, source.base)
  }
}

export const widthAt = (text: string, unit: number): 1 | 2 => {
  const code = text.charCodeAt(unit)
  return code >= 0xd800 && code < 0xdc00 && unit + 1 < text.length ? 2 : 1
}

class Builder {
  private text = ''
  private starts: Int32Array
  private ends: Int32Array

  constructor(private readonly source: AlignedText) {
    this.starts = new Int32Array(source.text.length + 16)
    this.ends = new Int32Array(source.text.length + 16)
  }

  add(text: string, start: number, end: number): void {
    const at = this.text.length
    this.text += text
    if (this.text.length > this.starts.length) this.grow()
    for (let i = at; i < this.text.length; i++) {
      this.starts[i] = start
      this.ends[i] = end
    }
  }

  copy(from: number, to: number): void {
    if (from >= to) return
    const at = this.text.length
    this.text += this.source.text.slice(from, to)
    if (this.text.length > this.starts.length) this.grow()
    for (let i = from; i < to; i++) {
      this.starts[at + i - from] = this.source.startOf(i)
      this.ends[at + i - from] = this.source.endOf(i)
    }
  }

  private grow(): void {
    for (const name of ['starts', 'ends'] as const) {
      const grown = new Int32Array(this.text.length * 2)
      grown.set(this[name])
      this[name] = grown
    }
  }

  done(): AlignedText {
    const n = this.text.length
    return AlignedText.build(this.source, this.text, this.starts.subarray(0, n), this.ends.subarray(0, n))
  }
}
