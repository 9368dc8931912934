import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { outputDiff, programOf, readmeErrors, withOutput } from './gates/readmes.js'
import { root } from './gates/workspace.js'

const readme = (code: string, output: string) =>
  `# A package\n\n\`\`\`sh\nnpm install\n\`\`\`\n\n\`\`\`ts\n${code}\n\`\`\`\n\nIt prints\n\n\`\`\`text\n${output}\n\`\`\`\n`

describe('programOf', () => {
  test('takes the first ts block and the text block after it', () => {
    expect(programOf(readme('const a = 1\nconsole.log(a)', '1'))).toEqual({
      code: 'const a = 1\nconsole.log(a)',
      expected: '1',
      line: 8,
      outputLine: 15,
    })
  })
  test('says what is missing', () => {
    expect(programOf('# Nothing')).toMatch(/no ```ts block/)
    expect(programOf('```ts\nconsole.log(1)\n```\n')).toMatch(/not followed by a ```text block/)
    expect(programOf('```ts\nconsole.log(1)\n```\n```sh\nls\n```\n')).toMatch(/not followed/)
    expect(programOf('```ts\nconsole.log(1)\n')).toMatch(/line 1 is never closed/)
  })
})

describe('outputDiff', () => {
  test('agrees up to blanks at the end of lines and of the text', () => {
    expect(outputDiff('a\nb', 'a  \nb\n\n')).toEqual([])
  })
  test('names the lines that differ, are missing or are too many', () => {
    expect(outputDiff('a\nb', 'a\nc')).toEqual(['  line 2: README   b', '  line 2: printed  c'])
    expect(outputDiff('a\nb', 'a')).toEqual(['  line 2: README   b'])
    expect(outputDiff('a', 'a\nb')).toEqual(['  line 2: printed  b'])
    expect(outputDiff('  a', 'a')).toHaveLength(2)
  })
})

test('withOutput exchanges the output and nothing else', () => {
  const before = readme('console.log(1)', '41\n42')
  const program = programOf(before)
  expect(typeof program === 'object' && withOutput(before, program, '1\n')).toBe(
    readme('console.log(1)', '1'),
  )
})

describe('readmeErrors', () => {
  const folder = mkdtempSync(join(root, '.readmes-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const errorsOf = (text: string) => {
    const path = join(folder, 'README.md')
    writeFileSync(path, text)
    return readmeErrors([relative(root, path)], { typecheck: false })
  }
  test('passes a program that prints what its README says', async () => {
    expect(
      await errorsOf(readme('const a: number = 40\nconsole.log(await Promise.resolve(a + 2))', '42')),
    ).toEqual([])
  })
  test('goes red on another output', async () => {
    const [error] = await errorsOf(readme('console.log(41)', '42'))
    expect(error).toMatch(/README\.md:8 prints something else.*\n.*README {3}42\n.*printed {2}41/)
  })
  test('goes red on a program that throws, and shows why', async () => {
    const [error] = await errorsOf(readme(`throw new RangeError('no such layer')`, ''))
    expect(error).toMatch(/the program fails \(exit code 1\)[\s\S]*RangeError: no such layer/)
  })
  test('goes red on a package that does not exist', async () => {
    const [error] = await errorsOf(readme(`import '@heed/nothing'`, ''))
    expect(error).toMatch(/@heed\/nothing/)
  })
})
