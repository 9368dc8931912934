import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { buildPage } from '../build-page.mjs'
import { longSample, oddSample, oddTokens, sample, tokensOf } from '../test/sample.js'
import { wellFormed } from './escape.js'
import { sinkPositions } from './explain-data.js'
import { pageScript, pageScriptHash, pageStyle, pageStyleHash } from './generated/page.js'
import { explainReport, readReport } from './report.js'

const sha = (text: string) => `sha256-${createHash('sha256').update(text, 'utf8').digest('base64')}`
/** The file without its script, style and data elements: what a reader without script gets. */
const staticPart = (html: string) => html.replace(/<(script|style)\b[^>]*>[\s\S]*?<\/\1>/g, '')

test('the generated page is up to date with src/page (node build-page.mjs)', async () => {
  const fresh = await buildPage()
  for (const text of [pageScript, pageScriptHash, pageStyle, pageStyleHash])
    expect(fresh.includes(JSON.stringify(text).slice(1, -1))).toBe(true)
})

describe('explainReport', () => {
  test('policy: nothing from outside, script and style by their hashes', async () => {
    const html = explainReport(await sample())
    const policy =
      /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(html)?.[1].replace(/&#39;/g, "'") ?? ''
    const script = /<script>([\s\S]*?)<\/script>/.exec(html)?.[1] ?? ''
    const style = /<style>([\s\S]*?)<\/style>/.exec(html)?.[1] ?? ''
    expect(policy.split('; ')).toEqual([
      "default-src 'none'",
      `script-src '${sha(script)}'`,
      `style-src '${sha(style)}'`,
      'img-src data:',
      "base-uri 'none'",
      "form-action 'none'",
    ])
    expect(staticPart(html)).not.toMatch(/\s(on\w+|style|src|srcset|action)="/)
    expect(Array.from(staticPart(html).matchAll(/href="([^"]*)"/g), (m) => m[1])).toEqual(['data:,', '#text'])
    expect(/https?:\/\/(?!www\.w3\.org\/2000\/svg)/.test(html)).toBe(false)
    expect(html.includes('sourceMappingURL')).toBe(false)
  })

  test('odd tokens enter only as escaped text; the data reads back as it was', async () => {
    const data = await oddSample()
    const html = explainReport(data)
    expect(html.match(/<script/g)).toHaveLength(2)
    expect(html.match(/<\/script>/g)).toHaveLength(2)
    expect(/<img|<!--/.test(staticPart(html))).toBe(false)
    expect(html.includes('\u0000') || /[\u2028\u2029]/.test(html)).toBe(false)
    expect(wellFormed(html) === html).toBe(true)
    expect(html).toContain('A note with &lt;b&gt;markup&lt;/b&gt; &amp; &quot;quotes&quot;.')
    expect(html).toContain('&lt;script&gt;alert(1)&lt;/script&gt;')
    const back = readReport(html)
    expect(back?.tokens.map((t) => t.text)).toEqual(oddTokens.map((t) => t.text))
    expect(back?.attributions?.[0].values.slice(2, 5)).toEqual([
      'NaN',
      data.attributions?.[0].values[3],
      null,
    ])
    expect(readReport('<p>')).toBe(null)
  })

  test('readable without script: the initial state, its scale, tables and provenance', async () => {
    const data = await sample()
    const text = staticPart(explainReport(data))
    for (const part of [
      '·Mary',
      '41.0 %',
      'attention rollout',
      'gradient × input',
      'random orders, mean',
      'layer 5 head 2',
      'previous token',
      'What each layer would predict',
      'sha256:6b1f0f3c',
      'attention rows sum to 1: error 2.4e-7, within 1.0e-5',
      'nothing: every op ran on the chosen backend',
      'off by at most',
      '<noscript>',
      'The tokenizer of this model adds no special token',
    ])
      expect(text).toContain(part)
    expect(text).toContain('<svg xmlns')
    expect(text.match(/role="option"/g)).toHaveLength(data.tokens.length)
    // The legend of the text names the head and token that its colours are.
    expect(text).toMatch(/layer 5 head 2: attention from \u2068·to\u2069 \(13\)/)
  })

  test('token classes are the weights of the initial row on the stated scale', async () => {
    const data = await sample()
    const html = explainReport(data)
    const classes = Array.from(
      html.matchAll(/<span class="tok (\w+)[^"]*" data-i="(\d+)" role="option"/g),
      (m) => m[1],
    )
    // Head 2 of layer 5 looks at capitals (sample.ts): Mary and John stand out, the sink is left out.
    expect(classes[0]).toBe('none')
    const strong = classes.flatMap((c, i) => (/^s(1\d|20)$/.test(c) ? [data.tokens[i].text] : []))
    expect(strong).toEqual([' Mary', ' John', ' John'])
  })

  test('classes of tokens and answers stand beside the text, half characters in hex', async () => {
    const data = await sample()
    data.tokenClasses = [{ position: 1, label: 'B-PER <b>', probability: 0.75 }]
    data.answer = { text: 'the store', start: 6, end: 7, score: 4.25 }
    data.predictions?.top.push({ token: '\ufffd', id: 9, probability: 0.01, bytes: 'f0 9f' })
    const text = staticPart(explainReport(data))
    for (const part of [
      'Class of each token',
      'B-PER &lt;b&gt;',
      '75.0 %',
      'the store',
      '6 to 7',
      '4.25',
      '⟨F0 9F⟩',
    ])
      expect(text).toContain(part)
    expect(staticPart(explainReport({ ...data, answer: null }))).toContain('the model finds no answer')
    expect(() => explainReport({ ...data, answer: { text: '', start: 3, end: 2, score: 0 } })).toThrow(
      /answer spans/,
    )
    const outside = [{ position: 99, label: 'O', probability: 1 }]
    expect(() => explainReport({ ...data, tokenClasses: outside })).toThrow(/tokenClasses position 99/)
  })

  test('fails loudly: self-check above its tolerance, fallbacks', async () => {
    const data = await sample()
    expect(explainReport(data)).not.toContain('SELF-CHECK FAILED')
    data.provenance.selfChecks.push({ name: 'broken sum', error: 0.5, tolerance: 0.1 })
    expect(explainReport(data)).toContain('SELF-CHECK FAILED: broken sum is off by 0.5, allowed 0.1')
    data.provenance.fallbacks.push('erf ran on the reference kernels')
    const html = explainReport(data)
    expect(html).toContain('broken sum: error 0.5, ABOVE the allowed 0.1')
    expect(html).toContain('<li>erf ran on the reference kernels</li>')
  })

  test('without patterns, lens, heads and attributions it is still a report', async () => {
    const { patterns: _, attributions: _a, logitLens: _l, headTable: _h, ...rest } = await sample()
    const html = explainReport({ ...rest, patterns: null })
    expect(html).toContain('attention was not computed')
    expect(html).not.toContain('id="attention"')
  })

  test('right-to-left text runs right to left', async () => {
    const words = ['كان', ' يا', ' ما', ' كان']
    expect(explainReport(await sample({ text: words.join(''), tokens: tokensOf(words) }))).toMatch(
      /id="tokens"[^>]*dir="rtl"/,
    )
    expect(explainReport(await sample())).toMatch(/id="tokens"[^>]*dir="ltr"/)
  })

  test('12 × 12 heads at 512 tokens: at most 5 MB', async () => {
    const html = explainReport(await longSample())
    expect(new TextEncoder().encode(html).length).toBeLessThanOrEqual(5_000_000)
    expect(html).toMatch(/the \d+ largest weights of each row \(their mass is shown\)/)
  })

  test('contradictions are refused by name', async () => {
    const data = await sample()
    const broken = (change: object) => () => explainReport({ ...data, ...change })
    expect(broken({ version: 2 })).toThrow(/version 2; this package draws heed-explain version 1/)
    expect(broken({ tokens: [] })).toThrow(/tokens is empty/)
    expect(broken({ layers: 3 })).toThrow(/patterns hold 6 layers × 8 heads, the model has 3 × 8/)
    expect(broken({ tokens: data.tokens.slice(1) })).toThrow(
      /patterns are 14 queries × 14 keys, the text has 13 tokens/,
    )
    expect(broken({ attributions: [{ name: 'x', target: 'y', signed: false, values: [1] }] })).toThrow(
      /'x' has 1 values/,
    )
    expect(broken({ initial: { head: 8 } })).toThrow(/initial selects layer 0 head 8/)
    expect(broken({ masked: [{ position: 14, top: [] }] })).toThrow(/masked position 14/)
    expect(broken({ headTable: { target: null, rows: [{ layer: 6, head: 0 }] } })).toThrow(/layer 6 head 0/)
    expect(broken({ logitLens: { positions: [0], rows: [{ name: 'e', cells: [] }] } })).toThrow(
      /'e' has 0 cells/,
    )
  })
})

test('sinks: the first token and added specials, not a [MASK] in the text', () => {
  const t = (text: string, special = false, start: number | null = 0, end: number | null = 1) => ({
    text,
    id: 0,
    special,
    start,
    end,
  })
  const cls = t('[CLS]', true, null, null)
  const sep = t('[SEP]', true, 3, 3)
  expect(sinkPositions([cls, t('a'), t('[MASK]', true, 2, 8), sep])).toEqual([0, 3])
  expect(sinkPositions([t('a'), t('b'), t('c')])).toEqual([0])
  expect(sinkPositions([t('a'), t('b')])).toEqual([])
})
