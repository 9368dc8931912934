import { readFileSync } from 'node:fs'
import { defineConfig } from 'vite'

const { version } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8')) as {
  version: string
}

const warnings: string[] = []

// the page that measures in a browser; it uses the published entry points, and what the bundler warns about fails the build
export default defineConfig({
  base: './',
  define: { HEED_VERSION: JSON.stringify(version) },
  build: {
    target: 'es2022',
    outDir: 'dist/page',
    emptyOutDir: true,
    rolldownOptions: {
      onLog(level, { message }) {
        if (level === 'warn') warnings.push(message)
      },
    },
  },
  plugins: [
    {
      name: 'warnings-are-errors',
      generateBundle() {
        if (warnings.length) this.error(warnings.join('\n'))
      },
    },
  ],
})
