import { fileURLToPath } from 'node:url'
import { playwright } from '@vitest/browser-playwright'
import { defineConfig } from 'vitest/config'
import { chromiumArgs, findChromium } from './scripts/chromium.js'

const here = fileURLToPath(new URL('.', import.meta.url))
/** Tests run from source: @heed/x is packages/x/src/index.ts, so that stack traces name the real line. */
export const alias = [
  { find: /^@heed\/viz\/elements$/, replacement: `${here}packages/viz/src/elements.ts` },
  { find: /^@heed\/([a-z-]+)$/, replacement: `${here}packages/$1/src/index.ts` },
  { find: /^heed$/, replacement: `${here}packages/heed/src/index.ts` },
]

const browser = await findChromium()
if (!browser && process.env.CI)
  throw new Error('no Chromium: apt-get install -y --no-install-recommends chromium')
if (!browser)
  console.warn(
    '\n*** NO CHROMIUM FOUND: every browser test is SKIPPED (apt-get install chromium, or set CHROMIUM_PATH) ***\n',
  )
// for tests that drive a browser themselves: found once, here
process.env.CHROMIUM_PATH = browser ?? 'none'

const exclude = ['**/node_modules/**', '**/dist/**']

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
          hookTimeout: 60_000,
          sequence: { groupOrder: 0 },
          include: ['{packages,apps}/*/{src,test}/**/*.test.ts', 'scripts/**/*.test.ts'],
          exclude: ['**/*.browser.test.ts', '**/*.chromium.test.ts', ...exclude],
        },
      },
      // Node tests that drive a browser: one at a time and after the others, for some of them look at a clock
      {
        resolve: { alias },
        test: {
          name: 'chromium',
          environment: 'node',
          pool: 'forks',
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
          include: ['{packages,apps}/*/{src,test}/**/*.chromium.test.ts'],
          exclude,
        },
      },
      // tests that run inside a page; without a browser they stay listed and are skipped, never silently absent
      browser
        ? {
            resolve: { alias },
            // found while tests run, it would make the page load anew in the middle
            optimizeDeps: {
              include: ['fast-check', '@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-webgl'],
            },
            server: {
              headers: {
                'Cross-Origin-Opener-Policy': 'same-origin',
                'Cross-Origin-Embedder-Policy': 'require-corp',
              },
            },
            test: {
              name: 'browser',
              include: ['{packages,apps}/*/{src,test}/**/*.browser.test.ts'],
              testTimeout: 60_000,
              fileParallelism: false,
              sequence: { groupOrder: 2 },
              browser: {
                enabled: true,
                headless: true,
                screenshotFailures: false,
                provider: playwright({ launchOptions: { executablePath: browser, args: chromiumArgs } }),
                instances: [{ browser: 'chromium' as const }],
              },
            },
          }
        : {
            test: {
              name: 'browser',
              include: ['scripts/without-chromium.ts'],
              sequence: { groupOrder: 2 },
            },
          },
    ],
  },
})
