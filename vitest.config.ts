import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const here = fileURLToPath(new URL('.', import.meta.url))
/** Tests run from source: @heed/x is packages/x/src/index.ts, so no build is needed and stack traces name the real line. */
export const alias = [
  { find: /^@heed\/viz\/elements$/, replacement: `${here}packages/viz/src/elements.ts` },
  { find: /^@heed\/([a-z-]+)$/, replacement: `${here}packages/$1/src/index.ts` },
  { find: /^heed$/, replacement: `${here}packages/heed/src/index.ts` },
]

export default defineConfig({
  resolve: { alias },
  test: {
    reporters: ['default', './plain-reporter.ts'],
    projects: [
      {
        resolve: { alias },
        test: {
          name: 'node',
          environment: 'node',
          pool: 'forks',
          testTimeout: 60_000,
          include: ['{packages,apps}/*/{src,test}/**/*.test.ts', 'scripts/**/*.test.ts'],
          exclude: ['**/*.browser.test.ts', '**/node_modules/**'],
        },
      },
    ],
  },
})
