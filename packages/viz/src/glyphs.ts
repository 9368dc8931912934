// What a token looks like: white space, control and direction characters get a visible glyph, bytes that are no
// text are shown in hex, an empty token is a sign of its own. It returns plain text: escaping is another room.

const named: Record<string, string> = {
  ' ': '·',
  '\n': '↵',
  '\r': '␍',
  '\t': '⇥',
  '\u00a0': '⍽',
  '\u007f': '␡',
}

/** Invisible or order-changing characters that a reader must see: zero width, direction marks and overrides, line separators, BOM. */
const hidden =
  /[\u00ad\u061c\u180e\u2000-\u200c\u200e\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\ufeff\ufff9-\ufffb]/

/**
 * The token as it is shown everywhere. ` store` is `·store`, a line break `↵`, NUL `␀`, a lone surrogate `⟨D83D⟩`,
 * U+202E `⟨202E⟩`, an empty token `∅`. With `bytes` (hex, for pieces that are no complete UTF-8) it is `⟨F0 9F⟩`.
 */
export function visibleToken(text: string, bytes?: string): string {
  if (bytes) return `⟨${bytes.toUpperCase()}⟩`
  if (text === '') return '∅'
  let out = ''
  for (const c of text) {
    const code = c.codePointAt(0) as number
    if (named[c]) out += named[c]
    else if (code < 0x20) out += String.fromCharCode(0x2400 + code)
    else if ((code >= 0x80 && code < 0xa0) || (code >= 0xd800 && code < 0xe000) || hidden.test(c))
      out += `⟨${code.toString(16).toUpperCase().padStart(4, '0')}⟩`
    else out += c
  }
  return out
}

/** Whole text on one line for a heading: as visibleToken, but spaces stay spaces. */
export function visibleText(text: string): string {
  return text
    .split(' ')
    .map((part) => (part === '' ? '' : visibleToken(part)))
    .join(' ')
}

const segmenter = typeof Intl !== 'undefined' && 'Segmenter' in Intl ? new Intl.Segmenter() : undefined

/** Grapheme clusters, so that an emoji family or a letter with its marks is never cut. */
export function graphemes(text: string): string[] {
  return segmenter ? Array.from(segmenter.segment(text), (s) => s.segment) : Array.from(text)
}

/** At most `limit` grapheme clusters, the last an ellipsis when something was cut. */
export function shorten(text: string, limit: number): string {
  if (text.length <= limit) return text
  const parts = graphemes(text)
  return parts.length <= limit ? text : `${parts.slice(0, limit - 1).join('')}…`
}
