// Bundlers shorten the names of classes; what a program or a person reads in `error.name` stays.
import { build } from 'esbuild'
import { expect, it } from 'vitest'

it.each([
  '../src/errors.ts',
  '../../models/src/errors.ts',
  '../../interpret/src/errors.ts',
  '../../backend-cpu/src/errors.ts',
])('names of %s survive a minifier', async (file) => {
  const { outputFiles } = await build({
    stdin: { contents: `export * from './${file}'`, resolveDir: import.meta.dirname },
    alias: { '@heed/tensor': `${import.meta.dirname}/errors.ts` },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
  })
  const code = Buffer.from(outputFiles[0].contents).toString('base64')
  const all = (await import(/* @vite-ignore */ `data:text/javascript;base64,${code}`)) as Record<
    string,
    unknown
  >
  const classes = Object.entries(all).filter(([name]) => name.endsWith('Error') && name !== 'isHeedError')
  expect(classes.length).toBeGreaterThan(0)
  for (const [name, made] of classes) {
    const error = new (made as new (...details: string[]) => Error)('a', 'b', 'c')
    expect(error.name).toBe(name)
  }
})
