import { defineConfig } from 'vite'

const warnings: string[] = []

// no alias: the page gets what a user's bundler would get from the published entry points; and what the bundler would
// warn a user about (a module of Node's, a file that it cannot find) fails the build
export default defineConfig({
  base: './',
  build: {
    target: 'es2022',
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
