// Stands in for the browser project on a machine without Chromium, so that the closing line counts what was left out.
import { test } from 'vitest'

test.skip('browser tests: no Chromium on this machine', () => {})
