import { describe, expect, test } from 'vitest'
import { escapeHtml, escapeJson } from './escape.js'
import { shorten, visibleText, visibleToken } from './glyphs.js'
import { h, toHtml } from './markup.js'

describe('escaping', () => {
  test('markup, quotes, NUL and lone surrogates in HTML', () => {
    expect(escapeHtml(`<b a="1" c='2'>&amp;`)).toBe('&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;')
    expect(escapeHtml('a\u0000b\u000cc\ufffe')).toBe('a\ufffdb\ufffdc\ufffd')
    expect(escapeHtml('\ud83d x \udc69 👩')).toBe('\ufffd x \ufffd 👩')
  })

  test('JSON cannot end or open an element and reads back the same', () => {
    const value = {
      t: ['</script><img onerror=x>', '<!--', ']]>', '\u2028\u2029', '\ud83d', '&amp;', '\u0000'],
    }
    const text = escapeJson(value)
    expect(text).not.toMatch(/[<>&\u2028\u2029]/)
    expect(text).toContain('\\u003c/script\\u003e')
    expect(JSON.parse(text)).toEqual(value)
  })

  test('numbers that JSON lacks stay visible', () => {
    expect(escapeJson([Number.NaN, 1, Number.NEGATIVE_INFINITY, null])).toBe('["NaN",1,"-Infinity",null]')
  })

  test('attributes and children of a tree are escaped, void elements stay open', () => {
    expect(
      toHtml(h('p', { title: '"><script>', hidden: true, id: null }, '<i>', h('br'), 3, [false, 'x'])),
    ).toBe('<p title="&quot;&gt;&lt;script&gt;" hidden="">&lt;i&gt;<br>3x</p>')
  })
})

describe('visible tokens', () => {
  test.each([
    [' store', '·store'],
    ['\n', '↵'],
    ['\r\t', '␍⇥'],
    ['a\u0000b\u001b[2J', 'a␀b␛[2J'],
    ['', '∅'],
    ['\ud83d', '⟨D83D⟩'],
    ['\u202eabc', '⟨202E⟩abc'],
    ['\u200bx\ufeff', '⟨200B⟩x⟨FEFF⟩'],
    ['\u00a0', '⍽'],
    ['\u0085', '⟨0085⟩'],
    ['👩‍👩‍👧', '👩‍👩‍👧'],
    ['שלום', 'שלום'],
  ])('%j is shown as %s', (text, shown) => expect(visibleToken(text)).toBe(shown))

  test('bytes are hex; running text keeps its spaces', () => {
    expect(visibleToken('\ufffd', 'f0 9f')).toBe('⟨F0 9F⟩')
    expect(visibleText('a b\n  c')).toBe('a b↵  c')
  })

  test('shortening never cuts a cluster', () => {
    expect(shorten('👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧', 2)).toBe('👩‍👩‍👧…')
    expect(shorten('abc', 3)).toBe('abc')
  })
})
