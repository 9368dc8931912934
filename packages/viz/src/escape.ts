// Escaping: the only doors through which text of unknown origin enters a file. It knows HTML, SVG and JSON
// inside a script element, and refuses to know what the text means (visible glyphs are in glyphs.ts).

/** Characters that are forbidden or invisible trouble in HTML and XML text: C0 controls, DEL, non-characters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this line is about
const forbidden = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\ufdd0-\ufdef\ufffe\uffff]/g

/** Every lone surrogate becomes U+FFFD, since UTF-8 cannot hold it. Paired surrogates stay. */
export function wellFormed(text: string): string {
  return text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '\ufffd')
}

/** Text or a quoted attribute value of HTML or SVG. NUL and other characters that a parser drops become U+FFFD. */
export function escapeHtml(text: string): string {
  return wellFormed(text)
    .replace(forbidden, '\ufffd')
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/"/g, '&quot;')
    .replace(/'/g, '&#39;')
}

/**
 * JSON for `<script type="application/json">`: `<` is written `\u003c`, so neither `</script>` nor `<!--` can end
 * or open anything; `>` and `&` likewise; U+2028/2029 are escaped; lone surrogates are escaped by JSON itself.
 * Numbers that JSON lacks (NaN, ±Infinity) become strings, so that a picture can still draw them as errors.
 */
export function escapeJson(value: unknown): string {
  return JSON.stringify(value, (_, v) =>
    typeof v === 'number' && !Number.isFinite(v) ? String(v) : v,
  ).replace(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
