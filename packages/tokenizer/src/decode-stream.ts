/**
 * Decoding while ids arrive: text comes out as soon as it ends in a whole character. It refuses to decode anything itself:
 * a few last ids are decoded together, so that spaces and half characters come out as in the whole.
 */
import { TokenizerError } from './errors.js'

export class DecodeStream {
  private ids: number[] = []
  private prefix = '' // text of the ids before `prefixEnd`, already given out
  private prefixEnd = 0

  constructor(private readonly decode: (ids: number[]) => string) {}

  /** The text that this id completes, or null while a character is still open (or a special token is skipped). */
  push(id: number): string | null {
    if (this.prefix === '' && this.ids.length > 0) {
      const text = this.decode(this.ids)
      if (!text.endsWith('\ufffd')) {
        this.prefix = text
        this.prefixEnd = this.ids.length
      }
    }
    this.ids.push(id)
    const text = this.decode(this.ids)
    if (text.length <= this.prefix.length || text.endsWith('\ufffd')) return null
    const out = this.behindPrefix(text)
    const end = this.ids.length - this.prefixEnd
    this.ids = this.ids.slice(this.prefixEnd)
    this.prefix = this.decode(this.ids)
    this.prefixEnd = end
    return out
  }

  /** What is left: the open character as U+FFFD, as `decode` gives it. The stream starts afresh. */
  flush(): string {
    const out = this.behindPrefix(this.decode(this.ids))
    this.ids = []
    this.prefix = ''
    this.prefixEnd = 0
    return out
  }

  private behindPrefix(text: string): string {
    if (!text.startsWith(this.prefix))
      throw new TokenizerError(
        `decodeStream: the decoder changed text that was already given out (${JSON.stringify(this.prefix)}); use decode`,
      )
    return text.slice(this.prefix.length)
  }
}
