/**
 * The 256 printable characters that stand for bytes in byte-level tokenizers (GPT-2), both ways. It refuses to know about
 * words or merges. Source: Radford et al. 2019, `bytes_to_unicode` of the released encoder.
 */
import type { AlignedText } from './aligned-text.js'

/** Character of every byte: itself where printable, else the next free one from U+0100 on. */
export const byteChars: readonly string[] = (() => {
  const out: string[] = []
  let next = 0x100
  for (let b = 0; b < 256; b++) {
    const prints = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae
    out.push(String.fromCharCode(prints ? b : next++))
  }
  return out
})()

const byteOfChar = new Map(byteChars.map((char, byte) => [char, byte]))
const encoder = new TextEncoder()
const ofPoint = new Map<number, string>()

/** The UTF-8 bytes of a code point, as characters of the alphabet. */
function charsOf(point: number, char: string): string {
  if (point < 128) return byteChars[point]
  let out = ofPoint.get(point)
  if (out === undefined) {
    out = Array.from(encoder.encode(char), (b) => byteChars[b]).join('')
    ofPoint.set(point, out)
  }
  return out
}

/** A text as byte characters; every one stands where its whole character stood. */
export function bytesAsChars(text: AlignedText): AlignedText {
  const s = text.text
  if (/^[!-~]*$/.test(s)) return text
  if (/[^\0-\x7f]/.test(s)) return text.mapPoints(charsOf)
  let out = ''
  for (let i = 0; i < s.length; i++) out += byteChars[s.charCodeAt(i)]
  return text.withText(out)
}

/** The bytes that a token of byte characters stands for, or its own UTF-8 if it has any other character. */
export function bytesOfToken(token: string): number[] | Uint8Array {
  const out: number[] = []
  for (const char of token) {
    const byte = byteOfChar.get(char)
    if (byte === undefined) return encoder.encode(token)
    out.push(byte)
  }
  return out
}

const strict = new TextDecoder('utf-8', { fatal: true })
/** Whether bytes are whole characters. */
export function isUtf8(bytes: Uint8Array): boolean {
  try {
    strict.decode(bytes)
    return true
  } catch {
    return false
  }
}
