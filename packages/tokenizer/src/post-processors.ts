/**
 * The post-processor of a file: what is put around and between texts, and whether offsets lose their spaces. It refuses to
 * cut to length, but says how many tokens it will add.
 */
import { byteChars } from './byte-alphabet.js'
import { type Draft, joinAll, setSequence, setTypeIds, specialDraft } from './encoding.js'
import { TokenizerFormatError, UnsupportedComponentError } from './errors.js'
import { Fields, type Json } from './json.js'
import { whiteSpaceSet } from './unicode/ranges.js'

/** One or two texts in, any number of parts out; they are then joined. */
interface PostProcessor {
  added(isPair: boolean): number
  process(texts: Draft[], addSpecialTokens: boolean): Draft[]
}

export class PostProcessing {
  private readonly processor: PostProcessor | null

  constructor(json: Json | undefined, path: string) {
    this.processor = json === null || json === undefined ? null : read(json, path)
  }

  /** How many tokens will be added to one text or to a pair. */
  added(isPair: boolean): number {
    return this.processor?.added(isPair) ?? 0
  }

  run(texts: Draft[], addSpecialTokens: boolean): Draft {
    if (!this.processor) {
      if (texts.length === 1) return texts[0]
      texts.forEach(setSequence)
      return joinAll(texts)
    }
    texts.forEach((text, i) => {
      for (const draft of [text, ...text.overflowing]) setSequence(draft, i)
      setTypeIds(text, i)
    })
    const parts = this.processor.process(texts, addSpecialTokens)
    return parts.length === 1 ? parts[0] : joinAll(parts)
  }
}

function read(json: Json, path: string): PostProcessor {
  const fields = Fields.of(json, path)
  const type = fields.string('type')
  switch (type) {
    case 'Sequence': {
      const parts = fields.array('processors').map((part, i) => read(part, `${path}.processors[${i}]`))
      return {
        added: (isPair) => parts.reduce((n, part) => n + part.added(isPair), 0),
        process: (texts, add) => parts.reduce((t, part) => part.process(t, add), texts),
      }
    }
    case 'ByteLevel':
      return byteLevel(fields)
    case 'TemplateProcessing':
      return template(fields)
    case 'BertProcessing':
      return bert(fields)
    case 'RobertaProcessing':
      return roberta(fields)
    default:
      throw new UnsupportedComponentError(`post-processor ${type}`, path)
  }
}

const withOverflow = (draft: Draft): Draft[] => [draft, ...draft.overflowing]

function byteLevel(fields: Fields): PostProcessor {
  const trims = fields.boolean('trim_offsets', true)
  const prefix = fields.boolean('add_prefix_space', true)
  return {
    added: () => 0,
    process(texts) {
      if (trims) for (const text of texts) for (const draft of withOverflow(text)) trim(draft, prefix)
      texts.forEach(setSequence)
      return texts
    },
  }
}

/** Spaces leave the offsets of byte-level tokens; a first space that the pre-tokenizer added is not in the text anyway. */
function trim(draft: Draft, prefix: boolean): void {
  for (let i = 0; i < draft.ids.length; i++) {
    const chars = Array.from(draft.tokens[i])
    const isSpace = (char: string) =>
      char === byteChars[32] || whiteSpaceSet().has(char.codePointAt(0) as number)
    let leading = 0
    while (leading < chars.length && isSpace(chars[leading])) leading++
    let trailing = 0
    while (trailing < chars.length && isSpace(chars[chars.length - 1 - trailing])) trailing++
    if (leading > 0) {
      if (prefix && leading === 1 && (i === 0 || draft.starts[i] === 0)) leading = 0
      draft.starts[i] = Math.min(draft.starts[i] + leading, draft.ends[i])
    }
    if (trailing > 0 && draft.ends[i] >= trailing)
      draft.ends[i] = Math.max(draft.ends[i] - trailing, draft.starts[i])
  }
}

type TemplatePart =
  | { sequence: number; typeId: number }
  | { ids: number[]; tokens: string[]; typeId: number }
  | { missing: string; path: string } // an error only when it is needed: `pair` may be whole where `single` is not

function template(fields: Fields): PostProcessor {
  const specials = fields.object('special_tokens')
  const parts = (key: string): TemplatePart[] =>
    fields.array(key).map((json, i) => {
      const part = Fields.of(json, `${fields.at(key)}[${i}]`)
      if (part.has('Sequence')) {
        const sequence = part.object('Sequence')
        return { sequence: sequence.string('id') === 'A' ? 0 : 1, typeId: sequence.count('type_id', 0) }
      }
      const named = part.object('SpecialToken')
      const id = named.string('id')
      if (!specials.has(id)) return { missing: id, path: named.path }
      const special = specials.object(id)
      const ids = special.array('ids').map(Number)
      return { ids, tokens: special.array('tokens').map(String), typeId: named.count('type_id', 0) }
    })
  const single = parts('single')
  const pair = parts('pair')
  if (single.some((p) => 'sequence' in p && p.sequence === 1))
    throw new TokenizerFormatError(fields.at('single'), 'names the second text, which it does not have')
  const count = (list: TemplatePart[]) => list.reduce((n, p) => n + ('ids' in p ? p.ids.length : 0), 0)
  return {
    added: (isPair) => count(isPair ? pair : single),
    process(texts, add) {
      const out: Draft[] = []
      for (const part of texts.length === 1 ? single : pair) {
        if ('missing' in part) {
          if (add) throw new TokenizerFormatError(part.path, `"${part.missing}" is not in special_tokens`)
          continue
        }
        if ('ids' in part) {
          if (add) out.push(specialDraft(part.ids, part.tokens, part.typeId))
          continue
        }
        const text = texts[part.sequence]
        for (const draft of withOverflow(text)) setTypeIds(draft, part.typeId)
        setSequence(text, part.sequence)
        out.push(text)
      }
      return out
    },
  }
}

function special(fields: Fields, key: string): { id: number; token: string } {
  const [token, id] = fields.array(key)
  if (typeof token !== 'string' || typeof id !== 'number')
    throw new TokenizerFormatError(
      fields.at(key),
      `expected ["token", id], found ${JSON.stringify(fields.get(key))}`,
    )
  return { id, token }
}

/** A text and its overflow between special tokens; the sequence covers the text alone. */
function wrap(text: Draft, sequence: number, before: Draft | null, after: Draft): Draft {
  const one = (draft: Draft): Draft => {
    const inner: Draft = { ...draft, overflowing: [], ranges: new Map([[sequence, [0, draft.ids.length]]]) }
    return joinAll(before ? [before, inner, after] : [inner, after])
  }
  return { ...one(text), overflowing: text.overflowing.map(one) }
}

function bert(fields: Fields): PostProcessor {
  const cls = special(fields, 'cls')
  const sep = special(fields, 'sep')
  return {
    added: (isPair) => (isPair ? 3 : 2),
    process(texts, add) {
      if (!add) return texts
      return texts.map((text, i) => {
        for (const draft of withOverflow(text)) setTypeIds(draft, i)
        const before = i === 0 ? specialDraft([cls.id], [cls.token], 0) : null
        return wrap(text, i, before, specialDraft([sep.id], [sep.token], i))
      })
    },
  }
}

function roberta(fields: Fields): PostProcessor {
  const cls = special(fields, 'cls')
  const sep = special(fields, 'sep')
  const trims = fields.boolean('trim_offsets', true)
  const prefix = fields.boolean('add_prefix_space', true)
  return {
    added: (isPair) => (isPair ? 4 : 2),
    process(texts, add) {
      for (const text of texts)
        for (const draft of withOverflow(text)) {
          if (trims) trim(draft, prefix)
          setTypeIds(draft, 0)
        }
      if (!add) return texts
      const end = specialDraft([sep.id], [sep.token], 0)
      return texts.map((text, i) =>
        wrap(text, i, i === 0 ? specialDraft([cls.id], [cls.token], 0) : end, end),
      )
    },
  }
}
