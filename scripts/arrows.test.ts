import { describe, expect, test } from 'vitest'
import { arrowErrors, cycleErrors } from './gates/arrows.js'
import { importsOf } from './gates/imports.js'
import type { Row } from './gates/workspace.js'

const row = (imports: string[], more: Partial<Row> = {}): Row => ({ description: '', imports, ...more })
const table = {
  tensor: row([]),
  nn: row(['tensor']),
  viz: row([], { exports: { './elements': {} } }),
  heed: row(['nn'], { node: true }),
}
const check = (
  name: keyof typeof table | 'demo',
  text: string,
  more: Partial<Row> = {},
  file = 'src/a.ts',
) => {
  const home = name === 'demo' ? 'apps/demo' : `packages/${name}`
  const own = { ...(name === 'demo' ? row([]) : table[name]), ...more }
  return arrowErrors(home, name, own, [{ path: `${home}/${file}`, imports: importsOf('a.ts', text) }], table)
}

describe('importsOf', () => {
  test('tells value, type and dynamic imports apart', () => {
    const text = [
      `import { a } from 'a'`,
      `import type { b } from 'b'`,
      `import { type c } from 'c'`,
      `import { type d, e } from 'd'`,
      `export { f } from 'f'`,
      `export * from 'g'`,
      `import 'h'`,
      `const i = async () => await import('i')`,
      `type J = import('j').J`,
      `export type { k } from 'k'`,
    ].join('\n')
    expect(importsOf('x.ts', text).map((i) => `${i.line} ${i.specifier} ${i.kind}`)).toEqual([
      '1 a value',
      '2 b type',
      '3 c type',
      '4 d value',
      '5 f value',
      '6 g value',
      '7 h value',
      '8 i dynamic',
      '9 j type',
      '10 k type',
    ])
  })
  test('is not fooled by comments and strings', () => {
    expect(importsOf('x.ts', `// import 'a'\nconst s = "import 'b'"\nconst t = \`import 'c'\``)).toEqual([])
  })
  test('throws on a file that does not parse', () => {
    expect(() => importsOf('x.ts', 'import {')).toThrow(/x\.ts/)
  })
})

describe('arrowErrors', () => {
  test('accepts the arrows of the table', () => {
    expect(check('nn', `import { add } from '@heed/tensor'\nimport { b } from './b.js'`)).toEqual([])
  })
  test('refuses an arrow that the table does not have, types included', () => {
    expect(check('tensor', `import { linear } from '@heed/nn'`)).toEqual([
      `packages/tensor/src/a.ts:1 imports '@heed/nn', but scripts/packages.mjs gives tensor no arrow to nn`,
    ])
    expect(check('tensor', `import type { Linear } from '@heed/nn'`)).toHaveLength(1)
  })
  test('refuses deep imports and unknown packages', () => {
    expect(
      check('nn', `import { add } from '@heed/tensor'\nimport { x } from '@heed/tensor/dist/graph.js'`),
    ).toEqual([
      `packages/nn/src/a.ts:2 imports '@heed/tensor/dist/graph.js', which is not a published entry point (no deep imports)`,
    ])
    expect(check('tensor', `import '@heed/utils'`)[0]).toMatch(/not a published entry point/)
    expect(check('demo', `import '@heed/viz/elements'`, { imports: ['viz'] })).toEqual([])
  })
  test('refuses a relative path out of the package, also from a test', () => {
    expect(check('tensor', `import { x } from '../../nn/src/index.js'`)[0]).toMatch(
      /reaches out of packages\/tensor/,
    )
    expect(check('tensor', `import { x } from '../../nn/src/index.js'`, {}, 'src/a.test.ts')).toHaveLength(1)
  })
  test('refuses static Node modules where a browser must load the package', () => {
    expect(check('tensor', `import { readFile } from 'node:fs/promises'`)[0]).toMatch(
      /must load in a browser/,
    )
    expect(check('tensor', `export const f = async () => import('node:fs/promises')`)).toEqual([])
    expect(check('heed', `import 'node:fs'\nimport '@heed/nn'`)).toEqual([])
  })
  test('an optional peer is reached by type or import() only', () => {
    const peer = { optionalPeers: ['tensor'] }
    expect(check('viz', `import type { Tensor } from '@heed/tensor'`, peer)).toEqual([])
    expect(check('viz', `export const f = () => import('@heed/tensor')`, peer)).toEqual([])
    expect(check('viz', `import { add } from '@heed/tensor'`, peer)[0]).toMatch(/optional peer/)
    const outside = { peers: { lodash: '^4' } }
    expect(check('tensor', `export const f = () => import('lodash')`, outside)).toEqual([])
    expect(check('tensor', `import type { Fp } from 'lodash/fp'`, outside)).toEqual([])
    expect(check('tensor', `import lodash from 'lodash'`, outside)[0]).toMatch(/optional peer 'lodash'/)
  })
  test('refuses npm packages that are no dependency, and arrows that nobody uses', () => {
    expect(check('tensor', `import lodash from 'lodash/fp'`)[0]).toMatch(/not among the dependencies/)
    expect(check('tensor', `import lodash from 'lodash/fp'`, { dependencies: { lodash: '^4' } })).toEqual([])
    expect(check('nn', ``)).toEqual(['packages/nn lists tensor in scripts/packages.mjs but never imports it'])
  })
  test('tests may import any package, code that ships may not import tests', () => {
    expect(check('tensor', `import { linear } from '@heed/nn'`, {}, 'src/a.test.ts')).toEqual([])
    expect(check('tensor', `import { x } from './b.test.js'`)[0]).toMatch(/test file/)
  })
})

test('cycleErrors names the circle', () => {
  expect(cycleErrors(table)).toEqual([])
  expect(cycleErrors({ a: row(['b']), b: row(['c']), c: row(['a']) })).toEqual([
    'packages import each other in a circle: a → b → c → a',
  ])
})
